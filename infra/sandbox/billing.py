"""Handlers of subscriptions."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from infra.sandbox import (
    beginning,
    changes,
    cycle,
    errors,
    invoice_bodies,
    resources,
    snapshots,
    standing,
    subscription_items,
    subscriptions,
    test_clocks,
    versions,
)
from infra.sandbox.call import Call, Json, moment_of
from infra.sandbox.changes import Change
from infra.sandbox.ids import new_id
from infra.sandbox.moment import Moment
from infra.sandbox.paging import listed


def shaped(call: Call, body: Json) -> Json:
    """A subscription as the caller's version shows it."""
    return snapshots.subscription(moment_of(call, body["customer"]), body, call.version)


def _checked(call: Call, prices: Sequence[Json]) -> Json:
    """The parameters of a creation, with the billing mode that holds without one."""
    params = call.params
    if "billing_mode" in params and not versions.is_flexible(call.version):
        raise errors.unknown_parameters(["billing_mode"])
    if "billing_mode" not in params and versions.is_clover(call.version):
        params = {**params, "billing_mode": {"type": "flexible"}}
    subscriptions.check_prices(prices, currency=params.get("currency"))
    subscription_items.refuse_legacy(call, prices, flexible=params.get("billing_mode", {}).get("type") == "flexible")
    return params


def create_subscription(call: Call) -> Json:
    """POST /v1/subscriptions"""
    customer = call.the("customer", call.params["customer"], param="customer")
    items = call.params["items"]
    if not items:
        raise errors.missing("items")
    prices = [call.the("price", each["price"], param=f"items[{n}][price]") for n, each in enumerate(items)]
    params = _checked(call, prices)
    moment = moment_of(call, customer["id"])
    _refuse_more_on_clock(call, customer)
    body = {**subscriptions.opened(new_id("sub"), moment.now, params, prices, call.knobs), "test_clock": customer["test_clock"]}
    call.store.put(body, parent=customer["id"])
    for each, of_price in zip(items, prices, strict=True):
        subscription_items.put(call.store, resources.item(new_id("si"), moment.now, each, body["id"], of_price))
    return shaped(call, beginning.begin(moment, body, params))


def _refuse_more_on_clock(call: Call, customer: Json) -> None:
    if customer["test_clock"] is None:
        return
    call.the(test_clocks.KIND, customer["test_clock"], param="customer")
    standing_now = sum(not subscriptions.is_ended(each) for each in call.store.scan("subscription", parent=customer["id"]))
    if standing_now >= call.knobs.clock_subscriptions:
        message = f"A customer on a test clock can have at most {call.knobs.clock_subscriptions} subscriptions."
        raise errors.refused(message, rule="clocks.subscriptions", param="customer")


def retrieve_subscription(call: Call) -> Json:
    """GET /v1/subscriptions/{id}"""
    return shaped(call, call.addressed("subscription"))


_PLAIN = (
    "billing_thresholds",
    "collection_method",
    "days_until_due",
    "default_payment_method",
    "description",
    "trial_settings",
    "metadata",
)
"""Parameters of an update that only write themselves down."""


def update_subscription(call: Call) -> Json:
    """POST /v1/subscriptions/{id}"""
    params, body = call.params, call.addressed("subscription")
    if set(params) - {"metadata", "expand"}:
        subscription_items.running(body)
    moment = moment_of(call, body["customer"])
    body = resources.changed(body, params, *(name for name in _PLAIN if name != "metadata"))
    if "pause_collection" in params:
        pause = params["pause_collection"]
        body["pause_collection"] = None if pause is None else {"behavior": pause["behavior"], "resumes_at": pause.get("resumes_at")}
    body = standing.put(moment, subscriptions.updated(body, params, moment.now), None)
    if {"items", "trial_end", "billing_cycle_anchor"} & set(params):
        body = _changed(call, moment, body)
    return shaped(call, standing.put(moment, body))


def _changed(call: Call, moment: Moment, body: Json) -> Json:
    """The subscription after a change of its items, its trial or its cycle."""
    params = call.params
    behavior = params.get("proration_behavior", "create_prorations")
    wanted = [_change(call, body, each, n) for n, each in enumerate(params.get("items", []))]
    _check_together(call, body, wanted)
    resets = _resets(body, params, wanted)
    at = changes.proration_at(body, params, moment.now)
    credited = changes.apply(moment, body, wanted, behavior=behavior, at=at, resets=resets)
    body = call.store.get("subscription", body["id"]) or body
    if resets:
        trial_end = params.get("trial_end")
        if trial_end is not None:
            trial_end = subscriptions.trial_end_of({"trial_end": trial_end}, moment.now)
        return changes.anew(moment, body, trial_end=trial_end, behavior=behavior, credited=credited)
    return changes.invoice_now(moment, body) if behavior == "always_invoice" else body


