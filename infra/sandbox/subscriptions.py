"""Subscriptions: how one begins, which period and status it has at an instant, how it ends. Pure: the instant is an argument."""

from __future__ import annotations

from collections.abc import Sequence

from infra.sandbox import errors, periods
from infra.sandbox.knobs import Knobs
from infra.sandbox.periods import Period, Schedule
from infra.sandbox.resources import Json, merged_metadata


def check_prices(prices: Sequence[Json], *, currency: str | None) -> None:
    """All prices of a subscription recur, in one currency and one interval, each only once."""
    for of_price in prices:
        if of_price["recurring"] is None:
            message = "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
            raise errors.refused(message, rule="subscriptions.prices", param="items")
        if not of_price["active"]:
            raise errors.refused(f"The price specified is inactive: `{of_price['id']}`.", rule="subscriptions.prices", param="items")
    if len({of_price["id"] for of_price in prices}) < len(prices):
        raise errors.refused("Cannot add multiple subscription items with the same plan.", rule="subscriptions.prices", param="items")
    cycles = {(p["currency"], p["recurring"]["interval"], p["recurring"]["interval_count"]) for p in prices}
    if len(cycles) > 1 or (currency is not None and prices[0]["currency"] != currency.lower()):
        message = "Currency and interval fields must match across all plans on this subscription."
        raise errors.refused(message, rule="subscriptions.prices", param="items")


def opened(object_id: str, now: int, params: Json, prices: Sequence[Json], knobs: Knobs) -> Json:
    """A new subscription over already checked prices; `_schedule` is our own field and never leaves the sandbox."""
    recurring = prices[0]["recurring"]
    start = params.get("backdate_start_date")
    schedule = periods.opened(
        created=now,
        start=start,
        anchor=params.get("billing_cycle_anchor"),
        interval=recurring["interval"],
        count=recurring["interval_count"],
        backdated_usage=knobs.backdated_usage,
    )
    return {
        "id": object_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": schedule.anchor,
        "billing_cycle_anchor_config": None,
        "billing_thresholds": params.get("billing_thresholds"),
        "cancel_at_period_end": params.get("cancel_at_period_end", False),
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": prices[0]["currency"],
        "customer": params["customer"],
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": params.get("description"),
        "discount": None,
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "latest_invoice": None,
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now if start is None else start,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
        "_schedule": [schedule.first_start, schedule.anchor, schedule.interval, schedule.count, schedule.first_edge],
        "_cancel_asked_at": now if params.get("cancel_at_period_end") else None,
        "_cancel_at": schedule.at(now).end if params.get("cancel_at_period_end") else None,
        "_ended_at": None,
    }


def schedule_of(body: Json) -> Schedule:
    """The stored schedule."""
    first_start, anchor, interval, count, first_edge = body["_schedule"]
    return Schedule(first_start, anchor, interval, count, first_edge)


def ended_at(body: Json, now_s: float) -> int | None:
    """When it ended: canceled at once, or at a period's end that has passed; None while it runs."""
    if body["_ended_at"] is not None:
        return int(body["_ended_at"])
    cancel_at = body["_cancel_at"]
    return int(cancel_at) if cancel_at is not None and now_s >= cancel_at else None


def status(body: Json, now_s: float) -> str:
    """`active` or `canceled`: the sandbox takes every payment, so no other status arises yet."""
    return "active" if ended_at(body, now_s) is None else "canceled"


def current_period(body: Json, now_s: float) -> Period:
    """The period at an instant; of an ended subscription the one in which it ended."""
    schedule = schedule_of(body)
    end = ended_at(body, now_s)
    return schedule.at(now_s if end is None else end - 1)


def updated(body: Json, params: Json, now: int) -> Json:
    """After an update that concerns its end: asking for it fixes the current period's end, taking it back forgets it."""
    if "cancel_at_period_end" not in params:
        return body
    wanted = params["cancel_at_period_end"]
    if wanted == body["cancel_at_period_end"]:
        return body
    cancel_at = current_period(body, now).end if wanted else None
    return {**body, "cancel_at_period_end": wanted, "_cancel_at": cancel_at, "_cancel_asked_at": now if wanted else None}


def canceled(body: Json, now: int) -> Json:
    """After an immediate cancellation."""
    details = {**body["cancellation_details"], "reason": "cancellation_requested"}
    return {**body, "_ended_at": now, "_cancel_asked_at": now, "cancellation_details": details}
