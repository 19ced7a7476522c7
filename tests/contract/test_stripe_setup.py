"""Setup against the sandbox: what is missing is made once, wherever it was interrupted, and nothing is built on what would bill wrongly."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from infra import stripe_catalog
from infra.settings import load_settings
from sinks.stripe.access import Access, Eras
from sinks.stripe.setup import Catalogue, NewCustomer, NewMeter, Plan
from sinks.stripe.subscribing import DAY_S, first_edge_after, set_up
from sinks.stripe.suitability import Terms
from tests.contract.stripe_bench import Bench, bench
from topics.errors import ConfigurationFault, Unreachable
from topics.periods import Interval, edge

RECORDS = NewMeter(Terms("api_calls"), "meters[0]", "0.04")
HOURLY = NewMeter(Terms("tokens", "meters"), "meters[1]", "2")
DELTAS = NewMeter(Terms("bytes", "meters", aggregation="sum", event_name="traffic"), "meters[2]")
NAMES = ("acme", "a|b ü", "zen")


def plan(now_s: int, *meters: NewMeter, names: Iterable[str] = NAMES, **more: Any) -> Plan:
    """A plan for these meters and customers."""
    return Plan(meters=meters, customers=[NewCustomer(name) for name in names], now_s=now_s, **more)


def kinds(found: Catalogue) -> Counter[str]:
    """How many of each kind were made."""
    return Counter(made.what for made in found.made)


async def done(stripe: Bench, *meters: NewMeter, eras: Eras | None = None, **more: Any) -> Catalogue:
    """One set-up on the bench."""
    return await stripe.call(set_up, eras or stripe.eras, plan(stripe.now_s, *meters, **more))


async def held(stripe: Bench) -> dict[str, list[Any]]:
    """Everything of ours that the account holds, by kind; the bench's own objects carry no name of ours."""

    def read() -> dict[str, list[Any]]:
        def ours(path: str) -> list[Any]:
            return [row for row in stripe.access.pages(path) if any(name.startswith("tidemark_") for name in row["metadata"])]

        return {
            "product": ours("/v1/products"),
            "price": ours("/v1/prices"),
            "customer": ours("/v1/customers"),
            "subscription": ours("/v1/subscriptions"),
            "meter": list(stripe.modern.pages("/v1/billing/meters")),
        }

    return await stripe.call(read)


async def test_setup_makes_nothing_twice(tmp_path: Path) -> None:
    """A second setup makes only what was added since: a customer, and an item for a new meter in the subscription that is there."""
    async with bench(tmp_path) as stripe:
        first = await done(stripe, RECORDS, HOURLY)
        assert kinds(first) == {"product": 2, "meter": 1, "price": 2, "customer": 3, "subscription": 3}
        assert not (await done(stripe, RECORDS, HOURLY)).made
        more = await done(stripe, RECORDS, HOURLY, DELTAS, names=[*NAMES, "new"])
        assert kinds(more) == {"product": 1, "meter": 1, "price": 1, "customer": 1, "subscription": 1, "item": 3}


async def test_setup_makes_what_each_mode_needs(tmp_path: Path) -> None:
    """A legacy price sums; a meter of an hour keeps a number for each hour, one for deltas none; a base price is on every subscription."""
    async with bench(tmp_path) as stripe:
        await done(stripe, RECORDS, HOURLY, DELTAS, base_amount="1900", names=["acme"])
        there = await held(stripe)
        recurring = {row["metadata"].get("tidemark_meter", "base"): row["recurring"] for row in there["price"]}
        assert recurring["api_calls"]["aggregate_usage"] == "sum" and recurring["api_calls"]["meter"] is None
        meters = {row["event_name"]: row for row in there["meter"]}
        assert {name: row["event_time_window"] for name, row in meters.items()} == {"tokens": "hour", "traffic": None}
        assert recurring["tokens"]["meter"] == meters["tokens"]["id"] and recurring["base"]["usage_type"] == "licensed"
        (subscription,) = there["subscription"]
        assert len(subscription["items"]["data"]) == 4
        assert subscription["billing_cycle_anchor"] % 3600 == 0


