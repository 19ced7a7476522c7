"""Handlers of subscription items, and what an update of a subscription does to them."""

from __future__ import annotations

from collections.abc import Sequence

from infra.sandbox import changes, cycle, errors, resources, shapes, standing, subscriptions, versions
from infra.sandbox.call import Call, Json, moment_of
from infra.sandbox.changes import Change
from infra.sandbox.ids import new_id
from infra.sandbox.paging import listed
from infra.sandbox.store import Store

LAST = "A subscription must have at least one active plan. To cancel it, use the subscription's own URL."


def put(store: Store, body: Json) -> None:
    """Writes an item."""
    store.put(body, parent=body["subscription"], ref=body["price"])


def running(body: Json) -> Json:
    """The subscription, unless it has ended."""
    if subscriptions.is_ended(body):
        message = "A canceled subscription can only update its cancellation_details and metadata."
        raise errors.refused(message, rule="subscriptions.canceled")
    return body


def refuse_legacy(call: Call, prices: Sequence[Json], *, flexible: bool) -> None:
    """From basil on, and in flexible billing mode, a metered price without a meter cannot be put on a subscription."""
    for of_price in prices:
        recurring = of_price["recurring"] or {}
        if recurring.get("usage_type") != "metered" or recurring.get("meter") is not None:
            continue
        if versions.is_basil(call.version):
            message = "Starting with Stripe version `2025-03-31.basil`, metered prices must be backed by meters."
            raise errors.refused(message, rule="version.metered_price", param="items")
        if flexible:
            message = "Subscriptions in flexible billing mode do not take legacy usage-based prices."
            raise errors.refused(message, rule="billing_mode.legacy", param="items")


def _shaped(call: Call, body: Json) -> Json:
    subscription = call.the("subscription", body["subscription"], param="subscription")
    of_price = call.the("price", body["price"], param="price")
    return shapes.item(body, of_price, subscriptions.current_period(subscription), call.version)


def change(call: Call, item: Json, params: Json, *, param: str = "") -> Change:
    """An item with another price, another quantity, or other plain fields."""
    of_price = call.the("price", item["price"], param="price")
    name = f"{param}[quantity]" if param else "quantity"
    new_price = of_price
    if "price" in params:
        new_price = call.the("price", params["price"], param=f"{param}[price]" if param else "price")
        if new_price["recurring"] is None:
            subscriptions.check_prices([new_price], currency=None)
    metered = cycle.is_metered(new_price)
    if "quantity" in params and metered:
        raise errors.refused("You cannot set the quantity for metered plans", rule="items.quantity", param=name)
    body = {**resources.changed(item, params, "billing_thresholds"), "price": new_price["id"]}
    if metered:
        body.pop("quantity", None)
    else:
        body["quantity"] = params.get("quantity", item.get("quantity", 1))
    if "_usage_from" in body and new_price["id"] != of_price["id"]:
        del body["_usage_from"]
    return Change((item, of_price), (body, new_price))


def deletion(call: Call, item: Json, *, clear_usage: bool, param: str = "clear_usage") -> Change:
    """An item taken off; a legacy metered one only with its usage."""
    of_price = call.the("price", item["price"], param="price")
    if cycle.is_metered(of_price) and of_price["recurring"]["meter"] is None and not clear_usage:
        message = (
            f"When deleting the subscription item {item['id']} with a metered plan, all related usage records must be cleared too "
            "by setting clear_usage=true."
        )
        raise errors.refused(message, rule="items.clear_usage", param=param)
    return Change((item, of_price), None)


def _apply(call: Call, subscription: Json, wanted: Change) -> None:
    """Makes one change, and the invoice at once that `always_invoice` asks for."""
    moment = moment_of(call, subscription["customer"])
    behavior = call.params.get("proration_behavior", "create_prorations")
    at = changes.proration_at(subscription, call.params, moment.now)
    resets = wanted.after is not None and _interval(wanted.after[1]) != subscription["_schedule"][2:4] and subscription["status"] != "trialing"
    credited = changes.apply(moment, subscription, [wanted], behavior=behavior, at=at, resets=resets)
    body = call.store.get("subscription", subscription["id"]) or subscription
    if resets:
        body = changes.anew(moment, body, trial_end=None, behavior=behavior, credited=credited)
    elif behavior == "always_invoice":
        body = changes.invoice_now(moment, body)
    standing.put(moment, body)


def _interval(price: Json) -> list[object]:
    return [price["recurring"]["interval"], price["recurring"]["interval_count"]]


def _others(call: Call, subscription_id: str, item_id: str | None) -> list[Json]:
    """The prices of a subscription's other items."""
    items = call.store.scan("subscription_item", parent=subscription_id, newest_first=False)
    return [call.the("price", each["price"], param="price") for each in list(items) if each["id"] != item_id]


def create_item(call: Call) -> Json:
    """POST /v1/subscription_items"""
    subscription = running(call.the("subscription", call.params["subscription"], param="subscription"))
    added = call.the("price", call.params["price"], param="price")
    subscriptions.check_prices([*_others(call, subscription["id"], None), added], currency=subscription["currency"])
    refuse_legacy(call, [added], flexible=subscriptions.is_flexible(subscription))
    now = moment_of(call, subscription["customer"]).now
    body = resources.item(new_id("si"), now, call.params, subscription["id"], added)
    _apply(call, subscription, Change(None, (body, added)))
    return _shaped(call, call.the("subscription_item", body["id"], param="id"))


def retrieve_item(call: Call) -> Json:
    """GET /v1/subscription_items/{id}"""
    return _shaped(call, call.addressed("subscription_item"))


def update_item(call: Call) -> Json:
    """POST /v1/subscription_items/{id}"""
    body = call.addressed("subscription_item")
    subscription = running(call.the("subscription", body["subscription"], param="subscription"))
    wanted = change(call, body, call.params)
    if wanted.after is not None and wanted.after[1]["id"] != body["price"]:
        subscriptions.check_prices([*_others(call, subscription["id"], body["id"]), wanted.after[1]], currency=subscription["currency"])
        refuse_legacy(call, [wanted.after[1]], flexible=subscriptions.is_flexible(subscription))
    _apply(call, subscription, wanted)
    return _shaped(call, call.the("subscription_item", body["id"], param="id"))


def delete_item(call: Call) -> Json:
    """DELETE /v1/subscription_items/{id}: a legacy metered item only with `clear_usage`, which destroys its usage"""
    body = call.addressed("subscription_item")
    subscription = running(call.the("subscription", body["subscription"], param="subscription"))
    if not _others(call, subscription["id"], body["id"]):
        raise errors.refused(LAST, rule="items.last")
    _apply(call, subscription, deletion(call, body, clear_usage=call.params.get("clear_usage", False)))
    return {"id": body["id"], "object": "subscription_item", "deleted": True}


def list_items(call: Call) -> Json:
    """GET /v1/subscription_items"""
    call.the("subscription", call.params["subscription"], param="subscription")
    return listed(call, "subscription_item", lambda body: _shaped(call, body), parent=call.params["subscription"], newest_first=False)
