"""The life of an invoice: draft, after its grace final, then paid, or not; voided, given up, deleted.

Source: https://docs.stripe.com/invoicing/integration/workflow-transitions and https://docs.stripe.com/billing/invoices/subscription
"""

from __future__ import annotations

from collections.abc import Sequence

from infra.sandbox import catalog, errors, invoice_bodies, invoice_lines, meter_judging, payments, snapshots, standing, timetable, webhook_deliveries
from infra.sandbox.ids import new_id
from infra.sandbox.invoice_bodies import DRAFT, OPEN, PAID, UNCOLLECTIBLE, VOID
from infra.sandbox.invoice_lines import Line
from infra.sandbox.moment import Moment
from infra.sandbox.resources import Json


def put(moment: Moment, body: Json, *events: str) -> Json:
    """Writes an invoice and what time does to it next; says what happened."""
    moment.store.put(body, parent=body["customer"], ref=body["subscription"])
    moment.plan(body["id"], next_due(body), rank=timetable.INVOICES)
    for event in events:
        moment.emit(f"invoice.{event}", lambda version: snapshots.invoice(moment, body, version))
    return body


def next_due(body: Json) -> float | None:
    """When time does something to an invoice: finalises it, lets it fall overdue, or tries its payment again."""
    if body["status"] == DRAFT:
        at_s: float | None = body["_finalizes_at"]
    elif body["status"] != OPEN or not body["auto_advance"]:
        at_s = None
    else:
        at_s = body["due_date"] if _falls_overdue(body) else body["next_payment_attempt"]
    return at_s


def _falls_overdue(body: Json) -> bool:
    return body["due_date"] is not None and not body["_overdue"]


def draft(
    moment: Moment,
    customer: Json,
    lines: Sequence[Line],
    *,
    reason: str,
    period: tuple[int, int],
    subscription: Json | None = None,
    params: Json | None = None,
    currency: str | None = None,
    pulls: bool = True,
) -> Json:
    """A new draft with these lines and, if it `pulls`, with the customer's pending invoice items of its currency."""
    money = subscription["currency"] if subscription is not None else currency or "usd"
    body = invoice_bodies.opened(
        new_id("in"), moment.now, customer, currency=money, reason=reason, period=period, subscription=subscription, params=params or {}
    )
    if pulls:
        lines = [*lines, *_pulled(moment, body)]
    body = invoice_bodies.with_lines(body, lines)
    if body["auto_advance"]:
        body["_finalizes_at"] = moment.now + moment.knobs.finalization_grace_s
    return put(moment, body, "created")


def _pulled(moment: Moment, invoice: Json) -> list[Line]:
    """The customer's pending items become lines of an invoice: those for its subscription, and those for none."""
    lines = []
    for item in list(pending_items(moment, invoice["customer"], invoice["currency"], invoice["subscription"])):
        moment.store.put({**item, "invoice": invoice["id"]}, parent=item["customer"], ref=invoice["id"])
        lines.append(invoice_lines.item_line(item))
    return lines


def pending_items(moment: Moment, customer_id: str, currency: str, subscription_id: str | None) -> list[Json]:
    """Invoice items that wait for the next invoice of a subscription (None: for one without a subscription), oldest first."""
    found = moment.store.scan("invoiceitem", parent=customer_id, ref=PENDING, newest_first=False)
    return [each for each in found if each["currency"] == currency and each["subscription"] in {None, subscription_id}]


PENDING = "pending"
"""What an invoice item is found by while it is on no invoice; then it is found by the invoice's id."""


def finalize(moment: Moment, body: Json, *, collects: bool = True) -> Json:
    """The draft final: nothing changes its lines any more. Usage counts that was judged by now. Nothing due is paid at once."""
    if body["status"] != DRAFT:
        raise errors.refused("This invoice is already finalized, you can't re-finalize a non-draft invoice.", rule="invoices.draft")
    meter_judging.settle(moment.store, moment.knobs, moment.wall_s if moment.clock else moment.now_s)
    lines = invoice_lines.computed(moment.store, moment.knobs, body["customer"], invoice_bodies.lines_of(body))
    customer = moment.store.get("customer", body["customer"]) or {}
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    body = invoice_bodies.final(body, lines, balance=customer["balance"], number=number, now=moment.now)
    sequence = customer["next_invoice_sequence"] + 1
    catalog.put_customer(moment.store, {**customer, "balance": body["ending_balance"], "next_invoice_sequence": sequence})
    put(moment, body, "finalized")
    if body["_after"] is not None:
        return void(moment, body) if body["_after"] == "void" else give_up(moment, body)
    if body["_amount_due"] == 0:
        return settle(moment, body)
    if collects and body["auto_advance"] and body["collection_method"] == "charge_automatically":
        return attempt(moment, body)
    return body