class Interrupted:
    """An access whose n-th call of all never comes back: it is not sent, or (`after`) what it made stands and nobody hears of it."""

    def __init__(self, access: Access, counter: Counter[str], at: int, *, after: bool) -> None:
        self._access, self._counter, self._at, self._after = access, counter, at, after
        self._lock = threading.Lock()

    def _call(self, do: Any, path: str, parameters: dict[str, Any]) -> Any:
        with self._lock:
            self._counter["calls"] += 1
            fails = self._counter["calls"] == self._at
        if fails and not self._after:
            raise Unreachable("interrupted before the call")
        answer = do(path, **parameters)
        if fails:
            raise Unreachable("interrupted after the call")
        return answer

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET."""
        found: dict[str, Any] = self._call(self._access.get, path, parameters)
        return found

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST."""
        assert idempotency_key is None
        made: dict[str, Any] = self._call(self._access.post, path, parameters)
        return made

    def pages(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """A list."""
        rows: list[dict[str, Any]] = self._call(lambda path, **named: list(self._access.pages(path, **named)), path, parameters)
        return rows


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_setup_goes_on_where_it_was_interrupted(tmp_path: Path, after: bool) -> None:
    """Interrupted at any of its calls, before it was sent or with its answer lost, a second run completes and nothing stands twice."""
    at = 0
    while True:
        at += 1
        async with bench(tmp_path / str(at)) as stripe:
            counter: Counter[str] = Counter()
            eras = Eras(Interrupted(stripe.access, counter, at, after=after), Interrupted(stripe.modern, counter, at, after=after))
            meters, names = (RECORDS, HOURLY), ("acme", "zen")
            try:
                await done(stripe, *meters, eras=eras, names=names, base_amount="5")
                assert counter["calls"] < at
                break
            except Unreachable:
                pass
            await done(stripe, *meters, names=names, base_amount="5")
            there = await held(stripe)
            assert {kind: len(rows) for kind, rows in there.items()} == {"product": 3, "price": 3, "customer": 2, "subscription": 2, "meter": 1}
            assert all(len(row["items"]["data"]) == 3 for row in there["subscription"])
            assert not (await done(stripe, *meters, names=names, base_amount="5")).made
    assert at > 12


async def test_nothing_is_built_on_what_would_bill_wrongly(tmp_path: Path) -> None:
    """Named prices and meters that cannot serve are all said at once, with their places, and no customer is made."""
    async with bench(tmp_path) as stripe:
        wrong = await stripe.call(
            stripe.access.post,
            "/v1/prices",
            currency="usd",
            unit_amount="1",
            product_data={"name": "x"},
            recurring={"interval": "month", "usage_type": "metered", "aggregate_usage": "max"},
        )
        meter = await stripe.call(
            stripe.modern.post, "/v1/billing/meters", display_name="x", event_name="x", default_aggregation={"formula": "count"}
        )
        plans = [
            NewMeter(Terms("a", price=wrong["id"]), "meters[0]"),
            NewMeter(Terms("b", "meters", meter=meter["id"]), "meters[1]"),
            NewMeter(Terms("c", "meters", meter="mtr_none"), "meters[2]"),
        ]
        with pytest.raises(ConfigurationFault) as said:
            await done(stripe, *plans, base_price=wrong["id"])
        places = [fault.place for fault in said.value.faults]
        assert places == ["meters[0].stripe_price", "meters[1].stripe_meter", "meters[2].stripe_meter", "stripe.base_price"]
        assert not (await held(stripe))["customer"]


async def test_a_customers_own_plan_is_left_alone(tmp_path: Path) -> None:
    """A customer who has an item for the meter by another price gets no second one: both would bill the same usage."""
    async with bench(tmp_path) as stripe:
        await done(stripe, HOURLY, names=["acme"])
        there = await held(stripe)
        (meter,), (subscription,) = there["meter"], there["subscription"]
        special = await stripe.call(
            stripe.modern.post,
            "/v1/prices",
            currency="usd",
            unit_amount="9",
            product_data={"name": "special"},
            recurring={"interval": "month", "usage_type": "metered", "meter": meter["id"]},
        )
        await stripe.call(stripe.modern.post, "/v1/subscription_items", subscription=subscription["id"], price=special["id"])
        await stripe.sandbox.call("DELETE", f"/v1/subscription_items/{subscription['items']['data'][0]['id']}")
        assert not (await done(stripe, HOURLY, names=["acme"])).made


async def test_a_customer_lives_by_the_clock_that_the_file_names(tmp_path: Path) -> None:
    """With test_clock a customer and its subscription are made on that clock, found there again, and begin by its time."""
    async with bench(tmp_path) as stripe:
        frozen_s = stripe.now_s - 90 * DAY_S
        clock = await stripe.call(stripe.modern.post, "/v1/test_helpers/test_clocks", frozen_time=frozen_s)
        asked = Plan([RECORDS], [NewCustomer("acme", clock=clock["id"], email="billing@acme.example")], stripe.now_s)
        assert kinds(await stripe.call(set_up, stripe.eras, asked))["subscription"] == 1
        assert not (await stripe.call(set_up, stripe.eras, asked)).made
        (subscription,) = await stripe.call(lambda: list(stripe.access.pages("/v1/subscriptions", test_clock=clock["id"])))
        assert subscription["start_date"] == frozen_s


@pytest.mark.parametrize("interval", ["day", "week", "month", "year"])
@pytest.mark.parametrize("days", [1, 30, 31, 45, 400])
def test_the_first_edge_is_ahead_and_allowed(days: int, interval: Interval) -> None:
    """The anchor of a backdated subscription is in the future, no later than a period from now, and on the boundary asked for, whatever the day."""
    for step_s in (1, 3600):
        for now_s in range(1_700_000_000, 1_700_000_000 + 400 * DAY_S, 37 * 3600):
            anchor_s = first_edge_after(now_s - days * DAY_S, now_s, step_s, interval)
            assert now_s < anchor_s < edge(now_s, interval, 1, 1) and anchor_s % step_s == 0


async def test_what_a_thousand_units_cost_is_asked_of_the_price(tmp_path: Path) -> None:
    """Set-up says what 1,000 units cost by the price that bills them: an amount in parts of a cent, tiers, and the base price for a period."""
    async with bench(tmp_path) as stripe:
        tiered = await stripe.call(
            stripe.access.post,
            "/v1/prices",
            currency="usd",
            billing_scheme="tiered",
            tiers_mode="graduated",
            tiers=[{"up_to": 100, "unit_amount": 0, "flat_amount": 500}, {"up_to": "inf", "unit_amount_decimal": "0.5"}],
            product_data={"name": "x"},
            recurring={"interval": "month", "usage_type": "metered"},
        )
        path = tmp_path / "tidemark.toml"
        path.write_text(
            '[stripe]\nbase_amount = 1900\n[[meters]]\nslug = "a"\nevent_type = "x"\nunit_amount = "0.04"\n'
            f'[[meters]]\nslug = "b"\nevent_type = "y"\nstripe_price = "{tiered["id"]}"\n'
        )
        settings = load_settings(path, {"STRIPE_API_KEY": stripe.sandbox.key, "TIDEMARK_STRIPE__API_BASE": stripe.sandbox.url})
        found = await stripe.call(stripe_catalog.setup, settings)
        assert {slug: cost for slug, (_, cost) in found.costs.items()} == {"a": "0.40 usd", "b": "9.50 usd", "base": "19.00 usd"}
        assert found.costs["b"][0] == tiered["id"] and any("graduated" in note for note in found.notes)
