"""Whether a recovered partition may go on from its state: law 5's answer to lost state, in one sentence with its remedy."""

from __future__ import annotations

from topics.batch import TopicPartition
from topics.errors import LostLog


def check_committed(tp: TopicPartition, *, next_offset: int, committed: int | None, begin: int) -> str | None:
    """Compare the recovered state with the group's advisory offset.

    None: they agree. A sentence: state was lost, and everything since `next_offset` is still in the log and will be read again.
    Raises LostLog where it is not: events were counted once, their state is gone and so are they.
    """
    if committed is None or committed <= next_offset:
        return None
    where = f"{tp[0]}-{tp[1]}"
    lost = f"the group has committed {committed}, the state in usage.state ends at {next_offset}: state was lost"
    if next_offset < begin:
        raise LostLog(f"{where}: {lost}, and the log begins at {begin}, so it cannot be rebuilt; {remedy(tp)}")
    return f"{where}: {lost}; reading again from {next_offset}"


def check_fresh(tp: TopicPartition, *, committed: int | None, begin: int) -> None:
    """A partition without any state that was once counted can only be rebuilt from the log's very start."""
    if committed is not None and begin > 0:
        raise LostLog(
            f"{tp[0]}-{tp[1]}: the group has committed {committed}, usage.state holds nothing, and the log begins at {begin}: "
            f"what was counted cannot be rebuilt; {remedy(tp)}"
        )


def out_of_range(tp: TopicPartition, wanted: int, begin: int, end: int) -> str:
    """What to say when the log does not hold the next offset (H8, H10)."""
    where = f"{tp[0]}-{tp[1]}"
    if wanted < begin:
        gone = f"offsets {wanted} to {begin - 1} ({begin - wanted} of them) were never counted and are gone from the log, which begins at {begin}"
        return f"{where}: {gone}; raise kafka.retention above the longest stop of a worker, and {remedy(tp)}"
    return f"{where}: the state ends at offset {wanted}, the log at {end}: it was truncated or recreated; {remedy(tp)}"


def remedy(tp: TopicPartition) -> str:
    """The command that goes on."""
    return f"`tidemark adopt --partition {tp[1]}` accepts the log as it is, as a new generation"
