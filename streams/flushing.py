"""One durable flush of one partition, in the order that law 5 demands."""

from __future__ import annotations

from collections.abc import Callable

from streams.partition import MeterPartition
from streams.ports import Outbox


async def flush(core: MeterPartition, outbox: Outbox, may_go_on: Callable[[], bool]) -> int | None:
    """Make everything applied so far durable; returns the offset that may be committed now, None when there is nothing to say.

    `may_go_on` is asked after every await: a flush that outlived its partition's assignment ends here, its answer is worth nothing (H1).
    Side effects in order, and what a crash after each costs:

    1. changed rows and ids, rejected events, verdicts, re-sent events, definitions: acknowledged together. A crash here or before loses
       nothing: no offset was passed. The next owner reads from the last counters record, skips by the fence what the rows hold already,
       and writes the other records a second time, each under the coordinate of its event;
    2. the counters record with `next_offset`: from here the next owner begins behind these events;
    3. the mark for the archive, and tombstones of segments that 1 re-asserted: a crash before them leaves old segments that the next
       owner drops, and a mark that its next flush repeats;
    4. (the caller) the group's offset, which is advisory.
    """
    pending = core.begin_flush()
    if pending is None:
        return None
    await outbox.send_all(pending.first)
    if not may_go_on():
        return None
    await outbox.send_all([pending.counters])
    if not may_go_on():
        return None
    await outbox.send_all(pending.last)
    if not may_go_on():
        return None
    return core.end_flush(pending)
