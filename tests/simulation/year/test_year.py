"""A season of billing for a few customers, by seed; a whole year of two hundred: `python -m tests.simulation.year`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.simulation.year.__main__ import DYING, RATES
from tests.simulation.year.living import Year
from tests.simulation.year.plan import groups_of, plan_of
from tests.simulation.year.subscriber import INTERVALS, MODES, PRICES, Kind
from tests.simulation.year.verdict import judge
from topics.codec import encode

SEEDS = range(8, 12)
CUSTOMERS, DAYS = 8, 100


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_billed_and_what_is_listed_is_all_that_was_used(seed: int, tmp_path: Path) -> None:
    """Over period edges, changes of plan, late events, faulty calls and kills, each period's bill and its adjustments add up to the usage."""
    year = Year(plan_of(seed, CUSTOMERS, DAYS), tmp_path, rates=RATES, dying=DYING * 5)
    try:
        year.live()
        assert judge(year) == []
    finally:
        year.close()


def test_everything_that_can_change_does() -> None:
    """Among these seeds are all changes of a plan, all ways of billing, trials, anchors of their own, and every cycle; all prices too."""
    who = [each for seed in SEEDS for each in plan_of(seed, CUSTOMERS, DAYS).subscribers]
    assert {change.kind for each in who for change in each.changes} == set(get_args(Kind))
    assert {each.meter for each in who} == set(MODES)
    assert {each.price for each in who} == set(PRICES)
    assert {(each.interval, each.count) for each in who} == set(INTERVALS)
    assert all(any(getattr(each, name) for each in who) for name in ("trial_days", "anchor_s", "base"))


def test_a_seed_is_one_history(tmp_path: Path) -> None:
    """What fails once fails again: the same seed writes the same receipts and gets the same answers, twice."""
    found = []
    for name in ("first", "again"):
        year = Year(plan_of(8, customers=3, days=40), tmp_path / name, rates=RATES, dying=DYING * 5)
        try:
            year.live()
            found.append(([each.receipts for each in year.delivering], year.shop.statuses))
        finally:
            year.close()
    assert found[0] == found[1]


def test_groups_are_all_customers_once() -> None:
    """Lived in groups, a year has the customers and the events that it has as a whole."""
    whole = plan_of(8, customers=7, days=40)
    groups = groups_of(whole, 3)
    assert [each for group in groups for each in group.subscribers] == list(whole.subscribers)
    assert sorted(one.id for group in groups for one in group.used) == sorted(one.id for one in whole.used)
    assert len({group.seed for group in groups}) == 3


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
