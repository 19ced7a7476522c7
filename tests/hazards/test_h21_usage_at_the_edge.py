"""H21, laws 9 and 16: usage records take the current period only, and a window that ends with it would be reported after it, by design."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.simulation.year.application import Account
from tests.simulation.year.living import Year
from tests.simulation.year.plan import Plan, Used
from tests.simulation.year.subscriber import DAY_S, START_S, Subscriber
from tests.simulation.year.verdict import billed_by_span, judge

EDGE_S = START_S + 31 * DAY_S
"""One month after its start, a subscription's first period ends."""
PROMISED_S = 90
"""What is received so long before the edge is billed in the period in which it was used."""


def plan_of(seed: int) -> Plan:
    """One event a second from eleven minutes before the edge to ten minutes after it, each sent up to a few seconds later."""
    chance = random.Random(seed)
    subscriber = Subscriber(0, f"edge-{seed}", START_S, "calls", "month", "unit")
    moments = range(EDGE_S - 660, EDGE_S + 600)
    used = sorted((Used(at_s, at_s + chance.randrange(1, 4), 0, 1, f"e{at_s}") for at_s in moments), key=lambda one: (one.sent_at_s, one.id))
    return Plan(seed, EDGE_S + 3600, (subscriber,), tuple(used))


class Seconds(Year):
    """A year of which only the minutes around one edge are lived, second by second."""

    def foresee(self) -> None:
        """The subscription begins, and everything that is sent."""
        self.at(START_S, self.plan.subscribers[0])
        for one in self.plan.used:
            self.at(one.sent_at_s, one)

    def foresee_edges(self, account: Account) -> None:
        """The seconds around the edge are all there."""


@pytest.mark.parametrize("seed", range(3))
def test_h21_what_came_before_the_edge_is_on_its_invoice(seed: int, tmp_path: Path) -> None:
    """With no tolerance at the provider, the period's invoice holds all that was received 90 s before its end, and nothing is billed elsewhere."""
    year = Seconds(plan_of(seed), tmp_path, rates={}, dying=0.0, grace_s=0, future_s=0)
    try:
        year.live()
        billed = billed_by_span(year, year.accounts[0])
        period = next(span for span in billed if span.end_s == EDGE_S)
        in_time = sum(one.quantity for one in year.plan.used if one.sent_at_s <= EDGE_S - PROMISED_S)
        all_of_it = sum(one.quantity for one in year.plan.used if one.occurred_at_s < EDGE_S)
        assert in_time <= billed[period] <= all_of_it
        assert judge(year) == []
        # Nothing was refused for its second: what was too late for the period was not sent at all.
        assert {status for _, status in year.shop.statuses} == {200}
    finally:
        year.close()


@pytest.mark.parametrize("begins", [{"anchor_s": EDGE_S}, {"trial_days": 31}], ids=["anchored", "trial"])
def test_h21_a_first_period_that_ends_at_its_anchor_is_known_to_end_there(begins: dict[str, int], tmp_path: Path) -> None:
    """What comes twenty minutes after a subscription's first, shorter or free period is not sent, to be refused for its second, but listed."""
    used = (Used(EDGE_S - 90_000, EDGE_S - 89_000, 0, 5, "early"), Used(EDGE_S - 5000, EDGE_S + 1200, 0, 3, "late"))
    subscriber = Subscriber(0, "first", START_S, "calls", "month", "unit", **begins)  # type: ignore[arg-type]
    year = Year(Plan(1, EDGE_S + 7200, (subscriber,), used), tmp_path, rates={}, dying=0.0)
    try:
        year.live()
        assert judge(year) == []
        assert {status for _, status in year.shop.statuses} == {200}
        assert [cell.adjustment.units for each in year.delivering for cell in each.cells() if cell.adjustment is not None] == ["3"]
    finally:
        year.close()
