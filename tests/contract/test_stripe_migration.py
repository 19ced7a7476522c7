"""A migration from usage records to Billing Meters on a test clock: side by side for a period, compared, switched at its edge, billed once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sinks.outcomes import RetryAfter
from sinks.readback import Summary
from sinks.stripe.access import Eras
from sinks.stripe.binding import sync
from sinks.stripe.comparing import compare
from sinks.stripe.request import MODERN_VERSION
from sinks.stripe.setup import NewCustomer, NewMeter, Plan
from sinks.stripe.subscribing import set_up
from sinks.stripe.suitability import Terms
from tests.contract.billing_bench import CLOCKS, DAY, FEB_29, HOUR, MAR_31, START
from tests.contract.sandbox_driver import Driver
from tests.simulation.year.shop import _flat
from topics.bindings import Item
from topics.errors import UsageError
from topics.quantity import ONE

OLD, NEW = Terms("old"), Terms("new", "meters", aggregation="hour", fractions="exact")
APR_30 = 1_714_435_200


class Access:
    """The command line's and the read-back's view of a driven sandbox, under one API version; its calls come from several threads."""

    _turn = threading.Lock()

    def __init__(self, driver: Driver, **version: str) -> None:
        self._driver, self._version = driver, version

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET."""
        with self._turn:
            return self._answer(self._driver.get(path, dict(_flat(parameters)), **self._version))

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST."""
        with self._turn:
            return self._answer(self._driver.post(path, dict(_flat(parameters)), key=idempotency_key, **self._version))

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """A list that fits a page."""
        page = self.get(path, limit=100, **parameters)
        assert not page["has_more"]
        yield from page["data"]

    def _answer(self, reply: Any) -> dict[str, Any]:
        assert reply.status == 200, reply.json
        answer: dict[str, Any] = reply.json
        return answer

    def summaries(self, item: str, back_to_s: int) -> list[Summary] | RetryAfter:
        """A legacy item's totals."""
        rows = self.pages(f"/v1/subscription_items/{item}/usage_record_summaries")
        return [Summary(row["period"]["start"], row["period"]["end"], row["total_usage"]) for row in rows if row["period"]["end"]]

    def event_summaries(self, event_name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary] | RetryAfter:
        """A customer's usage of a meter, in one."""
        (meter,) = [row["id"] for row in self.pages("/v1/billing/meters") if row["event_name"] == event_name]
        rows = self.pages(f"/v1/billing/meters/{meter}/event_summaries", customer=customer, start_time=start_s, end_time=end_s)
        return [Summary(row["start_time"], row["end_time"], int(row["aggregated_value"] * ONE)) for row in rows]


