"""Changes in the middle of a period: another price, another quantity, an item more or less, a new cycle.

What is paid in advance is prorated by the second. What goes by usage is not: in classic billing mode usage from before a change of price is
billed by nobody, in flexible mode an invoice item bills what was reported by then.
Sources: https://docs.stripe.com/billing/subscriptions/prorations, https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.sandbox import billed_usage, cycle, errors, invoicing, prorations, standing, subscriptions
from infra.sandbox.invoice_lines import Line
from infra.sandbox.moment import Moment
from infra.sandbox.periods import Period
from infra.sandbox.resources import Json


@dataclass(frozen=True, slots=True)
class Change:
    """One item before and after, each with its price; None is an item that is not there."""

    before: tuple[Json, Json] | None
    after: tuple[Json, Json] | None


def proration_at(body: Json, params: Json, now: int) -> int:
    """The second that prorations go by: now, or `proration_date` within the current period."""
    at = int(params.get("proration_date", now))
    period = subscriptions.current_period(body)
    if "proration_date" in params and not period.start <= at < period.end:
        message = "The `proration_date` must be within the current billing period."
        raise errors.refused(message, rule="prorations.date", param="proration_date")
    return at


def apply(moment: Moment, body: Json, changes: Sequence[Change], *, behavior: str, at: int, resets: bool = False) -> set[str]:
    """Makes the changes; the ids of licensed items whose old quantity was credited. With `resets` a new cycle charges for what is new."""
    whole = subscriptions.current_period(body)
    part = Period(whole.index, at, whole.end)
    prorates = behavior != "none" and body["status"] in {"active", "past_due"}
    credited = set()
    for change in changes:
        before, after = change.before, change.after
        if before is not None and _paid_differently(change):
            if cycle.is_metered(before[1]):
                _leave_usage(moment, body, before, at, bills=behavior != "none" and subscriptions.is_flexible(body))
            elif prorates:
                prorations.add_licensed(moment, body, *before, -1, part, whole)
                credited.add(before[0]["id"])
        if after is not None:
            _put(moment, body, change, after, at)
            if prorates and not resets and not cycle.is_metered(after[1]) and _paid_differently(change):
                prorations.add_licensed(moment, body, *after, 1, part, whole)
        elif before is not None:
            moment.store.clear_cells(before[0]["id"], since=whole.start + 1)  # a draft of the period before keeps its usage
            moment.store.delete(before[0]["id"])
    return credited


def _paid_differently(change: Change) -> bool:
    if change.before is None or change.after is None:
        return True
    (item, price), (new_item, new_price) = change.before, change.after
    return bool(price["id"] != new_price["id"] or item.get("quantity") != new_item.get("quantity"))


def _leave_usage(moment: Moment, body: Json, before: tuple[Json, Json], at: int, *, bills: bool) -> None:
    """A metered price is taken off: flexible billing mode bills what was reported by now."""
    item, price = before
    period = subscriptions.current_period(body)
    used = Period(period.index, period.start, at)
    if not bills or used.end <= used.start or body["status"] == "trialing":
        return
    quantity = billed_usage.billed(moment.store, moment.knobs, item, price, body["customer"], used)
    start = max(used.start, item.get("_usage_from") or used.start)
    prorations.add_usage(moment, body, item, price, quantity, Period(period.index, start, at))


def _put(moment: Moment, body: Json, change: Change, after: tuple[Json, Json], at: int) -> None:
    item, price = after
    if cycle.is_metered(price) and _counts_anew(moment, change, price):
        item = {**item, "_usage_from": at}
    moment.store.put(item, parent=body["id"], ref=price["id"])


def _counts_anew(moment: Moment, change: Change, price: Json) -> bool:
    """Whether a metered item counts from now on only: it came in mid-period with a meter's price, or changed its price."""
    on_meter = price["recurring"]["meter"] is not None
    if change.before is None:
        return on_meter
    if change.before[1]["id"] == price["id"]:
        return False
    return on_meter or not moment.knobs.legacy_switch_keeps_usage


def invoice_now(moment: Moment, body: Json) -> Json:
    """What `always_invoice` asks for: the pending prorations on an invoice of their own, final and collected at once."""
    if not invoicing.pending_items(moment, body["customer"], body["currency"], body["id"]):
        return body
    period = subscriptions.current_period(body)
    return _bill_at_once(moment, body, [], (period.start, moment.now))


def _bill_at_once(moment: Moment, body: Json, lines: list[Line], period: tuple[int, int]) -> Json:
    customer = moment.store.get("customer", body["customer"]) or {}
    invoice = cycle.bill(moment, body, lines, reason="subscription_update", period=period, customer=customer)
    body = standing.put(moment, {**body, "latest_invoice": invoice["id"]}, None)
    invoicing.finalize(moment, invoice)
    return moment.store.get("subscription", body["id"]) or body


def anew(moment: Moment, body: Json, *, trial_end: int | None, behavior: str, credited: set[str] | None = None) -> Json:
    """A new billing cycle from now on, with a trial or without: the old period ends here, its usage is billed, the new period is paid."""
    old = subscriptions.current_period(body)
    rest, cut = Period(old.index, moment.now, old.end), Period(old.index, old.start, moment.now)
    items = cycle.priced_items(moment, body)
    if behavior != "none" and body["status"] in {"active", "past_due"}:
        for item, price in items:
            if not cycle.is_metered(price) and item["id"] not in (credited or set()):
                prorations.add_licensed(moment, body, item, price, -1, rest, old)
    lines = cycle.usage_lines(moment, body, cut) if cut.end > cut.start and body["status"] != "paused" else []
    recurring = items[0][1]["recurring"]
    schedule = subscriptions.schedule_of(body).anew(
        body["_period"], now=moment.now, anchor=trial_end or moment.now, first_edge=0 if trial_end else 1,
        interval=recurring["interval"], count=recurring["interval_count"],
    )  # fmt: skip
    started = body["trial_start"] if body["status"] == "trialing" else moment.now
    trial = {"status": "trialing", "trial_start": started, "trial_end": trial_end} if trial_end else _out_of_trial(body, moment.now)
    cancel_at = {} if not body["cancel_at_period_end"] else {"_cancel_at": schedule.period(body["_period"] + 1).end}
    body = {**body, **subscriptions.scheduled(schedule, body["_period"] + 1), "billing_cycle_anchor": schedule.anchor, **trial, **cancel_at}
    body = standing.put(moment, body, None)
    lines += cycle.licensed_lines(moment, body, subscriptions.current_period(body))
    pending = invoicing.pending_items(moment, body["customer"], body["currency"], body["id"])
    return _bill_at_once(moment, body, lines, (old.start, moment.now)) if lines or pending else body


def _out_of_trial(body: Json, now: int) -> Json:
    return {"status": "active", "trial_end": now} if body["status"] == "trialing" else {}