def attempt(moment: Moment, body: Json, method: str | None = None) -> Json:
    """One try to collect an open invoice; a failed one is tried again while there are retries."""
    customer = moment.store.get("customer", body["customer"]) or {}
    subscription = None if body["subscription"] is None else moment.store.get("subscription", body["subscription"])
    body = {**body, "attempted": True, "attempt_count": body["attempt_count"] + 1}
    if payments.succeeds(method or payments.method_of(customer, subscription, body), moment.knobs):
        return settle(moment, body)
    first = body["billing_reason"] == "subscription_create"
    again = payments.next_attempt(body["attempt_count"], moment.now, moment.knobs) if body["auto_advance"] and not first else None
    body = put(moment, {**body, "next_payment_attempt": again}, "payment_failed")
    if body["subscription"] is not None:
        standing.unpaid(moment, body["subscription"], retries_left=again is not None)
    return body


def settle(moment: Moment, body: Json, *, out_of_band: bool = False) -> Json:
    """The invoice paid."""
    if body["status"] not in {OPEN, UNCOLLECTIBLE}:
        raise errors.refused("Invoice is already paid" if body["status"] == PAID else "Invoice is not open.", rule="invoices.pay")
    due = body["_amount_due"] - body["pre_payment_credit_notes_amount"]
    body = invoice_bodies.ended(body, PAID, moment.now, amount_paid=due, attempted=True, paid_out_of_band=out_of_band)
    put(moment, body, "paid", "payment_succeeded")
    if body["subscription"] is not None:
        standing.paid(moment, body["subscription"], body)
    return body


def void(moment: Moment, body: Json) -> Json:
    """The invoice void: owed by nobody."""
    if body["status"] not in {OPEN, UNCOLLECTIBLE}:
        raise errors.refused(f"You can only void open or uncollectible invoices; this one is {body['status']}.", rule="invoices.void")
    return put(moment, invoice_bodies.ended(body, VOID, moment.now), "voided")


def give_up(moment: Moment, body: Json) -> Json:
    """The invoice uncollectible: still owed, no longer hoped for."""
    if body["status"] != OPEN:
        raise errors.refused(f"You can only mark open invoices as uncollectible; this one is {body['status']}.", rule="invoices.uncollectible")
    return put(moment, invoice_bodies.ended(body, UNCOLLECTIBLE, moment.now), "marked_uncollectible")


def discard(moment: Moment, body: Json) -> None:
    """A draft deleted; its invoice items go with it."""
    if body["status"] != DRAFT or body["subscription"] is not None:
        message = "You can only delete draft invoices that no subscription has created."
        raise errors.refused(message, rule="invoices.delete")
    for item in list(moment.store.scan("invoiceitem", parent=body["customer"], ref=body["id"])):
        moment.store.delete(item["id"])
    moment.plan(body["id"], None, rank=timetable.INVOICES)
    moment.store.delete(body["id"])
    moment.emit("invoice.deleted", lambda version: snapshots.invoice(moment, body, version))


LOOK_S = 600
"""How often a draft that waits for an answered webhook is looked at."""


def _awaits_answer(moment: Moment, body: Json) -> float | None:
    """Until when a draft waits because its invoice.created was not answered (knob finalization_waits_s); None: it may be final now."""
    last_s: float = body["created"] + moment.knobs.finalization_waits_s
    if moment.clock or moment.now_s >= last_s:
        return None
    answered_s = webhook_deliveries.answered_at(moment.store, "invoice.created", body["id"])
    if answered_s is None:
        return min(last_s, moment.now_s + LOOK_S)
    due_s = min(last_s, answered_s + moment.knobs.finalization_grace_s)
    return due_s if answered_s and moment.now_s < due_s else None


def happen(moment: Moment, body: Json) -> None:
    """What time does to an invoice: a draft is finalised, an open one that was sent falls overdue, one that is charged is tried again."""
    if body["status"] == DRAFT:
        waits_until_s = _awaits_answer(moment, body)
        if waits_until_s is None:
            finalize(moment, body)
        else:
            moment.plan(body["id"], waits_until_s, rank=timetable.INVOICES)
    elif _falls_overdue(body):
        put(moment, {**body, "_overdue": True}, "overdue")
        if body["subscription"] is not None:
            standing.unpaid(moment, body["subscription"], retries_left=True)
    else:
        attempt(moment, body)
