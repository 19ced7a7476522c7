"""Law 3: a state belongs to one log. A recreated, truncated or mirrored topic stops the worker with the command that adopts it."""

from __future__ import annotations

from streams.state import PartitionState
from streams.step import record_digest
from topics.catalog import EVENTS
from topics.errors import ForeignLog, LostLog

Record = tuple[bytes | None, bytes | None, int]
"""Key, value, timestamp in ms."""


def identity_offset(state: PartitionState) -> int | None:
    """The offset whose record must be read to know the log again; None for a fresh state."""
    return state.identity.last_offset if state.identity.last_offset >= 0 else None


def check_identity(state: PartitionState, *, cluster_id: str, begin: int, end: int, record: Record | None) -> None:
    """Halt unless this log, with offsets [begin, end), is the one the state was folded from. `record` is that at `identity_offset`, if it is left.

    Raises LostLog where events that were never counted are gone, ForeignLog where the log is another one.
    """
    where = f"{EVENTS} {state.partition}"
    adopt = f"`tidemark adopt --partition {state.partition}` accepts it as a new generation"
    next_offset, held = state.counters.next_offset, state.identity
    fresh = next_offset == state.counters.base and held.last_offset < 0
    if fresh and begin > next_offset:
        raise LostLog(f"{where}: there is no state, and offsets 0 to {begin - 1} are gone from the log; {adopt}")
    if end < next_offset:
        raise ForeignLog(f"{where}: the state is at offset {next_offset}, but the log ends at {end}: it was truncated or recreated; {adopt}")
    if begin > next_offset:
        raise LostLog(f"{where}: offsets {next_offset} to {begin - 1} were never counted and are gone from the log; {adopt}")
    if fresh:
        return
    if record is not None:
        if record_digest(*record) != held.last_digest:
            raise ForeignLog(f"{where}: the record at offset {held.last_offset} is not the one that was counted: the log is another one; {adopt}")
    elif held.last_offset >= begin:
        raise ForeignLog(f"{where}: the record at offset {held.last_offset} that was counted is not in the log; {adopt}")
    elif held.cluster_id and cluster_id != held.cluster_id:
        raise ForeignLog(f"{where}: the state is of Kafka cluster {held.cluster_id}, this is {cluster_id}; {adopt}")
