"""Sync against the sandbox: who is billed where is read back whole, in both modes, and what would bill wrongly is bound to nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra import stripe_catalog
from infra.settings import load_settings
from sinks.stripe.access import Eras
from sinks.stripe.binding import Synced, bound_item, sync
from sinks.stripe.setup import NewCustomer, NewMeter, Plan
from sinks.stripe.subscribing import DAY_S, set_up
from sinks.stripe.suitability import Terms
from tests.contract.stripe_bench import Bench, bench
from topics.errors import TidemarkError

RECORDS, HOURLY = Terms("api_calls"), Terms("tokens", "meters", fractions="exact")
BOTH = (RECORDS, HOURLY)


async def made(stripe: Bench, *terms: Terms, names: tuple[str, ...] = ("acme",), **more: Any) -> None:
    """A set-up for these meters and customers."""
    plan = Plan([NewMeter(each) for each in terms], [NewCustomer(name) for name in names], stripe.now_s, **more)
    await stripe.call(set_up, stripe.eras, plan)


async def read(stripe: Bench, *terms: Terms, **more: Any) -> Synced:
    """One sync."""
    found: Synced = await stripe.call(sync, stripe.eras, terms, **more)
    return found


async def test_sync_reads_every_customer_and_meter(tmp_path: Path) -> None:
    """Items come back under the customers' own names, page after page, with the period that Stripe bills by; how far it is, is said on the way."""
    async with bench(tmp_path) as stripe:
        names = tuple(f"customer {number}" for number in range(130))
        since_s = stripe.now_s - 20 * DAY_S
        await made(stripe, *BOTH, names=names, since_s=since_s)
        found = await read(stripe, *BOTH)
        assert not found.problems and sorted(found.items) == sorted(names)
        for items in found.items.values():
            assert [item.meter for item in items] == ["api_calls", "tokens"]
            assert all(item.starts_at_s == since_s and item.period == "month" and item.ends_at_s is None for item in items)
        assert len({item.item for items in found.items.values() for item in items}) == 2 * len(names)
        path, heard = tmp_path / "tidemark.toml", list[str]()
        path.write_text('[[meters]]\nslug = "api_calls"\nevent_type = "x"\n[[meters]]\nslug = "tokens"\nevent_type = "x"\nstripe_mode = "meters"\n')
        settings = load_settings(path, {"STRIPE_API_KEY": stripe.sandbox.key, "TIDEMARK_STRIPE__API_BASE": stripe.sandbox.url})
        assert await stripe.call(stripe_catalog.read_items, settings, heard.append, heard.append) == found.items
        assert heard == ["100 subscriptions"]


async def test_sync_fills_what_each_mode_needs(tmp_path: Path) -> None:
    """In the middle of a migration one customer has a legacy item and one on a Billing Meter side by side, each bound as its mode wants it."""
    async with bench(tmp_path) as stripe:
        await made(stripe, *BOTH)
        legacy, metered = (await read(stripe, *BOTH)).items["acme"]
        assert (legacy.mode, legacy.aggregation, legacy.event_name, legacy.fractions) == ("usage_records", "", "", "refuse")
        assert (metered.mode, metered.aggregation, metered.event_name, metered.fractions) == ("meters", "hour", "tokens", "exact")
        assert legacy.stripe_customer == metered.stripe_customer != ""
        assert await stripe.call(bound_item, stripe.eras, metered.item, HOURLY) == metered
        assert await stripe.call(bound_item, stripe.eras, legacy.item, RECORDS) == legacy


async def test_usage_since_the_backdated_start_is_taken(tmp_path: Path) -> None:
    """A subscription that setup backdates takes usage from its first second on, and none before."""
    async with bench(tmp_path) as stripe:
        since_s = stripe.now_s - 45 * DAY_S
        await made(stripe, RECORDS, since_s=since_s)
        (item,) = (await read(stripe, RECORDS)).items["acme"]
        assert (await stripe.report(5, "k1", second=since_s + 1 - stripe.now_s, item=item.item)).name == "delivered"
        assert (await stripe.report(5, "k2", second=since_s - stripe.now_s, item=item.item)).name == "period_closed"


async def test_a_price_of_the_configuration_names_its_meter(tmp_path: Path) -> None:
    """An item whose price the configuration gives to a meter is bound to it, under the name that the file gives the customer; prices of no
    meter are none of ours."""
    async with bench(tmp_path) as stripe:
        facts = await stripe.call(bound_item, stripe.eras, stripe.item, RECORDS)
        assert (await read(stripe, *BOTH)).items == {}
        named = RECORDS._replace(price=facts.price)
        ((customer, (item,)),) = (await read(stripe, named)).items.items()
        assert (item, customer) == (facts, facts.stripe_customer)
        assert list((await read(stripe, named, names={facts.stripe_customer: "acme"})).items) == ["acme"]


async def test_a_price_that_cannot_serve_is_named(tmp_path: Path) -> None:
    """A price that does not add windows up is a problem with its name, not a binding (H31)."""
    async with bench(tmp_path) as stripe:
        _, _, item = await stripe.sandbox.metered_item(aggregate="max")
        with pytest.raises(TidemarkError, match="aggregate_usage=max"):
            await stripe.call(bound_item, stripe.eras, item, RECORDS)
        with pytest.raises(TidemarkError, match="No such subscription_item"):
            await stripe.call(bound_item, stripe.eras, "si_none", RECORDS)


