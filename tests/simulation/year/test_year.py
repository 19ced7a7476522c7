"""A season of billing for a few customers, by seed; a whole year of two hundred: `python -m tests.simulation.year`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.simulation.year.__main__ import DYING, RATES
from tests.simulation.year.living import Year
from tests.simulation.year.plan import plan_of
from tests.simulation.year.verdict import judge
from topics.codec import encode


@pytest.mark.parametrize("seed", range(4))
def test_what_is_billed_and_what_is_listed_is_all_that_was_used(seed: int, tmp_path: Path) -> None:
    """Over period edges, cancellations, late events, faulty calls and kills, each period's bill and its adjustments add up to the usage."""
    year = Year(plan_of(seed, customers=5, days=75), tmp_path, rates=RATES, dying=DYING * 5)
    try:
        year.live()
        assert judge(year) == []
    finally:
        year.close()


def test_a_unit_too_much_or_too_little_is_found(tmp_path: Path) -> None:
    """The verdict is no rubber stamp: one unit more in one cell at Stripe, or one less in the receipts, is named with its customer."""
    year = Year(plan_of(2, customers=2, days=40), tmp_path, rates={}, dying=0.0)
    try:
        year.live()
        assert judge(year) == []
        # Of the period that runs: an invoice would not follow.
        cell = max((cell for each in year.delivering for cell in each.cells() if cell.state == "delivered"), key=lambda cell: cell.timestamp_s)
        owner = next(each for each in year.delivering if any(held.cell == cell.cell for held in each.cells()))
        year.shop.store.set_cell(cell.item, cell.timestamp_s, int(cell.units) + 1)
        assert [fault.split(" ")[0] for fault in judge(year)] == [cell.customer.split(" ")[0]]
        year.shop.store.set_cell(cell.item, cell.timestamp_s, int(cell.units))
        key = next(key for key, value in owner.receipts.items() if cell.cell.encode() in key)
        owner.receipts[key] = encode(msgspec.structs.replace(cell, quantity=str(int(cell.quantity) + 1)))
        assert len(judge(year)) == 1
    finally:
        year.close()
