"""Closing and emission of one partition's windows: when a revision is said, never what it holds (laws 3, 9, 10)."""

from __future__ import annotations

from collections.abc import Callable

from streams.partition import MeterPartition
from streams.ports import Outbox
from streams.sends import Send
from topics.catalog import DEFINITIONS
from topics.codec import encode
from topics.definitions import definition_key


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


async def say_closed(core: MeterPartition, outbox: Outbox, may_go_on: Callable[[], bool]) -> None:
    """Say how far everything is closed, after all totals of it are acknowledged. One effect: the word on `usage.definitions`, acknowledged; a
    crash before it leaves the older word, and the next owner says a newer one."""
    closed = core.closed()
    if closed is None:
        return
    await outbox.send_all([Send(DEFINITIONS, closed.partition, definition_key(closed), encode(closed))])
    if may_go_on():
        core.closing.marking.said(closed.until_ms)
