"""H32, the billing half: at the sandbox, over each change of a plan, invoice lines and what is listed as an adjustment are all that was used."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.hazards.fold import clean
from tests.simulation.year.living import Year
from tests.simulation.year.plan import Plan, Used, used_of
from tests.simulation.year.subscriber import DAY_S, MODES, PAUSES, PRICES, START_S, Change, Kind, Subscriber
from tests.simulation.year.verdict import invoices_of, judge

CHANGE_S = START_S + 10 * DAY_S
UNTIL_S = START_S + 45 * DAY_S
SCENARIOS: dict[str, tuple[Change, ...]] = {
    "price switch": (Change(CHANGE_S, "switch", "package"),),
    "item replaced": (Change(CHANGE_S, "replace", "package"),),
    "another subscription": (Change(CHANGE_S, "move", "package", ("month", 1)),),
    "another interval": (Change(CHANGE_S, "cycle", "package", ("week", 1)),),
    "cancel at once": (Change(CHANGE_S, "cancel"),),
    "cancel at the period's end": (Change(CHANGE_S, "cancel_at_end"),),
    "pause and resume": (Change(CHANGE_S, "pause", behavior="void"), Change(CHANGE_S + 25 * DAY_S, "resume")),
    "trial ends": (),
    "trial ended by hand": (Change(CHANGE_S, "end_trial"),),
    "quantity of the base price": (Change(CHANGE_S, "quantity", quantity=4),),
}
ON_METERS_ONLY = {"another interval"}
"""What a new cycle bills of a legacy item whose price changes with it, no page says."""


def year_of(seed: int, scenario: str, meter: str, changes: tuple[Change, ...], directory: Path, *more: Used) -> Year:
    """A customer with a base price, of whom six events a day come, many late."""
    chance = random.Random(seed)
    each = Subscriber(
        0, f"plan-{seed}", START_S, meter, "month", "unit", trial_days=14 if scenario.startswith("trial") else 0, base=True, changes=changes
    )
    used = [*used_of(chance, each, UNTIL_S, 6.0), *more]
    return Year(Plan(seed, UNTIL_S, (each,), tuple(sorted(used, key=lambda one: one.sent_at_s))), directory, rates={}, dying=0.0)


def seeded(seed: int) -> list[str]:
    """One customer, one change, a few days after which nothing more is sent."""
    chance = random.Random(seed)
    scenario = chance.choice(sorted(SCENARIOS))
    meter = chance.choice(sorted(meter for meter in MODES if MODES[meter] or scenario not in ON_METERS_ONLY))
    price, behavior = chance.choice([other for other in sorted(PRICES) if other != "unit"]), chance.choice(PAUSES)
    changes = tuple(change._replace(price=price, behavior=behavior) for change in SCENARIOS[scenario])
    with TemporaryDirectory() as directory:
        year = year_of(seed, scenario, meter, changes, Path(directory))
        try:
            year.live()
            return [f"{scenario}, {meter}: {fault}" for fault in judge(year)]
        finally:
            year.close()


def test_h32_what_is_billed_and_listed_over_a_change_is_what_was_used() -> None:
    """A random change of a random meter's plan, with random late events: the sums are exact."""
    assert clean(seeded, 4) == {}


@pytest.mark.parametrize(
    ("scenario", "meter"),
    [(scenario, meter) for scenario in SCENARIOS for meter in ("calls", "deltas") if MODES[meter] or scenario not in ON_METERS_ONLY],
)
def test_h32_each_change_of_a_plan_is_exact(scenario: str, meter: str, tmp_path: Path) -> None:
    """Each of the changes, by usage records and by meter events: no unit is lost or billed twice, and nothing was refused for its second."""
    year = year_of(1, scenario, meter, SCENARIOS[scenario], tmp_path)
    try:
        year.live()
        assert judge(year) == []
        assert len(year.accounts[0].changed) == len(SCENARIOS[scenario])
    finally:
        year.close()