async def test_a_subscription_that_ended_binds_up_to_its_end(tmp_path: Path) -> None:
    """Late events still correct what an ended subscription billed, up to its last second; an end long ago binds nothing, one that is planned
    is known before it comes."""
    async with bench(tmp_path) as stripe:
        await made(stripe, RECORDS, since_s=stripe.now_s - 5 * DAY_S)
        (item,) = (await read(stripe, RECORDS)).items["acme"]
        planned = await stripe.call(stripe.access.post, f"/v1/subscriptions/{item.subscription}", cancel_at_period_end="true")
        (ending,) = (await read(stripe, RECORDS)).items["acme"]
        assert ending.ends_at_s == planned["cancel_at"] is not None
        gone = await stripe.sandbox.call("DELETE", f"/v1/subscriptions/{item.subscription}")
        assert (await read(stripe, RECORDS)).items == {}
        found = await read(stripe, RECORDS, ended_after_s=stripe.now_s - DAY_S)
        (ended,) = found.items["acme"]
        assert (ended.item, ended.ends_at_s) == (item.item, gone["ended_at"]) and not found.problems
        assert (await read(stripe, RECORDS, ended_after_s=gone["ended_at"] + 1)).items == {}
        await made(stripe, RECORDS)
        (again,) = (await read(stripe, RECORDS, ended_after_s=stripe.now_s - DAY_S)).items["acme"]
        assert again.item != item.item and again.ends_at_s is None


async def test_customers_on_test_clocks_are_found(tmp_path: Path) -> None:
    """Customers of a test clock stand in no list that does not ask for the clock: sync asks, and the binding names it."""
    async with bench(tmp_path) as stripe:
        clock = await stripe.call(stripe.modern.post, "/v1/test_helpers/test_clocks", frozen_time=stripe.now_s - 9 * DAY_S)
        plan = Plan([NewMeter(RECORDS)], [NewCustomer("acme", clock=clock["id"])], stripe.now_s)
        await stripe.call(set_up, stripe.eras, plan)
        assert (await read(stripe, RECORDS)).items == {}
        (item,) = (await read(stripe, RECORDS, clocks=True)).items["acme"]
        assert item.clock == clock["id"]


def _price(**recurring: Any) -> dict[str, Any]:
    base = {"interval": "month", "interval_count": 1, "usage_type": "metered", "aggregate_usage": "sum"}
    return {"id": "price_1", "metadata": {"tidemark_meter": "api_calls"}, "recurring": base | recurring}


def _subscription(number: int, status: str, price: dict[str, Any], count: int = 1) -> dict[str, Any]:
    rows = [{"id": f"si_{number}_{each}", "price": price} for each in range(count)]
    subscription = {"id": f"sub_{number}", "customer": "cus_1", "billing_cycle_anchor": 9, "start_date": 9, "status": status}
    return subscription | {"items": {"data": rows, "has_more": False}}


class _Fixed:
    """An account that is a dictionary."""

    def __init__(self, *subscriptions: dict[str, Any]) -> None:
        self._rows = {"/v1/customers": [{"id": "cus_1"}], "/v1/subscriptions": list(subscriptions)}

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Nothing is asked for alone here."""
        raise AssertionError((path, parameters))

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Nothing is created here."""
        raise AssertionError((path, idempotency_key, parameters))

    def pages(self, path: str, **_parameters: Any) -> list[dict[str, Any]]:
        """A list."""
        return self._rows[path]


def _synced(*subscriptions: dict[str, Any]) -> Synced:
    access = _Fixed(*subscriptions)
    return sync(Eras(access, access), [RECORDS])


def test_two_items_for_one_meter_bind_neither() -> None:
    """Where a customer has two items for a meter it is not guessed which one is billed."""
    found = _synced(_subscription(1, "active", _price(), count=2))
    assert found.items == {} and "2 items for meter 'api_calls'" in found.problems[0]


@pytest.mark.parametrize("status", ["active", "trialing", "past_due", "unpaid", "paused"])
def test_a_subscription_that_lives_binds(status: str) -> None:
    """Trialing, unpaid and paused subscriptions are reported to: what becomes of their invoices is between Stripe and the customer."""
    found = _synced(_subscription(1, status, _price()))
    assert [item.item for item in found.items["cus_1"]] == ["si_1_0"] and not found.problems
    assert bool(found.notes) == (status in {"unpaid", "paused"})


@pytest.mark.parametrize("status", ["incomplete", "incomplete_expired"])
def test_a_subscription_that_was_never_paid_binds_nothing(status: str) -> None:
    """Before its first payment a subscription takes no usage: it waits, unbound, and is no second item of a customer who has another."""
    assert _synced(_subscription(1, status, _price())).items == {}
    found = _synced(_subscription(1, status, _price()), _subscription(2, "active", _price()))
    assert [item.item for item in found.items["cus_1"]] == ["si_2_0"] and not found.problems
