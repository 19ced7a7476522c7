"""Stripe's official Python client cannot tell the sandbox from Stripe: the pinned legacy requests and the modern resources."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stripe

from infra.sandbox.testing import LEGACY_VERSION, Sandbox, sandbox_server

MONTH = {"interval": "month"}
Work = Callable[[Sandbox, stripe.StripeClient, stripe.StripeClient], None]


def _run(directory: Path, work: Work, **knobs: Any) -> None:
    """Runs blocking client code in a thread beside the sandbox: `work(sandbox, legacy client, modern client)`."""

    async def main() -> None:
        async with sandbox_server(directory, **knobs) as sandbox:
            legacy = stripe.StripeClient(sandbox.key, stripe_version=LEGACY_VERSION, base_addresses={"api": sandbox.url}, max_network_retries=0)
            modern = stripe.StripeClient(sandbox.key, base_addresses={"api": sandbox.url}, max_network_retries=0)
            await asyncio.to_thread(work, sandbox, legacy, modern)

    asyncio.run(main())


def _metered(legacy: stripe.StripeClient, backdated_s: int = 86_400) -> tuple[str, str]:
    """(subscription, item) made with raw requests of the legacy version, as `tidemark stripe setup` has to."""
    price = legacy.raw_request(
        "post",
        "/v1/prices",
        currency="usd",
        unit_amount_decimal="0.05",
        product_data={"name": "API calls"},
        recurring={"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"},
        lookup_key="api_calls",
    ).data
    customer = legacy.raw_request("post", "/v1/customers", name="acme", metadata={"tidemark": "acme"}).data
    subscription = legacy.raw_request(
        "post",
        "/v1/subscriptions",
        customer=customer["id"],
        items=[{"price": price["id"], "metadata": {"meter": "api_calls"}}],
        backdate_start_date=int(time.time()) - backdated_s,
    ).data
    return subscription["id"], subscription["items"]["data"][0]["id"]


def _use(client: stripe.StripeClient, item: str, key: str, **params: Any) -> Any:
    return client.raw_request("post", f"/v1/subscription_items/{item}/usage_records", idempotency_key=key, **params)


def test_usage_records_by_raw_request(tmp_path: Path) -> None:
    """The pinned raw request sets a cell, replays by its key, and the summaries read it back."""

    def work(_: Sandbox, legacy: stripe.StripeClient, __: stripe.StripeClient) -> None:
        item = _metered(legacy)[1]
        at = int(time.time()) - 60
        first = _use(legacy, item, "k1", quantity=5, timestamp=at, action="set")
        assert first.code == 200
        assert dict(first.data) == {
            **first.data,
            "object": "usage_record",
            "quantity": 5,
            "subscription_item": item,
            "timestamp": at,
            "livemode": False,
        }
        assert first.data["id"].startswith("mbur_")
        again = _use(legacy, item, "k1", quantity=5, timestamp=at, action="set")
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers["Original-Request"] == first.headers["Request-Id"]
        assert first.headers["Stripe-Version"] == LEGACY_VERSION
        _use(legacy, item, "k2", quantity=7, timestamp=at, action="set")
        page = legacy.raw_request("get", f"/v1/subscription_items/{item}/usage_record_summaries", limit=1).data
        assert page["data"][0]["total_usage"] == 7

    _run(tmp_path, work)


def test_the_client_raises_the_right_errors(tmp_path: Path) -> None:
    """Each refusal becomes the exception class that the client has for it, with status, code and parameter."""

    def work(sandbox: Sandbox, legacy: stripe.StripeClient, modern: stripe.StripeClient) -> None:
        _, item = _metered(legacy)
        at = int(time.time()) - 60
        _use(legacy, item, "k", quantity=5, timestamp=at)
        with pytest.raises(stripe.IdempotencyError) as reused:
            _use(legacy, item, "k", quantity=6, timestamp=at)
        assert reused.value.http_status == 400
        with pytest.raises(stripe.InvalidRequestError) as early:
            _use(legacy, item, "k3", quantity=6, timestamp=at - 2 * 86_400)
        assert (early.value.http_status, early.value.param, early.value.code) == (400, "timestamp", None)
        assert early.value.headers is not None
        assert early.value.headers["Stripe-Should-Retry"] == "false"
        with pytest.raises(stripe.InvalidRequestError) as unknown:
            _use(legacy, "si_none", "k4", quantity=6)
        assert (unknown.value.http_status, unknown.value.code) == (404, "resource_missing")
        with pytest.raises(stripe.InvalidRequestError) as too_new:
            _use(modern, item, "k5", quantity=6)
        assert (too_new.value.http_status, too_new.value.code) == (404, None)
        stranger = stripe.StripeClient("sk_test_stranger", base_addresses={"api": sandbox.url}, max_network_retries=0)
        with pytest.raises(stripe.AuthenticationError):
            stranger.v1.customers.list()

    _run(tmp_path, work)


def test_the_client_raises_rate_limits(tmp_path: Path) -> None:
    """Above the rate the client raises RateLimitError."""

    def work(_: Sandbox, __: stripe.StripeClient, modern: stripe.StripeClient) -> None:
        with pytest.raises(stripe.RateLimitError) as limited:
            for _n in range(50):
                modern.v1.customers.list()
        assert limited.value.headers is not None
        assert limited.value.headers["Stripe-Rate-Limited-Reason"] == "global-rate"

    _run(tmp_path, work, calls_per_second=5)


def test_modern_resources(tmp_path: Path) -> None:
    """Products, prices, customers, subscriptions and items are made, changed, paged and ended with the client's own methods."""

    def work(_: Sandbox, legacy: stripe.StripeClient, modern: stripe.StripeClient) -> None:
        product = modern.v1.products.create({"name": "Base", "metadata": {"a": "1"}})
        price = modern.v1.prices.create({"currency": "usd", "unit_amount": 2000, "product": product.id, "recurring": {"interval": "month"}})
        assert (price.recurring is not None, price.unit_amount, product.metadata["a"]) == (True, 2000, "1")
        customer = modern.v1.customers.create({"email": "a@example.com", "name": "Acme"})
        assert modern.v1.customers.update(customer.id, {"name": "Acme Inc."}).name == "Acme Inc."
        made = [modern.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id, "quantity": 2}]}).id for _n in range(12)]
        listed = modern.v1.subscriptions.list({"customer": customer.id, "limit": 5})
        assert [each.id for each in listed.auto_paging_iter()] == made[::-1]
        shown = modern.v1.subscriptions.retrieve(made[0], {"expand": ["customer"]})
        assert isinstance(shown.customer, stripe.Customer)
        (item,) = shown["items"].data
        assert item.current_period_end > item.current_period_start >= shown.start_date
        assert modern.v1.subscription_items.update(item.id, {"quantity": 3}).quantity == 3
        assert modern.v1.subscriptions.cancel(made[0]).status == "canceled"
        assert modern.v1.prices.list({"lookup_keys": ["none"]}).data == []
        metered, _item = _metered(legacy)
        seen = modern.v1.subscriptions.retrieve(metered)["items"].data[0]
        assert (seen.price.recurring.usage_type, seen.price.lookup_key, seen.metadata["meter"]) == ("metered", "api_calls", "api_calls")

    _run(tmp_path, work)


