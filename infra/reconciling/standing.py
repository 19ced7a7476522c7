"""What the provider should hold of one cell, by its receipts: what certainly stands, what may stand instead, what stood before. Pure.

All numbers are units of the provider × 10¹².
"""

from __future__ import annotations

from itertools import combinations

from infra.reconciling.books import CellBook
from sinks.adjustments import is_being_billed
from sinks.meter_readback import MOST_SUBSETS
from topics.quantity import parse_total
from topics.receipt import CellReceipt

ACCEPTED = frozenset({"delivered", "confirmed"})


def stands(cell: CellBook) -> int:
    """What the newest record says that the provider holds."""
    return of_record(cell.newest)


def of_record(receipt: CellReceipt) -> int:
    """What a record says that stands."""
    return 0 if receipt.standing is None else parse_total(receipt.standing.units)


def may_be(cell: CellBook) -> frozenset[int]:
    """What the provider may hold of the cell; of one that is at rest that is one number.

    A call under way may have landed or not; attempts without a definite answer may stand; an accepted meter event may not count yet; what a plan
    change left at an item may have been cleared with it.
    """
    newest = cell.newest
    found = {stands(cell), *map(parse_total, newest.maybe)}
    if newest.state in {"intent", "unknown", "failed"} and newest.units:
        found.add(parse_total(newest.units))
    if cell.is_moving:
        # Whatever it held on its way, from nothing on: the next run will see it at rest.
        found |= {0, *map(of_record, cell.history), *(parse_total(record.units) for record in cell.history if record.units)}
    sent = [parse_total(each.units) for each in newest.unconfirmed]
    for size in range(1, len(sent) + 1) if len(sent) <= MOST_SUBSETS else (1, len(sent)):
        found |= {stands(cell) - sum(gone) for gone in combinations(sent, size)}
    said = newest.adjustment
    if said is not None and said.cause == "plan_changed" and newest.standing is None:
        found |= set(stood(cell))
    return frozenset(found)


def stood(cell: CellBook) -> tuple[int, ...]:
    """What stood before, newest first, without what stands now and without nothing."""
    now = stands(cell)
    accepted = [parse_total(record.standing.units) for record in reversed(cell.history) if record.standing is not None]
    return tuple(dict.fromkeys(units for units in accepted if units not in {now, 0}))


def carried(cell: CellBook) -> list[tuple[int, int]]:
    """(second, units) of what an adjustment of the cell holds in later periods (law 16, next_period)."""
    said = cell.newest.adjustment
    return [] if said is None else [(part.second, parse_total(part.units)) for part in said.carried]


def may_be_carried(cell: CellBook) -> list[tuple[int, int]]:
    """(second, units) of what is being carried now: it may be there already."""
    said = cell.newest.adjustment
    if said is None or said.remedy is None or said.remedy.kind != "usage_record":
        return []
    return [(said.remedy.second, parse_total(said.remedy.units))] if is_being_billed(said) or said.remedy.may_stand else []
