"""Stripe's official Python client bills a month on the sandbox: the modern client, and one pinned to the last version with usage records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import stripe

from infra.sandbox.testing import Sandbox
from tests.contract.billing_bench import DAY, FEB_29, HOUR, START
from tests.contract.test_sandbox_stripe_client import _run


def _advance(client: stripe.StripeClient, clock: str, to: int) -> None:
    """Advances a clock as callers do: asks until it is ready."""
    moving = client.v1.test_helpers.test_clocks.advance(clock, {"frozen_time": to})
    assert moving.status == "advancing"
    while client.v1.test_helpers.test_clocks.retrieve(clock).status != "ready":
        pass


def _month(legacy: stripe.StripeClient, modern: stripe.StripeClient) -> list[int]:
    """The totals of the month's two invoices: of the meter's subscription, and of the legacy one."""
    clock = modern.v1.test_helpers.test_clocks.create({"frozen_time": START, "name": "a month"})
    customer = modern.v1.customers.create({"name": "acme", "test_clock": clock.id})
    meter = modern.v1.billing.meters.create({"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}})
    recurring: Any = {"interval": "month", "usage_type": "metered", "meter": meter.id}
    tiers: Any = [{"up_to": 100, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": "0.1"}]
    price = modern.v1.prices.create(
        {
            "currency": "usd", "product_data": {"name": "Calls"}, "recurring": recurring,
            "billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers, "expand": ["tiers"],
        }
    )  # fmt: skip
    assert price.tiers is not None
    assert price.tiers[1].up_to is None
    subscription = modern.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]})
    assert (subscription.status, subscription.latest_invoice) == ("active", None)
    old_price = legacy.raw_request(
        "post", "/v1/prices", currency="usd", unit_amount=2, product_data={"name": "old"},
        recurring={"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"},
    ).data  # fmt: skip
    old = legacy.raw_request("post", "/v1/subscriptions", customer=customer.id, items=[{"price": old_price["id"]}]).data
    _advance(modern, clock.id, START + DAY)
    modern.v1.billing.meter_events.create(
        {"event_name": "calls", "timestamp": START + 60, "payload": {"stripe_customer_id": customer.id, "value": "150"}}
    )
    item = old["items"]["data"][0]["id"]
    legacy.raw_request("post", f"/v1/subscription_items/{item}/usage_records", quantity=7, timestamp=START + 60, action="set")
    preview = modern.v1.invoices.create_preview({"subscription": subscription.id})
    assert (preview.total, [line.quantity for line in preview.lines.data]) == (5, [100, 50])
    upcoming = legacy.raw_request("get", "/v1/invoices/upcoming", subscription=old["id"]).data
    assert upcoming["total"] == 14
    _advance(modern, clock.id, FEB_29 + 60)
    _hold_and_release(modern, clock.id, subscription.id)
    paid = modern.v1.invoices.list({"subscription": subscription.id}).data[0]
    assert (paid.status, paid.total, paid.billing_reason) == ("paid", 5, "subscription_cycle")
    lines = list(modern.v1.invoices.line_items.list(paid.id).auto_paging_iter())
    assert [line.parent.subscription_item_details.subscription_item for line in lines] == [subscription["items"].data[0].id] * 2  # type: ignore[union-attr]
    seen = legacy.raw_request("get", "/v1/invoices", subscription=old["id"]).data["data"][0]
    assert (seen["lines"]["data"][0]["quantity"], seen["total"], seen["paid"]) == (7, 14, True)
    _correct(modern, customer.id, paid.id)
    modern.v1.test_helpers.test_clocks.delete(clock.id)
    assert modern.v1.invoices.list({"customer": customer.id}).data == []
    return [paid.total, seen["total"]]


def _hold_and_release(modern: stripe.StripeClient, clock: str, subscription: str) -> None:
    """What the invoice gate does."""
    draft = modern.v1.invoices.list({"subscription": subscription, "status": "draft"}).data[0]
    assert modern.v1.invoices.update(draft.id, {"auto_advance": False}).automatically_finalizes_at is None
    _advance(modern, clock, FEB_29 + 2 * HOUR)
    assert modern.v1.invoices.retrieve(draft.id).status == "draft"
    modern.v1.invoices.update(draft.id, {"auto_advance": True})


def _correct(modern: stripe.StripeClient, customer: str, invoice: str) -> None:
    """What adjustments do: an invoice item for the next invoice, a credit note on the last one."""
    item = modern.v1.invoice_items.create({"customer": customer, "amount": 40, "currency": "usd", "description": "late usage"})
    assert modern.v1.invoice_items.list({"customer": customer, "pending": True}).data[0].id == item.id
    assert modern.v1.invoice_items.delete(item.id).deleted
    previewed = modern.v1.credit_notes.preview({"invoice": invoice, "amount": 3, "credit_amount": 3})
    note = modern.v1.credit_notes.create({"invoice": invoice, "amount": 3, "credit_amount": 3})
    assert (previewed.amount, note.amount, note.status) == (3, 3, "issued")
    assert modern.v1.customers.retrieve(customer).balance == -3


def test_a_month_by_the_official_client(tmp_path: Path) -> None:
    """A clock, a legacy and a meter subscription, usage of both, previews, the gate, paid invoices and corrections, by the client's own methods."""
    totals: list[int] = []

    def work(_: Sandbox, legacy: stripe.StripeClient, modern: stripe.StripeClient) -> None:
        totals.extend(_month(legacy, modern))

    _run(tmp_path, work)
    assert totals == [5, 14]
