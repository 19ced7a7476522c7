"""Closing and emission of one partition's windows: when a revision is said, never what it holds (laws 3, 9, 10)."""

from __future__ import annotations

from collections.abc import Callable

from streams.partition import MeterPartition
from streams.ports import Outbox


async def emit(core: MeterPartition, outbox: Outbox, now_ms: int, may_go_on: Callable[[], bool]) -> int:
    """Send the revisions that are due; returns how many. Side effects in order, and what a crash after each costs:

    1. the totals on `usage.windows`, acknowledged: a crash before the next step says the same revisions again, byte for byte;
    2. `emitted` in memory, which the next flush writes: as above until then.
    """
    emissions = core.due(now_ms)
    if not emissions:
        return 0
    await outbox.send_all([emission.send for emission in emissions])
    if not may_go_on():
        return 0
    core.end_emission(emissions)
    return len(emissions)
