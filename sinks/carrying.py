"""Law 16, `next_period`: at which second of the current period an adjustment's units are reported, so that they overwrite nothing. Pure.

Usage records are `set` at a second of an item, so the units of an adjustment need a second that is nobody else's. Windows part time, and a window's
cell is at its first second (law 12: one later where a period begins), so any other second inside a window is free. What lies in the past is parted
for ever: grids and cuts change only ahead of the log's now (laws 0, 8). A second that was used for one remedy is never used for another,
except to take back what it holds while its period runs: `set` replaces it by less.

Should a window ever be placed on such a second all the same, it is parked as `cell_taken` (sinks/placing.py) and overwrites nothing.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, NamedTuple

from topics.adjustments import Adjustment
from topics.bindings import Item
from topics.definitions import Definitions
from topics.receipt import CellReceipt

MARGIN_S: Final = 600
"""So long before its end a period takes no more of another one: a request that waits for its turn would be refused."""
PAUSE_S: Final = 300
"""Until one looks again where nothing says when there will be a second."""


class Carry(NamedTuple):
    """The second, and when the period that holds it began."""

    second: int
    period_start_s: int


class TakeBack(NamedTuple):
    """A second that holds units of the adjustment, in a period that runs: so many of them (≥ 1) are taken off it."""

    second: int
    period_start_s: int
    units: int


class NotYet(NamedTuple):
    """No later period runs that would take the units; look again at `at_s` of the customer's time."""

    at_s: int


def carry_of(definitions: Definitions, receipt: CellReceipt, now_s: int, used: Container[int]) -> Carry | NotYet | None:
    """Where the units go at `now_s` of the customer's time; None: the item takes none any more (it is another one's, or ends, or has another price).

    `used` are the seconds of the item at which something is reported.
    """
    item = _taker(definitions, receipt, now_s)
    if item is None:
        return None
    if now_s < receipt.period_end_s:
        return NotYet(receipt.period_end_s)
    period = item.period_at(now_s)
    if now_s >= period.end_s - MARGIN_S:
        return NotYet(period.end_s)
    start_s = max(period.start_s, item.billable_from_s)
    at_s = now_s
    while at_s > start_s + 1 and (meter := definitions.meter_at(receipt.meter, at_s)) is not None:
        window = definitions.window_of(receipt.customer, meter, at_s)
        first_s = max(window.start_s, start_s + 1) + 1
        for second in range(min(window.end_s - 1, now_s), first_s - 1, -1):
            if second not in used:
                return Carry(second, start_s)
        at_s = window.start_s - 1
    return NotYet(now_s + PAUSE_S)


def take_back_of(definitions: Definitions, receipt: CellReceipt, now_s: int, most: int) -> TakeBack | None:
    """Where up to `most` units less are reported: at a second of the running period that holds some of the adjustment's; None: at none.

    An invoice item could not give them back exactly: what they cost is known once that period has ended (tiers, packages).
    """
    item, said = _taker(definitions, receipt, now_s), receipt.adjustment
    if item is None or said is None or now_s >= item.period_at(now_s).end_s - MARGIN_S:
        return None
    start_s = max(item.period_at(now_s).start_s, item.billable_from_s)
    for second in sorted({part.second for part in said.carried if part.period_start_s == start_s}):
        if (there := units_at(said, second)) > 0:
            return TakeBack(second, start_s, min(there, most))
    return None


def units_at(said: Adjustment, second: int) -> int:
    """What an adjustment holds at a second: what was carried there, less what was taken back."""
    return sum(int(part.units) for part in said.carried if part.second == second)


def _taker(definitions: Definitions, receipt: CellReceipt, now_s: int) -> Item | None:
    """The cell's item where it still takes usage at its price; None where it is another one's, or ends, or has another price."""
    item = definitions.item_at(receipt.customer, receipt.meter, now_s)
    if item is None or item.item != receipt.item or (item.price and receipt.price and item.price != receipt.price):
        return None
    return None if item.ends_at_s is not None and now_s >= item.ends_at_s - MARGIN_S else item
