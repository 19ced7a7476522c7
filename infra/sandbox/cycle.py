"""What time does to a subscription: its period's edge with an invoice, the end of a trial, a cancellation that was asked for, notices.

Source: https://docs.stripe.com/billing/subscriptions/overview and https://docs.stripe.com/billing/invoices/subscription
"""

from __future__ import annotations

from fractions import Fraction

from infra.sandbox import invoice_bodies, invoice_lines, invoicing, payments, periods, prorations, shapes_invoices, standing, subscriptions
from infra.sandbox.invoice_lines import Line
from infra.sandbox.moment import Moment
from infra.sandbox.periods import Period
from infra.sandbox.resources import Json


def happen(moment: Moment, body: Json) -> None:
    """The next thing that time does to a subscription, which is due now."""
    due = subscriptions.next_due(body, moment.now_s, moment.knobs)
    if due is None or due.at_s > moment.now_s:
        standing.put(moment, body, None)
        return
    if due.thing == "trial_notice":
        standing.put(moment, subscriptions.told(body, f"trial {body['trial_end']}"), "trial_will_end")
    elif due.thing == "upcoming":
        body = standing.put(moment, subscriptions.told(body, f"upcoming {subscriptions.current_period(body).end}"), None)
        moment.emit("invoice.upcoming", lambda version: upcoming(moment, body, version))
    elif due.thing == "collect":
        standing.put(moment, {**body, "pause_collection": None})
    elif due.thing == "expire":
        _expire(moment, body)
    elif due.thing == "cancel":
        cancel(moment, body, invoice_now=True, prorate=body["_cancel_at"] != subscriptions.current_period(body).end)
    else:
        _edge(moment, body)


def priced_items(moment: Moment, body: Json) -> list[tuple[Json, Json]]:
    """(item, price) of a subscription, in order of creation."""
    items = moment.store.scan("subscription_item", parent=body["id"], newest_first=False)
    return [(each, moment.store.get("price", each["price"]) or {}) for each in list(items)]


def is_metered(price: Json) -> bool:
    """Whether a price goes by usage."""
    return bool(price["recurring"]["usage_type"] == "metered")


def usage_lines(moment: Moment, body: Json, period: Period) -> list[Line]:
    """The lines of what was used in a period; usage of a trial is free."""
    free = body["trial_end"] is not None and period.end <= body["trial_end"] and not moment.knobs.trial_usage_billed
    metered = [(item, price) for item, price in priced_items(moment, body) if is_metered(price)]
    return [invoice_lines.usage_line(body, item, price, period, free=free) for item, price in metered]


def licensed_lines(moment: Moment, body: Json, period: Period, *, share: Fraction = Fraction(1)) -> list[Line]:
    """The lines of what is paid in advance for a period; a trial is free."""
    free = body["status"] == "trialing"
    licensed = [(item, price) for item, price in priced_items(moment, body) if not is_metered(price)]
    return [invoice_lines.licensed_line(body, item, price, period, free=free, share=share) for item, price in licensed]


def _edge(moment: Moment, body: Json) -> None:
    """A period ends and the next one begins: used is billed for the old one, licensed for the new one."""
    ended = subscriptions.current_period(body)
    body = {**body, "_period": body["_period"] + 1}
    customer = moment.store.get("customer", body["customer"]) or {}
    if body["status"] == "trialing" and body["trial_end"] <= ended.end:
        missing = payments.method_of(customer, body) is None
        behavior = body["trial_settings"]["end_behavior"]["missing_payment_method"] if missing else "create_invoice"
        if behavior == "cancel":
            standing.end(moment, {**body, "_period": body["_period"] - 1}, reason="payment_failed")
            return
        if behavior == "pause":
            standing.put(moment, {**body, "status": "paused"}, "paused")
            return
        body = {**body, "status": "active"}
    lines = [*usage_lines(moment, body, ended), *licensed_lines(moment, body, subscriptions.current_period(body))]
    invoice = bill(moment, body, lines, reason="subscription_cycle", period=(ended.start, ended.end), customer=customer)
    standing.put(moment, {**body, "latest_invoice": invoice["id"], "_cycle_invoice": invoice["id"]})


