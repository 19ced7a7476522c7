"""What leaves the sandbox: stored objects in the shape of the caller's API version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from infra.sandbox import subscriptions, versions
from infra.sandbox.periods import Period
from infra.sandbox.resources import Json


def price(body: Json, version: str) -> Json:
    """A price; from basil on, `recurring` has no `aggregate_usage`."""
    body = {name: value for name, value in body.items() if name != "tiers"}
    if body["recurring"] is None or not versions.is_basil(version):
        return body
    return {**body, "recurring": {name: value for name, value in body["recurring"].items() if name != "aggregate_usage"}}


def product(body: Json, version: str) -> Json:
    """A product; `features` was renamed to `marketing_features` (2024-04-10)."""
    gone = "features" if version[:10] >= "2024-04-10" else "marketing_features"
    return {name: value for name, value in body.items() if name != gone}


def item(body: Json, of_price: Json, period: Period, version: str) -> Json:
    """A subscription item with its whole price; from basil on it carries the period."""
    shaped = {name: value for name, value in body.items() if not name.startswith("_")}
    shaped["price"] = price(of_price, version)
    if versions.is_basil(version):
        shaped["current_period_start"] = period.start
        shaped["current_period_end"] = period.end
    return shaped


def subscription(body: Json, items: Sequence[Json], prices: Mapping[str, Json], version: str) -> Json:
    """A subscription with its items; before basil it carries the period, from basil on the items do."""
    period = subscriptions.current_period(body)
    shaped = {name: value for name, value in body.items() if not name.startswith("_")}
    shaped["cancel_at"] = body["_cancel_at"]
    shaped["canceled_at"] = body["_cancel_asked_at"]
    shaped["ended_at"] = body["_ended_at"]
    shaped["items"] = {
        "object": "list",
        "data": [item(each, prices[each["price"]], period, version) for each in items],
        "has_more": False,
        "total_count": len(items),
        "url": f"/v1/subscription_items?subscription={body['id']}",
    }
    if not versions.is_flexible(version):
        del shaped["billing_mode"]
    if not versions.is_basil(version):
        shaped["current_period_start"] = period.start
        shaped["current_period_end"] = period.end
    return shaped


def usage_record(object_id: str, item_id: str, second: int, quantity: int) -> Json:
    """The answer to a usage record: what was sent, not what the cell now holds."""
    return {
        "id": object_id,
        "object": "usage_record",
        "livemode": False,
        "quantity": quantity,
        "subscription_item": item_id,
        "timestamp": second,
    }


def summary_id(item_id: str, index: int) -> str:
    """The id of a period's summary: the same on every call, so that a page can begin after it."""
    return "sis_1" + hashlib.sha256(f"{item_id}/{index}".encode()).hexdigest()[:23]


def summary(item_id: str, period: Period, total_usage: int) -> Json:
    """One period's usage of one item; `invoice` stays null, as in the first summary of a list at Stripe."""
    return {
        "id": summary_id(item_id, period.index),
        "object": "usage_record_summary",
        "invoice": None,
        "livemode": False,
        "period": {"end": period.end, "start": period.start},
        "subscription_item": item_id,
        "total_usage": total_usage,
    }


def page(url: str, data: Sequence[Json], *, has_more: bool) -> Json:
    """A list envelope."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}