def _resets(body: Json, params: Json, wanted: Sequence[Change]) -> bool:
    """Whether the cycle begins anew: asked for, by a trial that begins or ends now, or by a price with another interval."""
    if params.get("billing_cycle_anchor") == "now":
        return True
    if "trial_end" in params:
        return params["trial_end"] is not None or body["status"] == "trialing"
    cycle_now = body["_schedule"][2:4]
    new = [each.after[1]["recurring"] for each in wanted if each.after is not None]
    return any([recurring["interval"], recurring["interval_count"]] != cycle_now for recurring in new) and body["status"] != "trialing"


def _change(call: Call, body: Json, each: Json, n: int) -> Change:
    """One entry of `items`: with an id a changed or deleted item, without one a new item."""
    if "id" not in each:
        if "price" not in each:
            raise errors.missing(f"items[{n}][price]")
        of_price = call.the("price", each["price"], param=f"items[{n}][price]")
        now = moment_of(call, body["customer"]).now
        return Change(None, (resources.item(new_id("si"), now, each, body["id"], of_price), of_price))
    item = call.the("subscription_item", each["id"], param=f"items[{n}][id]")
    if item["subscription"] != body["id"]:
        raise errors.no_such("subscription_item", each["id"], param=f"items[{n}][id]", in_url=False)
    if each.get("deleted"):
        return subscription_items.deletion(call, item, clear_usage=each.get("clear_usage", False), param=f"items[{n}][clear_usage]")
    return subscription_items.change(call, item, each, param=f"items[{n}]")


def _check_together(call: Call, body: Json, wanted: Sequence[Change]) -> None:
    """What remains is one interval, one currency, each price once, and at least one item."""
    touched = {each.before[0]["id"] for each in wanted if each.before is not None}
    kept = [price for item, price in cycle.priced_items(moment_of(call, body["customer"]), body) if item["id"] not in touched]
    after = [each.after[1] for each in wanted if each.after is not None]
    if not kept and not after:
        raise errors.refused(subscription_items.LAST, rule="items.last")
    subscriptions.check_prices([*kept, *after], currency=body["currency"])
    added = [each.after[1] for each in wanted if each.after is not None and (each.before is None or each.before[1]["id"] != each.after[1]["id"])]
    subscription_items.refuse_legacy(call, added, flexible=subscriptions.is_flexible(body))


def cancel_subscription(call: Call) -> Json:
    """DELETE /v1/subscriptions/{id}: at once; a subscription that already ended is gone for this URL"""
    body = call.addressed("subscription")
    if subscriptions.is_ended(body):
        raise errors.no_such("subscription", body["id"], param="id", in_url=True)
    moment = moment_of(call, body["customer"])
    if "cancellation_details" in call.params:
        body["cancellation_details"] = {**body["cancellation_details"], **call.params["cancellation_details"]}
    ended = cycle.cancel(moment, body, invoice_now=call.params.get("invoice_now", False), prorate=call.params.get("prorate", False))
    return shaped(call, ended)


def resume_subscription(call: Call) -> Json:
    """POST /v1/subscriptions/{id}/resume: of a subscription that paused when its trial ended"""
    body = call.addressed("subscription")
    if body["status"] != "paused":
        message = f"You can only resume subscriptions with the status `paused`; this one is `{body['status']}`."
        raise errors.refused(message, rule="subscriptions.resume")
    moment = moment_of(call, body["customer"])
    body = changes.anew(moment, {**body, "_resuming": True}, trial_end=None, behavior=call.params.get("proration_behavior", "create_prorations"))
    invoice = call.store.get("invoice", body["latest_invoice"] or "")
    if body["status"] == "paused" and (invoice is None or invoice["status"] != invoice_bodies.OPEN):
        body = standing.put(moment, {**body, "status": "active", "_resuming": False}, "resumed")
    return shaped(call, body)


def migrate_subscription(call: Call) -> Json:
    """POST /v1/subscriptions/{id}/migrate: to flexible billing mode, and never back"""
    body = subscription_items.running(call.addressed("subscription"))
    moment = moment_of(call, body["customer"])
    prices = [price for _, price in cycle.priced_items(moment, body)]
    subscription_items.refuse_legacy(call, prices, flexible=True)
    return shaped(call, standing.put(moment, {**body, "billing_mode": {"type": "flexible", "updated_at": moment.now}}))


def list_subscriptions(call: Call) -> Json:
    """GET /v1/subscriptions: without `status` all that are not canceled; those on a test clock only if it or the customer is named"""
    status, price_id, clock_id = call.params.get("status"), call.params.get("price"), call.params.get("test_clock")
    unclocked = clock_id is None and "customer" not in call.params
    ends = call.params.get("current_period_end", {})
    bounds = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}

    def keep(body: Json) -> bool:
        if body["test_clock"] != clock_id and (clock_id is not None or unclocked):
            return False
        has = body["status"]
        if status is None:
            matches = has not in standing.ENDED
        else:
            matches = status == "all" or (has in standing.ENDED if status == "ended" else has == status)
        if not all(bounds[name](subscriptions.current_period(body).end, at) for name, at in ends.items()):
            return False
        return matches and (price_id is None or any(True for _ in call.store.scan("subscription_item", parent=body["id"], ref=price_id)))

    return listed(call, "subscription", lambda body: shaped(call, body), parent=call.params.get("customer"), keep=keep)
