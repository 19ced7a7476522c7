"""Handlers of subscriptions and their items."""

from __future__ import annotations

from collections.abc import Sequence

from infra.sandbox import errors, resources, shapes, subscriptions, versions
from infra.sandbox.call import Call, Json, new_id, now_of
from infra.sandbox.paging import listed


def _items(call: Call, subscription_id: str) -> list[Json]:
    return list(call.store.scan("subscription_item", parent=subscription_id, newest_first=False))


def _now_s(call: Call, body: Json) -> float:
    """The instant for a subscription: that of its customer."""
    return now_of(call, body["customer"])


def _shaped(call: Call, body: Json) -> Json:
    items = _items(call, body["id"])
    prices = {each["price"]: call.the("price", each["price"], param="price") for each in items}
    return shapes.subscription(body, items, prices, _now_s(call, body), call.version)


def _shaped_item(call: Call, body: Json) -> Json:
    subscription = call.the("subscription", body["subscription"], param="subscription")
    of_price = call.the("price", body["price"], param="price")
    return shapes.item(body, of_price, subscriptions.current_period(subscription, _now_s(call, subscription)), call.version)


def _put(call: Call, body: Json) -> None:
    call.store.put(body, parent=body["customer"])


def _put_item(call: Call, body: Json) -> None:
    call.store.put(body, parent=body["subscription"], ref=body["price"])


def _refuse_legacy(call: Call, prices: Sequence[Json]) -> None:
    """From basil on, a metered price without a meter cannot be put on a subscription."""
    for of_price in prices:
        recurring = of_price["recurring"] or {}
        if versions.is_basil(call.version) and recurring.get("usage_type") == "metered" and recurring.get("meter") is None:
            message = "Starting with Stripe version `2025-03-31.basil`, metered prices must be backed by meters."
            raise errors.refused(message, rule="version.metered_price", param="items")


# ── subscriptions ────────────────────────────────────────────────────────────────────────────────────────────────────
def create_subscription(call: Call) -> Json:
    """POST /v1/subscriptions"""
    params = call.params
    customer = call.the("customer", params["customer"], param="customer")
    now = int(now_of(call, customer["id"]))
    if not params["items"]:
        raise errors.missing("items")
    prices = [call.the("price", each["price"], param=f"items[{n}][price]") for n, each in enumerate(params["items"])]
    subscriptions.check_prices(prices, currency=params.get("currency"))
    _refuse_legacy(call, prices)
    body = subscriptions.opened(new_id("sub"), now, params, prices, call.knobs)
    body["test_clock"] = customer["test_clock"]
    _put(call, body)
    for each, of_price in zip(params["items"], prices, strict=True):
        _put_item(call, resources.item(new_id("si"), now, each, body["id"], of_price))
    return _shaped(call, body)


def retrieve_subscription(call: Call) -> Json:
    """GET /v1/subscriptions/{id}"""
    return _shaped(call, call.addressed("subscription"))


def _running(call: Call, body: Json) -> Json:
    if subscriptions.ended_at(body, _now_s(call, body)) is not None:
        message = "A canceled subscription can only update its cancellation_details and metadata."
        raise errors.refused(message, rule="subscriptions.canceled")
    return body


def update_subscription(call: Call) -> Json:
    """POST /v1/subscriptions/{id}"""
    body = call.addressed("subscription")
    if set(call.params) - {"metadata", "expand"}:
        _running(call, body)
    body = resources.changed(body, call.params, "billing_thresholds", "collection_method", "days_until_due", "description")
    body = subscriptions.updated(body, call.params, int(_now_s(call, body)))
    _put(call, body)
    return _shaped(call, body)


def cancel_subscription(call: Call) -> Json:
    """DELETE /v1/subscriptions/{id}: at once; a subscription that already ended is gone for this URL"""
    body = call.addressed("subscription")
    if subscriptions.ended_at(body, _now_s(call, body)) is not None:
        raise errors.no_such("subscription", body["id"], param="id", in_url=True)
    body = subscriptions.canceled(body, int(_now_s(call, body)))
    _put(call, body)
    return _shaped(call, body)


def list_subscriptions(call: Call) -> Json:
    """GET /v1/subscriptions: without `status` all that are not canceled"""
    status, price_id, clock_id = call.params.get("status"), call.params.get("price"), call.params.get("test_clock")
    unclocked = clock_id is None and "customer" not in call.params

    def keep(body: Json) -> bool:
        if body["test_clock"] != clock_id and (clock_id is not None or unclocked):
            return False
        has = subscriptions.status(body, _now_s(call, body))
        if status is None:
            matches = has != "canceled"
        else:
            matches = status == "all" or has == ("canceled" if status == "ended" else status)
        return matches and (price_id is None or any(True for _ in call.store.scan("subscription_item", parent=body["id"], ref=price_id)))

    return listed(call, "subscription", lambda body: _shaped(call, body), parent=call.params.get("customer"), keep=keep)


# ── items ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def create_item(call: Call) -> Json:
    """POST /v1/subscription_items"""
    subscription = _running(call, call.the("subscription", call.params["subscription"], param="subscription"))
    added = call.the("price", call.params["price"], param="price")
    standing = [call.the("price", each["price"], param="price") for each in _items(call, subscription["id"])]
    subscriptions.check_prices([*standing, added], currency=subscription["currency"])
    _refuse_legacy(call, [added])
    body = resources.item(new_id("si"), int(_now_s(call, subscription)), call.params, subscription["id"], added)
    _put_item(call, body)
    return _shaped_item(call, body)


def retrieve_item(call: Call) -> Json:
    """GET /v1/subscription_items/{id}"""
    return _shaped_item(call, call.addressed("subscription_item"))


def update_item(call: Call) -> Json:
    """POST /v1/subscription_items/{id}"""
    body = call.addressed("subscription_item")
    _running(call, call.the("subscription", body["subscription"], param="subscription"))
    if "quantity" in call.params and "quantity" not in body:
        raise errors.refused("You cannot set the quantity for metered plans", rule="items.quantity", param="quantity")
    body = resources.changed(body, call.params, "quantity", "billing_thresholds")
    _put_item(call, body)
    return _shaped_item(call, body)


def delete_item(call: Call) -> Json:
    """DELETE /v1/subscription_items/{id}: a metered item with usage only with `clear_usage`, which destroys the usage"""
    body = call.addressed("subscription_item")
    _running(call, call.the("subscription", body["subscription"], param="subscription"))
    if len(_items(call, body["subscription"])) == 1:
        message = "A subscription must have at least one active plan. To cancel it, use the subscription's own URL."
        raise errors.refused(message, rule="items.last")
    legacy = "quantity" not in body and call.the("price", body["price"], param="price")["recurring"]["meter"] is None
    if legacy and not call.params.get("clear_usage", False):
        message = (
            f"When deleting the subscription item {body['id']} with a metered plan, all related usage records must be cleared too "
            "by setting clear_usage=true."
        )
        raise errors.refused(message, rule="items.clear_usage", param="clear_usage")
    call.store.clear_cells(body["id"])
    call.store.delete(body["id"])
    return {"id": body["id"], "object": "subscription_item", "deleted": True}


def list_items(call: Call) -> Json:
    """GET /v1/subscription_items"""
    call.the("subscription", call.params["subscription"], param="subscription")
    return listed(call, "subscription_item", lambda body: _shaped_item(call, body), parent=call.params["subscription"], newest_first=False)
