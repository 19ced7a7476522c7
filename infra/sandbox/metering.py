"""Handlers of usage records and their summaries."""

from __future__ import annotations

from collections.abc import Iterator

from infra.sandbox import billed_usage, errors, invoice_bodies, shapes, subscriptions, usage
from infra.sandbox.call import Call, Json, now_of
from infra.sandbox.ids import new_id
from infra.sandbox.paging import cursor, cut
from infra.sandbox.periods import Period, Schedule


def _billed(call: Call, on_meter: str) -> tuple[Json, Json, Json]:
    """(item, recurring part of its price, subscription) of the item in the URL; a price on a meter is refused with `on_meter`."""
    item = call.addressed("subscription_item", "subscription_item")
    recurring = call.the("price", item["price"], param="price")["recurring"]
    if recurring["meter"] is not None:
        raise errors.refused(on_meter.format(item=item["id"]), rule="usage.on_meter", param="subscription_item")
    return item, recurring, call.the("subscription", item["subscription"], param="subscription")


def create_usage_record(call: Call) -> Json:
    """POST /v1/subscription_items/{id}/usage_records"""
    item, recurring, subscription = _billed(call, usage.ON_METER)
    names = {"item": item["id"], "subscription": subscription["id"]}
    if recurring["usage_type"] != "metered":
        raise errors.refused(usage.LICENSED.format(**names), rule="usage.licensed", param="subscription_item")
    now_s = now_of(call, subscription["customer"])
    if subscriptions.is_ended(subscription):
        raise errors.refused(usage.CANCELED.format(**names), rule="usage.canceled", param="subscription_item")
    action = call.params.get("action", "increment")
    if action == "set" and (item["billing_thresholds"] or subscription["billing_thresholds"]):
        raise errors.refused(usage.THRESHOLDS.format(**names), rule="usage.thresholds", param="action")
    second = call.params.get("timestamp")
    if second is None:
        second = int(now_s)
    period = subscriptions.current_period(subscription)
    refusal = usage.refusal(second, now_s=now_s, period=period, aggregate=recurring["aggregate_usage"], knobs=call.knobs)
    if refusal is not None:
        raise refusal
    quantity = call.params["quantity"]
    before = call.store.cell(item["id"], second)
    after = quantity if before is None or action == "set" else usage.incremented(before, quantity)
    call.store.set_cell(item["id"], second, after)
    if not usage.holds(period, second, call.knobs) and second <= period.start and _is_billed(call, subscription):
        billed_usage.carry(call.store, item["id"], period.start, after - (before or 0))
    return shapes.usage_record(new_id("mbur"), item["id"], second, quantity)


def _is_billed(call: Call, subscription: Json) -> bool:
    """Whether the invoice of the period before is final already: then late usage is billed in the current one."""
    invoice = call.store.get("invoice", subscription["_cycle_invoice"] or "")
    return invoice is None or invoice["status"] != invoice_bodies.DRAFT


def list_summaries(call: Call) -> Json:
    """GET /v1/subscription_items/{id}/usage_record_summaries: newest period first, periods without usage included"""
    item, recurring, subscription = _billed(call, usage.SUMMARIES_ON_METER)
    if recurring["usage_type"] != "metered":
        raise errors.refused(usage.LICENSED.format(item=item["id"]), rule="usage.licensed", param="subscription_item")
    schedule = subscriptions.schedule_of(subscription)
    newest = subscriptions.current_period(subscription).index
    oldest = schedule.at(item["created"]).index if item["created"] > subscription["created"] else 0
    at, backwards = cursor(call)
    start = None if at is None else _index_of(item["id"], at, oldest, newest)
    if at is not None and start is None:
        raise errors.no_such("usage_record_summary", at, param="ending_before" if backwards else "starting_after", in_url=False)
    page, has_more = cut(_walk(schedule, oldest, newest, start, backwards=backwards), call, backwards=backwards)
    aggregate = recurring["aggregate_usage"]
    data = [shapes.summary(item["id"], period, billed_usage.recorded(call.store, call.knobs, item, aggregate, period)) for period in page]
    return shapes.page(call.url, data, has_more=has_more)


def _walk(schedule: Schedule, oldest: int, newest: int, start: int | None, *, backwards: bool) -> Iterator[Period]:
    """Periods in the direction of reading: from the newest or from beyond `start` into the past, or backwards from it to the present."""
    past = range(newest if start is None else start - 1, oldest - 1, -1)
    present = range(newest + 1 if start is None else start + 1, newest + 1)
    return (schedule.period(index) for index in (present if backwards else past))


def _index_of(item_id: str, summary_id: str, oldest: int, newest: int) -> int | None:
    return next((index for index in range(newest, oldest - 1, -1) if shapes.summary_id(item_id, index) == summary_id), None)