@pytest.mark.parametrize("kind", ["switch", "replace"])
def test_h32_what_comes_late_over_a_price_switch_is_listed(kind: Kind, tmp_path: Path) -> None:
    """Used an hour before the price is switched and sent an hour after it: seven units that Stripe bills nowhere are an adjustment that says so."""
    late = Used(CHANGE_S - 3600, CHANGE_S + 3600, 0, 7, "late")
    year = year_of(1, "price switch", "deltas", (Change(CHANGE_S, kind, "package"),), tmp_path, late)
    used = [one for one in year.plan.used if one.occurred_at_s < CHANGE_S]
    try:
        year.live()
        assert judge(year) == []
        listed = [cell for each in year.delivering for cell in each.cells() if cell.adjustment is not None and cell.timestamp_s < CHANGE_S]
        causes = {cell.timestamp_s: cell.adjustment.cause for cell in listed if cell.adjustment is not None}
        assert causes[late.occurred_at_s] == "plan_changed"
        open_ = sum(int(cell.adjustment.units) for cell in listed if cell.adjustment is not None)
        assert open_ == sum(one.quantity for one in used if one.sent_at_s > CHANGE_S) >= 7
        lines = [line for _, lines in invoices_of(year, year.accounts[0]) for line in lines if line["price"]["metadata"]["kind"] == "unit"]
        assert sum(line["quantity"] for line in lines) == sum(one.quantity for one in used) - open_
    finally:
        year.close()


class Outage(Year):
    """Stripe does not answer Tidemark from before the flush until some minutes after the change, which the application makes all the same."""

    def _work(self) -> None:
        self.shop.is_down = CHANGE_S - 130 <= self.shop.clock.at_s < CHANGE_S + 400
        super()._work()


@pytest.mark.parametrize("kind", ["switch", "replace"])
def test_h32_what_is_executed_after_a_price_switch_does_not_stand(kind: Kind, tmp_path: Path) -> None:
    """Intents that were open over the change are driven to an answer: Stripe takes them and bills them nowhere, so they are adjustments."""
    used = Used(CHANGE_S - 3000, CHANGE_S - 2900, 0, 7, "open")
    plan = year_of(1, "price switch", "deltas", (Change(CHANGE_S, kind, "package"),), tmp_path / "plan", used).plan
    year = Outage(plan, tmp_path / "year", rates={}, dying=0.0)
    try:
        year.live()
        assert judge(year) == []
        found = [cell for each in year.delivering for cell in each.cells() if cell.timestamp_s == CHANGE_S - 3600]
        assert [(cell.state, cell.adjustment is not None and cell.adjustment.cause) for cell in found] == [("adjustment", "plan_changed")]
    finally:
        year.close()


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("kind", ["switch", "replace"])
def test_h32_records_that_a_change_took_off_the_bill_are_listed(kind: Kind, keeps: bool, tmp_path: Path) -> None:
    """Stripe bills nobody what was recorded of a legacy item before its price was switched, or bills it after all: the final invoice says which, and
    what was deleted with an item is on none."""
    plan = year_of(1, "price switch", "calls", (Change(CHANGE_S, kind, "package"),), tmp_path / "plan").plan
    year = Year(plan, tmp_path / "year", rates={}, dying=0.0, legacy_switch_keeps_usage=keeps)
    reported = sum(one.quantity for one in plan.used if one.occurred_at_s < CHANGE_S - 3600 and one.sent_at_s < CHANGE_S - 3600)
    try:
        year.live()
        assert judge(year) == []
        cells = [cell for each in year.delivering for cell in each.cells() if cell.timestamp_s < CHANGE_S and cell.adjustment is not None]
        listed = sum(int(cell.adjustment.units) for cell in cells if cell.adjustment is not None)
        assert (listed < reported) if keeps and kind == "switch" else (listed >= reported)
    finally:
        year.close()
