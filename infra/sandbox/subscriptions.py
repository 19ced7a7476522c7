"""Subscriptions: how one begins, in which period it is, what time does to it next, how it ends. Pure: the instant is an argument.

Sources: https://docs.stripe.com/billing/subscriptions/overview and https://docs.stripe.com/billing/subscriptions/trials
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from infra.sandbox import errors, periods
from infra.sandbox.knobs import Knobs
from infra.sandbox.periods import Period, Schedule
from infra.sandbox.resources import Json, merged_metadata

Thing = Literal["trial_notice", "upcoming", "collect", "expire", "cancel", "edge"]
"""What time does to a subscription; of two things at one instant the earlier named one comes first."""
_ORDER: tuple[Thing, ...] = ("trial_notice", "upcoming", "collect", "expire", "cancel", "edge")
TRIAL_NOTICE_S = 3 * 86_400
"""customer.subscription.trial_will_end comes three days before the end, or at once in a shorter trial (Stripe's event reference)."""
INCOMPLETE_S = 23 * 3600
"""How long the first payment may still be made (Stripe's subscription statuses)."""
TRIAL_LONGEST_DAYS = 730


class Due(NamedTuple):
    """The next thing, and when."""

    at_s: float
    thing: Thing


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


def trial_end_of(params: Json, now: int) -> int | None:
    """The end of the trial that the parameters ask for; None without one."""
    if "trial_period_days" in params and "trial_end" in params:
        raise errors.refused("You may only specify one of these parameters: trial_end, trial_period_days.", rule="trials.params", param="trial_end")
    days = params.get("trial_period_days")
    end = now + days * periods.DAY_S if days else params.get("trial_end")
    if end is None:
        return None
    if not now < end <= now + TRIAL_LONGEST_DAYS * periods.DAY_S:
        message = "Invalid timestamp: `trial_end` must be in the future, at most two years ahead."
        raise errors.refused(message, rule="trials.end", param="trial_end")
    return int(end)


def opened(object_id: str, now: int, params: Json, prices: Sequence[Json], knobs: Knobs) -> Json:
    """A new subscription over already checked prices; fields that begin with `_` are our own and never leave the sandbox."""
    recurring = prices[0]["recurring"]
    start, trial_end = params.get("backdate_start_date"), trial_end_of(params, now)
    if trial_end is not None and (start is not None or "billing_cycle_anchor" in params):
        message = "The sandbox does not combine a trial with `backdate_start_date` or `billing_cycle_anchor`."
        raise errors.refused(message, rule="trials.anchor", param="trial_end")
    if trial_end is not None:
        schedule = Schedule(now, trial_end, recurring["interval"], recurring["interval_count"], 0)
    else:
        schedule = periods.opened(
            created=now,
            start=start,
            anchor=params.get("billing_cycle_anchor"),
            interval=recurring["interval"],
            count=recurring["interval_count"],
            backdated_usage=knobs.backdated_usage,
        )
    first_end = schedule.period(0).end
    return {
        "id": object_id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": schedule.anchor,
        "billing_cycle_anchor_config": None,
        "billing_thresholds": params.get("billing_thresholds"),
        "billing_mode": {"type": params.get("billing_mode", {}).get("type", "classic"), "updated_at": None},
        "cancel_at_period_end": params.get("cancel_at_period_end", False),
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": prices[0]["currency"],
        "customer": params["customer"],
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": params.get("default_payment_method"),
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
        "status": "incomplete" if trial_end is None else "trialing",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": trial_end,
        "trial_settings": params.get("trial_settings") or {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None if trial_end is None else now,
        **scheduled(schedule, 0),
        "_cancel_asked_at": now if params.get("cancel_at_period_end") or params.get("cancel_at") else None,
        "_cancel_at": first_end if params.get("cancel_at_period_end") else params.get("cancel_at"),
        "_ended_at": None,
        "_told": [],
        "_announced": False,
        "_resuming": False,
        "_cycle_invoice": None,
    }


def scheduled(schedule: Schedule, period: int) -> Json:
    """The fields that hold a schedule, and the index of the current period."""
    stored = [schedule.first_start, schedule.anchor, schedule.interval, schedule.count, schedule.first_edge]
    return {"_schedule": stored, "_past": [list(each) for each in schedule.past], "_period": period}


def schedule_of(body: Json) -> Schedule:
    """The stored schedule."""
    first_start, anchor, interval, count, first_edge = body["_schedule"]
    return Schedule(first_start, anchor, interval, count, first_edge, tuple((start, end) for start, end in body["_past"]))


def current_period(body: Json) -> Period:
    """The period that it is in; of an ended subscription the one in which it ended."""
    return schedule_of(body).period(body["_period"])


def is_ended(body: Json) -> bool:
    """Whether it is over for good."""
    return body["_ended_at"] is not None


def is_flexible(body: Json) -> bool:
    """Whether it is in flexible billing mode."""
    return bool(body["billing_mode"]["type"] == "flexible")


def next_due(body: Json, now: float, knobs: Knobs) -> Due | None:
    """What time does to it next; at `now` where it was due before."""
    found = _instants(body, knobs)
    if not found:
        return None
    first = min(found, key=lambda each: (max(each.at_s, now), _ORDER.index(each.thing)))
    return Due(max(first.at_s, now), first.thing)


def _instants(body: Json, knobs: Knobs) -> list[Due]:
    if is_ended(body):
        return []
    if body["status"] == "incomplete":
        return [Due(body["created"] + INCOMPLETE_S, "expire")]
    period = current_period(body)
    found = []
    if body["_cancel_at"] is not None and (body["status"] == "paused" or body["_cancel_at"] <= period.end):
        found.append(Due(body["_cancel_at"], "cancel"))
    if body["status"] == "paused":
        return found
    found.append(Due(period.end, "edge"))
    pause = body["pause_collection"]
    if pause is not None and pause["resumes_at"] is not None:
        found.append(Due(pause["resumes_at"], "collect"))
    if body["status"] == "trialing" and f"trial {body['trial_end']}" not in body["_told"]:
        found.append(Due(body["trial_end"] - TRIAL_NOTICE_S, "trial_notice"))
    notice_at = period.end - knobs.upcoming_s
    if knobs.upcoming_s and notice_at > period.start and f"upcoming {period.end}" not in body["_told"] and body["_cancel_at"] != period.end:
        found.append(Due(notice_at, "upcoming"))
    return found


def told(body: Json, what: str) -> Json:
    """The subscription after a notice was sent; older notices are forgotten."""
    return {**body, "_told": [*body["_told"][-3:], what]}


def updated(body: Json, params: Json, now: int) -> Json:
    """After an update that concerns its end: `cancel_at_period_end` fixes the current period's end, `cancel_at` an instant; each can be
    taken back."""
    cancel_at, at_end = body["_cancel_at"], body["cancel_at_period_end"]
    if "cancel_at" in params and params["cancel_at"] is not None and params["cancel_at"] <= now:
        raise errors.refused("`cancel_at` must be in the future.", rule="subscriptions.cancel_at", param="cancel_at")
    if "cancel_at" in params:
        cancel_at, at_end = params["cancel_at"], False
    wanted = params.get("cancel_at_period_end", at_end)
    if wanted != at_end:
        cancel_at, at_end = (current_period(body).end if wanted else None), wanted
    if cancel_at == body["_cancel_at"]:
        return body
    asked = None if cancel_at is None else now
    return {**body, "cancel_at_period_end": at_end, "_cancel_at": cancel_at, "_cancel_asked_at": asked}


def canceled(body: Json, now: int, *, reason: str = "cancellation_requested", status: str = "canceled") -> Json:
    """After its end; a cancellation that was asked for before keeps the instant at which it was asked for."""
    details = {**body["cancellation_details"], "reason": reason}
    asked = body["_cancel_asked_at"] or now
    return {**body, "status": status, "_ended_at": now, "_cancel_asked_at": asked, "cancellation_details": details}
