"""Stripe is down for thirty hours over a billing edge, with the invoice gate on `hold`."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.gate.held import Outage, Waiting, Weeks
from tests.simulation.year.plan import Plan, Used
from tests.simulation.year.shop import MODERN
from tests.simulation.year.subscriber import DAY_S, MODES, START_S, Subscriber
from tests.simulation.year.verdict import judge

HOUR_S = 3600
EDGE_S = START_S + 8 * DAY_S
RATES = {"lost": 0.02, "500": 0.01, "500_effect": 0.01, "429": 0.02, "503": 0.01}
DYING = 0.002
TAKEN_LATE = ("hourly", "daily", "deltas")
"""Our meters on Billing Meters: a draft takes their events. Usage records are taken until the period ends."""


def plan_of(seed: int) -> Plan:
    """A customer of each way of billing, all with an edge at `EDGE_S`, who use something all the time and are a little late with it."""
    chance = random.Random(seed)
    until_s = START_S + 14 * DAY_S
    who = tuple(
        Subscriber(number, f"{meter}-{number}", START_S + DAY_S, meter, "week", "unit")
        for number, meter in enumerate(sorted(MODES))
    )
    used: list[Used] = []
    for each in who:
        at_s = float(each.joins_at_s + 60)
        while (at_s := at_s + chance.expovariate(1 / (2 * HOUR_S))) < until_s - DAY_S:
            sent_at_s = int(at_s) + chance.choice((5, 60, 900, 2 * HOUR_S))
            used.append(Used(int(at_s), sent_at_s, each.number, chance.choice((1, 2, 7, 40)), f"e{each.number}-{len(used)}"))
    return Plan(seed, until_s, who, tuple(sorted(used, key=lambda one: (one.sent_at_s, one.id))))


def lived(seed: int, tmp_path: Path, waiting: Waiting, *, stands_still: bool) -> Weeks:
    """The weeks of a seed."""
    begins_s = EDGE_S - random.Random(seed).randrange(2, 20) * HOUR_S
    outage = Outage(begins_s, begins_s + 30 * HOUR_S, stands_still)
    weeks = Weeks(plan_of(seed), tmp_path, gate="hold", outage=outage, waiting=waiting, rates=RATES, dying=DYING)
    weeks.live()
    return weeks


def invoice_of(weeks: Weeks, meter: str) -> dict[str, Any]:
    """The invoice of the period that ended while Stripe was down."""
    number = next(each.number for each in weeks.plan.subscribers if each.meter == meter)
    (found,) = [row for row in weeks.shop.pages("/v1/invoices", {"subscription": weeks.accounts[number].subscription}) if row["period_end"] == EDGE_S]
    return found


def faults_of(weeks: Weeks) -> list[str]:
    """What must be true of every period. One thing that is a fault elsewhere is none here: a usage record that was in doubt when Stripe went away is
    asked about once more with its own key and bytes (law 13), and where it had not landed its second is over by then."""
    return [fault for fault in judge(weeks) if "answered timestamp" not in fault]


def used_in(weeks: Weeks, meter: str) -> int:
    """What the meter's customer used in that period, by the plan alone."""
    who = {each.number: each for each in weeks.plan.subscribers}
    return sum(one.quantity for one in weeks.plan.used if who[one.customer].meter == meter and one.occurred_at_s < EDGE_S)


def listed_in(weeks: Weeks, meter: str) -> int:
    """What is listed as an adjustment of that period."""
    cells = [cell for each in weeks.delivering for cell in each.cells()]
    return sum(int(cell.adjustment.units) for cell in cells if cell.meter == meter and cell.period_end_s == EDGE_S and cell.adjustment is not None)


@pytest.mark.parametrize(("seed", "waiting", "stands_still"), [(0, "webhook", False), (1, "webhook", True), (1, "grace", False), (0, "grace", True)])
def test_through_thirty_hours_without_stripe_the_invoice_waits_and_is_exact(
    seed: int, waiting: Waiting, stands_still: bool, tmp_path: Path
) -> None:
    """With a webhook for invoice.created, or the account's grace of 72 hours, a meter's invoice waits for all usage and bills all of it; that of
    usage records, of which Stripe takes none after the edge, is let go at once, and it and the adjustments are all the usage."""
    weeks = lived(seed, tmp_path, waiting, stands_still=stands_still)
    try:
        assert faults_of(weeks) == []
        assert weeks.alarms == 0
        for meter in MODES:
            invoice = invoice_of(weeks, meter)
            units = sum(line["quantity"] for line in invoice["lines"]["data"])
            final_s = invoice["status_transitions"]["finalized_at"]
            assert (invoice["status"], invoice["metadata"]) == ("paid", {})
            assert weeks.outage.to_s <= final_s <= EDGE_S + 73 * HOUR_S
            assert units + listed_in(weeks, meter) == used_in(weeks, meter)
            if meter in TAKEN_LATE:
                assert (units, listed_in(weeks, meter)) == (used_in(weeks, meter), 0)
        held = Counter(path for _, path, asked in weeks.access.posts if asked["auto_advance"] == "false")
        assert held, "nothing was ever held: the outage was no outage"
    finally:
        weeks.close()


@pytest.mark.parametrize(("seed", "stands_still"), [(0, False), (1, True)])
def test_where_nothing_keeps_stripe_waiting_what_came_too_late_is_listed(seed: int, stands_still: bool, tmp_path: Path) -> None:
    """Without a webhook, and with the account's one hour, the invoice is final before anybody can hold it, and what is not on it is an adjustment, to
    the unit: the limit of the gate."""
    weeks = lived(seed, tmp_path, "nothing", stands_still=stands_still)
    try:
        assert faults_of(weeks) == []
        for meter in MODES:
            invoice = invoice_of(weeks, meter)
            units = sum(line["quantity"] for line in invoice["lines"]["data"])
            assert units < used_in(weeks, meter)
            assert units + listed_in(weeks, meter) == used_in(weeks, meter)
    finally:
        weeks.close()


class Refusing(Weeks):
    """Weeks without an outage, in which somebody deactivates a Billing Meter three hours before the edge, and nobody repairs it."""

    is_off = False

    def _facts(self) -> None:
        if not self.is_off and self.shop.clock.at_s >= EDGE_S - 3 * HOUR_S:
            self.is_off = True
            meter = next(row["id"] for row in self.shop.pages("/v1/billing/meters", {}, MODERN) if row["event_name"] == "deltas")
            self.shop.call("POST", f"/v1/billing/meters/{meter}/deactivate", {}, MODERN)
        super()._facts()


def test_what_nobody_repairs_is_let_go_after_three_days_with_an_alarm(tmp_path: Path) -> None:
    """A draft whose usage Stripe refuses is held for 72 hours, then let go with one alarm, and what is missing on it is still in sight."""
    weeks = Refusing(plan_of(0), tmp_path, gate="hold", outage=Outage(EDGE_S, EDGE_S, False), waiting="nothing", rates={}, dying=0.0)
    try:
        weeks.live()
        assert faults_of(weeks) == []
        invoice = invoice_of(weeks, "deltas")
        assert sum(line["quantity"] for line in invoice["lines"]["data"]) < used_in(weeks, "deltas")
        final_s = invoice["status_transitions"]["finalized_at"]
        assert EDGE_S + 72 * HOUR_S <= final_s <= EDGE_S + 74 * HOUR_S
        assert weeks.alarms == 1
        for meter in ("hourly", "daily", "calls"):
            assert invoice_of(weeks, meter)["status_transitions"]["finalized_at"] <= EDGE_S + 3 * HOUR_S
    finally:
        weeks.close()