def bill(moment: Moment, body: Json, lines: list[Line], *, reason: str, period: tuple[int, int], customer: Json, pulls: bool = True) -> Json:
    """A draft for a subscription, as its state lets it go on: paused collection and unpaid subscriptions keep it from being collected."""
    pause = body["pause_collection"]
    waits = body["status"] == "unpaid" or (pause is not None and pause["behavior"] == "keep_as_draft")
    invoice = invoicing.draft(
        moment, customer, lines, reason=reason, period=period, subscription=body, params={"auto_advance": False} if waits else {}, pulls=pulls
    )
    if pause is not None and pause["behavior"] != "keep_as_draft":
        invoice = invoicing.put(moment, {**invoice, "_after": pause["behavior"]})
    return invoice


def _expire(moment: Moment, body: Json) -> None:
    """The first payment never came."""
    invoice = moment.store.get("invoice", body["latest_invoice"]) if body["latest_invoice"] else None
    if invoice is not None and invoice["status"] == invoice_bodies.OPEN:
        invoicing.void(moment, invoice)
    standing.end(moment, body, reason="payment_failed", status="incomplete_expired")


def cancel(moment: Moment, body: Json, *, invoice_now: bool, prorate: bool) -> Json:
    """The end: with `invoice_now` a last invoice bills what was used and what is pending, with `prorate` unused time is given back.

    Without `invoice_now` what was used since the last invoice is billed by nobody (Stripe: all metered usage is discarded).
    """
    period = subscriptions.current_period(body)
    until = min(moment.now, period.end)
    lines: list[Line] = []
    if body["status"] not in {"incomplete", "paused"} and until > period.start:
        cut = Period(period.index, period.start, until)
        lines = usage_lines(moment, body, cut) if invoice_now else []
        if prorate and body["status"] != "trialing":
            credit_unused(moment, body, Period(period.index, until, period.end), period)
    pending = invoicing.pending_items(moment, body["customer"], body["currency"], body["id"]) if invoice_now else []
    if not (lines or pending):
        return standing.end(moment, body, reason="cancellation_requested")
    customer = moment.store.get("customer", body["customer"]) or {}
    reason = "subscription_cycle" if until == period.end else "subscription_update"
    invoice = bill(moment, body, lines, reason=reason, period=(period.start, until), customer=customer)
    return standing.end(moment, {**body, "latest_invoice": invoice["id"], "_cycle_invoice": invoice["id"]}, reason="cancellation_requested")


def credit_unused(moment: Moment, body: Json, unused: Period, whole: Period) -> None:
    """Pending invoice items that give back what was paid in advance for the rest of a period."""
    for item, price in priced_items(moment, body):
        if not is_metered(price):
            prorations.add_licensed(moment, body, item, price, -1, unused, whole)


def first_share(body: Json, *, prorates: bool, created: int) -> Fraction:
    """The part of a whole interval that the first period is: less before an anchor, more when backdated."""
    schedule, first = subscriptions.schedule_of(body), subscriptions.current_period(body)
    k = schedule.first_edge
    whole = Fraction(first.end - periods.edge(schedule.anchor, schedule.interval, schedule.count, k - 1))
    if prorates:
        return Fraction(first.end - first.start) / whole
    return Fraction(1) if first.end - created == whole else Fraction(0)


def upcoming(moment: Moment, body: Json, version: str | None = None, *, first: int | None = shapes_invoices.FIRST_LINES) -> Json:
    """The invoice of the coming edge as it would be now, with its `first` lines (None: all)."""
    period = subscriptions.current_period(body)
    after = {**body, "status": "active"} if body["status"] == "trialing" and body["trial_end"] <= period.end else body
    ends = body["_cancel_at"] is not None and body["_cancel_at"] <= period.end
    end = body["_cancel_at"] if ends else period.end
    lines = usage_lines(moment, body, Period(period.index, period.start, end))
    if not ends:
        lines += licensed_lines(moment, after, subscriptions.schedule_of(body).period(period.index + 1))
    pending = invoicing.pending_items(moment, body["customer"], body["currency"], body["id"])
    lines += [invoice_lines.item_line(each) for each in pending]
    customer = moment.store.get("customer", body["customer"]) or {}
    preview = invoice_bodies.opened(
        "upcoming", end, customer, currency=body["currency"], reason="upcoming", period=(period.start, end), subscription=body, params={}
    )
    preview = {**invoice_bodies.with_lines(preview, lines), "starting_balance": customer["balance"]}
    found = shapes_invoices.lines(moment.store, moment.knobs, preview)
    return shapes_invoices.preview(preview, found, version or moment.knobs.default_version, first=first)