class Shop:
    """Two customers on a clock, used every twelve hours, their usage reported as their bindings say."""

    def __init__(self, driver: Driver, seed: int) -> None:
        self.rng = random.Random(seed)
        self.eras = Eras(Access(driver), Access(driver, stripe_version=MODERN_VERSION))
        self.modern = self.eras.modern
        self.clock = str(self.modern.post(CLOCKS, frozen_time=START)["id"])
        self.names, self.now_s = ("acme", "zen"), START
        self.used: dict[tuple[str, int], int] = {}

    def advance(self, to_s: int) -> None:
        """The clock moves on, and everything due until then happens."""
        if to_s > self.now_s:
            self.now_s = to_s
            self.modern.post(f"{CLOCKS}/{self.clock}/advance", frozen_time=to_s)
            assert self.modern.get(f"{CLOCKS}/{self.clock}")["status"] == "ready"

    def plan(self, *terms: Terms) -> Plan:
        """What set-up is asked for."""
        customers = [NewCustomer(name, clock=self.clock) for name in self.names]
        return Plan([NewMeter(one, unit_amount="2") for one in terms], customers, START)

    def items(self) -> dict[str, dict[str, Item]]:
        """Bindings by customer and meter."""
        found = sync(self.eras, [OLD, NEW], clocks=True, ended_after_s=START)
        assert not found.problems
        return {customer: {item.meter: item for item in items} for customer, items in found.items.items()}

    def live(self, from_s: int, to_s: int) -> None:
        """Use and report, in each item's own time: half a day at a step, the last one ends at `to_s`."""
        bound = self.items()
        for start_s in range(from_s, to_s, DAY // 2):
            for customer in self.names:
                units = self.used[customer, start_s] = self.rng.randrange(1, 100)
                for item in bound[customer].values():
                    self._report(item, units, start_s)
            self.advance(start_s + DAY // 2)

    def _report(self, item: Item, units: int, start_s: int) -> None:
        if start_s < item.billable_from_s or (item.ends_at_s is not None and start_s >= item.ends_at_s):
            return
        second = max(start_s, item.period_at(start_s).start_s + 1)
        self.advance(second + 60)
        if item.mode == "usage_records":
            self.eras.old.post(f"/v1/subscription_items/{item.item}/usage_records", quantity=units, timestamp=second, action="set")
            return
        payload = {"stripe_customer_id": item.stripe_customer, "value": str(units)}
        self.modern.post("/v1/billing/meter_events", event_name=item.event_name, payload=payload, timestamp=second)

    def total(self, customer: str, from_s: int, to_s: int) -> int:
        """What was used."""
        return sum(units for (who, at_s), units in self.used.items() if who == customer and from_s <= at_s < to_s)

    def lines(self, item: Item) -> list[tuple[int, int, int]]:
        """(start of the period, quantity, amount) of an item's invoice lines."""
        invoices = self.eras.old.pages("/v1/invoices", customer=item.stripe_customer)
        rows = [line for invoice in invoices for line in invoice["lines"]["data"] if line["subscription_item"] == item.item]
        return sorted((line["period"]["start"], line["quantity"], line["amount"]) for line in rows)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_migration_loses_and_doubles_no_unit(tmp_path: Path, seed: int) -> None:
    """The successor runs along as a trial, free, for a whole period; both totals are equal; at the edge the legacy subscription ends and the trial
    with it: every unit is on exactly one paid line."""
    with Driver(tmp_path) as driver:
        shop = Shop(driver, seed)
        set_up(shop.eras, shop.plan(OLD))
        shop.live(START, START + 10 * DAY)
        trial = replace(shop.plan(OLD, NEW), trial_until_s=MAR_31)
        assert [made.what for made in set_up(shop.eras, trial).made] == ["meter", "product", "price", "trial", "trial"]
        assert not set_up(shop.eras, trial).made
        shop.live(START + 10 * DAY, MAR_31 - DAY)
        both = {customer: tuple(items.values()) for customer, items in shop.items().items()}
        access = Access(driver)
        rows, problems = compare(access, both, ("old", "new"), lambda _clock: MAR_31 - DAY)
        assert not problems and [row.customer for row in rows] == list(shop.names)
        for row in rows:
            assert row.difference == 0 and row.first == shop.total(row.customer, FEB_29, MAR_31) and row.period == (FEB_29, MAR_31)
        for items in shop.items().values():
            shop.eras.old.post(f"/v1/subscriptions/{items['old'].subscription}", cancel_at_period_end=True)
        shop.live(MAR_31 - DAY, APR_30)
        bound = shop.items()
        shop.advance(APR_30 + 2 * HOUR)
        for customer, items in bound.items():
            assert items["old"].ends_at_s == MAR_31 and items["new"].ends_at_s is None
            legacy = [(start_s, quantity, amount) for start_s, quantity, amount in shop.lines(items["old"]) if quantity]
            before = [shop.total(customer, START, FEB_29), shop.total(customer, FEB_29, MAR_31)]
            assert legacy == [(START, before[0], 2 * before[0]), (FEB_29, before[1], 2 * before[1])]
            after = shop.total(customer, MAR_31, APR_30)
            assert [line for line in shop.lines(items["new"]) if line[2]] == [(MAR_31, after, 2 * after)]


def test_a_trial_ends_where_its_first_period_can_begin(tmp_path: Path) -> None:
    """An end in the past, or inside an hour that the Billing Meter keeps one number for, is refused before anything is made."""
    with Driver(tmp_path) as driver:
        shop = Shop(driver, 0)
        for until_s in (START - HOUR, MAR_31 + 60):
            with pytest.raises(UsageError, match="multiple of 3600 s"):
                set_up(shop.eras, replace(shop.plan(OLD, NEW), trial_until_s=until_s))