def test_meters_by_the_modern_client(tmp_path: Path) -> None:
    """The client's own methods make a meter and its price, send, refuse, cancel and read back usage."""

    def work(_: Sandbox, __: stripe.StripeClient, modern: stripe.StripeClient) -> None:
        billing = modern.v1.billing
        meter = billing.meters.create({"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}})
        assert billing.meters.update(meter.id, {"display_name": "API calls"}).display_name == "API calls"
        recurring: Any = {"interval": "month", "usage_type": "metered", "meter": meter.id}
        price = modern.v1.prices.create(
            {"currency": "usd", "unit_amount_decimal": Decimal("0.05"), "product_data": {"name": "Calls"}, "recurring": recurring}
        )
        customer = modern.v1.customers.create({"name": "Acme"})
        subscription = modern.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]})
        assert subscription["items"].data[0].price.recurring.meter == meter.id
        at = int(time.time()) // 60 * 60 - 60
        for identifier, value in (("w:1", "2.5"), ("w:2", "4")):
            sent = billing.meter_events.create(
                {
                    "event_name": "calls",
                    "identifier": identifier,
                    "timestamp": at,
                    "payload": {"stripe_customer_id": customer.id, "value": value},
                }
            )
            assert (sent.identifier, sent.payload["value"]) == (identifier, value)
        with pytest.raises(stripe.InvalidRequestError) as taken:
            billing.meter_events.create(
                {"event_name": "calls", "identifier": "w:1", "payload": {"stripe_customer_id": customer.id, "value": "2.5"}}
            )
        assert (taken.value.http_status, taken.value.code) == (400, None)
        assert taken.value.user_message == "An event already exists with identifier w:1."
        adjustment = billing.meter_event_adjustments.create({"event_name": "calls", "type": "cancel", "cancel": {"identifier": "w:2"}})
        assert adjustment.status == "complete"
        read = billing.meters.event_summaries.list(meter.id, {"customer": customer.id, "start_time": at, "end_time": at + 60})
        assert [each.aggregated_value for each in read.auto_paging_iter()] == [2.5]
        assert billing.meters.deactivate(meter.id).status == "inactive"
        assert [each.id for each in billing.meters.list({"status": "inactive"}).data] == [meter.id]
        assert billing.meters.reactivate(meter.id).status_transitions.deactivated_at is None

    _run(tmp_path, work)


async def test_the_async_client(tmp_path: Path) -> None:
    """The asynchronous raw request over aiohttp does the same as the blocking one."""
    async with sandbox_server(tmp_path) as sandbox:
        http = stripe.AIOHTTPClient(timeout=10)
        client = stripe.StripeClient(
            sandbox.key, stripe_version=LEGACY_VERSION, base_addresses={"api": sandbox.url}, max_network_retries=0, http_client=http
        )
        try:
            _, _, item = await sandbox.metered_item()
            at = int(time.time()) - 60
            url = f"/v1/subscription_items/{item}/usage_records"
            answer = await client.raw_request_async("post", url, quantity=5, timestamp=at, action="set", idempotency_key="k")
            assert (answer.code, answer.data["quantity"]) == (200, 5)
        finally:
            await http.close_async()  # type: ignore[no-untyped-call]
        assert await sandbox.cells(item) == {at: 5}
