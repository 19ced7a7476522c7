"""Setup and sync against the sandbox: what is missing is made once, and who is billed where is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sinks.stripe.catalog import DAY_S, facts_of, first_edge_after, setup, sync
from tests.contract.stripe_bench import bench
from topics.errors import TidemarkError
from topics.periods import edge

METERS: dict[str, str | None] = {"api_calls": None, "tokens": None}


async def test_setup_makes_nothing_twice(tmp_path: Path) -> None:
    """A second setup creates only what was added since: a customer, and an item for a new meter in the subscription that is there."""
    async with bench(tmp_path) as stripe:
        names = ["acme", "a|b ü", "zen"]
        made = await stripe.call(setup, stripe.access, meters=METERS, customers=names, now_s=stripe.now_s)
        kinds = sorted(row.what for row in made)
        assert kinds == sorted(["product"] * 2 + ["price"] * 2 + ["customer"] * 3 + ["subscription"] * 3)
        assert await stripe.call(setup, stripe.access, meters=METERS, customers=names, now_s=stripe.now_s) == []
        more = await stripe.call(setup, stripe.access, meters={**METERS, "bytes": None}, customers=[*names, "new"], now_s=stripe.now_s)
        assert sorted(row.what for row in more) == sorted(["product", "price", "customer", "subscription"] + ["item"] * 3)


async def test_sync_reads_every_customer_and_meter(tmp_path: Path) -> None:
    """Items come back under the customers' own names, page after page, with the period that Stripe bills by."""
    async with bench(tmp_path) as stripe:
        names = [f"customer {number}" for number in range(130)]
        since_s = stripe.now_s - 20 * DAY_S
        await stripe.call(setup, stripe.access, meters=METERS, customers=names, now_s=stripe.now_s, since_s=since_s)
        found = await stripe.call(sync, stripe.access, {}, METERS)
        assert not found.problems and sorted(found.items) == sorted(names)
        for items in found.items.values():
            assert [item.meter for item in items] == sorted(METERS)
            assert all(item.starts_at_s == since_s and item.period == "month" for item in items)
        assert len({item.item for items in found.items.values() for item in items}) == 2 * len(names)


async def test_usage_since_the_backdated_start_is_taken(tmp_path: Path) -> None:
    """A subscription that setup backdates takes usage from its first second on, and none before."""
    async with bench(tmp_path) as stripe:
        since_s = stripe.now_s - 45 * DAY_S
        await stripe.call(setup, stripe.access, meters={"api_calls": None}, customers=["acme"], now_s=stripe.now_s, since_s=since_s)
        (item,) = (await stripe.call(sync, stripe.access, {}, METERS)).items["acme"]
        assert (await stripe.report(5, "k1", second=since_s + 1 - stripe.now_s, item=item.item)).name == "delivered"
        assert (await stripe.report(5, "k2", second=since_s - stripe.now_s, item=item.item)).name == "period_closed"


async def test_a_price_of_the_configuration_names_its_meter(tmp_path: Path) -> None:
    """An item whose price the configuration gives to a meter is bound to it; prices of no meter are none of ours."""
    async with bench(tmp_path) as stripe:
        facts = await stripe.call(facts_of, stripe.access, stripe.item)
        assert (await stripe.call(sync, stripe.access, {}, METERS)).items == {}
        found = await stripe.call(sync, stripe.access, {facts.price: "tokens"}, METERS)
        ((customer, (item,)),) = found.items.items()
        assert (item.item, item.meter, item.subscription, customer[:4]) == (stripe.item, "tokens", facts.subscription, "cus_")


async def test_a_price_that_cannot_serve_is_named(tmp_path: Path) -> None:
    """A price that does not add windows up is a problem with its name, not a binding (H31)."""
    async with bench(tmp_path) as stripe:
        _, _, item = await stripe.sandbox.metered_item(aggregate="max")
        with pytest.raises(TidemarkError, match="aggregate_usage=max"):
            await stripe.call(facts_of, stripe.access, item)
        with pytest.raises(TidemarkError, match="No such subscription_item"):
            await stripe.call(facts_of, stripe.access, "si_none")


def _subscription(prices: list[dict[str, Any]]) -> dict[str, Any]:
    rows = [{"id": f"si_{number}", "price": price} for number, price in enumerate(prices)]
    return {"id": "sub_1", "customer": "cus_1", "billing_cycle_anchor": 9, "start_date": 9, "items": {"data": rows, "has_more": False}}


class _Fixed:
    """An account that is a dictionary."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self._rows = rows

    def get(self, path: str, **_parameters: Any) -> dict[str, Any]:
        """One object."""
        return self._rows[path][0]

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Nothing is created here."""
        raise AssertionError((path, idempotency_key, parameters))

    def pages(self, path: str, **_parameters: Any) -> list[dict[str, Any]]:
        """A list."""
        return self._rows[path]


def test_two_items_for_one_meter_bind_neither() -> None:
    """Where a customer has two items for a meter it is not guessed which one is billed."""
    price = {"id": "price_1", "recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered", "aggregate_usage": "sum"}}
    access = _Fixed({"/v1/customers": [{"id": "cus_1"}], "/v1/subscriptions": [_subscription([price, price])]})
    found = sync(access, {"price_1": "tokens"}, METERS)
    assert found.items == {} and "2 items for meter 'tokens'" in found.problems[0]


@pytest.mark.parametrize("days", [1, 30, 31, 45, 400])
def test_the_first_edge_is_ahead_and_allowed(days: int) -> None:
    """The anchor of a backdated subscription is in the future and no later than a month from now, whatever the day."""
    for now_s in range(1_700_000_000, 1_700_000_000 + 400 * DAY_S, 37 * 3600):
        anchor_s = first_edge_after(now_s - days * DAY_S, now_s)
        assert now_s + DAY_S <= anchor_s < edge(now_s, "month", 1, 1)
