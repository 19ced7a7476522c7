"""Objects as events show them: whole, in the shape of the account's default API version."""

from __future__ import annotations

from infra.sandbox import shapes, shapes_invoices
from infra.sandbox.moment import Moment
from infra.sandbox.resources import Json


def subscription(moment: Moment, body: Json, version: str | None = None) -> Json:
    """A subscription with its items and their prices."""
    items = list(moment.store.scan("subscription_item", parent=body["id"], newest_first=False))
    prices = {each["price"]: moment.store.get("price", each["price"]) or {} for each in items}
    return shapes.subscription(body, items, prices, version or moment.knobs.default_version)


def invoice(moment: Moment, body: Json, version: str | None = None) -> Json:
    """An invoice with its first lines."""
    return shapes_invoices.invoice(body, shapes_invoices.lines(moment.store, moment.knobs, body), version or moment.knobs.default_version)
