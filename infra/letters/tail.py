"""The end of usage.events that may not be archived yet, read from the log itself: replays and ids that ClickHouse does not know of.

It is read to the end of everything that was written when it is called, the open transactions of producers included: a replay that lies behind one
of those is not stable yet, and would be missed by a reader of committed records.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.kafka_io import begin_offsets, end_offsets, reader
from infra.letters.letter import Coordinate, EventId, Fate, origin_coordinate
from topics.catalog import EVENTS
from topics.errors import TidemarkError
from topics.event import CONTROL_PREFIX, Event, parse_event
from topics.origin import origin_of

MAX_RECORDS: Final = 1_000_000
"""About 300 MB here and a minute of reading: an archive that is further behind has to be seen to first."""
STABLE_WAIT_S: Final = 30.0
"""Longer than a producer's transaction takes; one that is left open is ended by its broker after its own time-out (a minute by default)."""
POLL_S: Final = 0.2


@dataclass
class Tail:
    """What was read: replays by origin, usage by id, and the coordinates of all."""

    replays: dict[Coordinate, list[Fate]] = field(default_factory=lambda: defaultdict(list))
    ids: dict[EventId, list[Fate]] = field(default_factory=lambda: defaultdict(list))
    records: set[Coordinate] = field(default_factory=set)

    def take(self, partition: int, record: Any) -> None:
        """One record of the log."""
        fate = Fate(partition, 0, record.offset, "")
        headers = [(name, data or b"") for name, data in record.headers]
        origin = origin_coordinate(headers)
        if origin is not None:
            self.replays[origin].append(fate)
        self.records.add((partition, record.offset, origin_of(headers, record.timestamp).received_at_ms))
        event = parse_event(record.value)
        if isinstance(event, Event) and not event.type.startswith(CONTROL_PREFIX):
            self.ids[event.subject, event.source, event.id].append(fate)


async def read_tail(bootstrap: str, archived_to: Mapping[int, int], partitions: int, took: Callable[[int], None] = lambda _: None) -> Tail:
    """Everything from where the archive may end. Raises Unreachable, or TidemarkError where the log does not join on to the archive."""
    ends = await _stable_ends(bootstrap, partitions)
    begins = await begin_offsets(bootstrap, EVENTS, range(partitions))
    starts = {partition: archived_to.get(partition, 0) for partition in range(partitions)}
    for partition, start in starts.items():
        if not begins[partition] <= start <= ends[partition] and (begins[partition], start) != (ends[partition], 0):
            raise TidemarkError(
                f"{EVENTS} {partition} holds offsets {begins[partition]} to {ends[partition]} and is archived up to {start}: what lies "
                "between is not known, so nothing is sent; see `tidemark status`"
            )
    behind = sum(max(0, ends[partition] - start) for partition, start in starts.items())
    if behind > MAX_RECORDS:
        raise TidemarkError(f"the archive is {behind} records behind the log; let it come closer first (`tidemark status`)")
    tail = Tail()
    for partition, start in starts.items():
        if start < ends[partition]:
            async for record in reader(bootstrap, EVENTS, partition, start):
                tail.take(partition, record)
                took(1)
    return tail


async def _stable_ends(bootstrap: str, partitions: int) -> dict[int, int]:
    """Where each partition ended just now, once all of that is committed or aborted."""
    written = await end_offsets(bootstrap, EVENTS, range(partitions), "read_uncommitted")
    now = asyncio.get_running_loop().time
    deadline_s = now() + STABLE_WAIT_S
    while True:
        stable = await end_offsets(bootstrap, EVENTS, range(partitions))
        waiting = [partition for partition, end in written.items() if stable[partition] < end]
        if not waiting:
            return stable
        if now() > deadline_s:
            raise TidemarkError(
                f"{EVENTS} {', '.join(map(str, waiting))}: a producer's transaction has been open for {STABLE_WAIT_S:.0f} s, and what lies behind it "
                "cannot be read; try again when it has ended"
            )
        await asyncio.sleep(POLL_S)
