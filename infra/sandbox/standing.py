"""How a subscription stands, and what makes it stand otherwise: payments, the end of a trial, cancellation. Writes it, plans its next
instant and says what happened.

Source: https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
"""

from __future__ import annotations

from infra.sandbox import snapshots, subscriptions, timetable
from infra.sandbox.moment import Moment
from infra.sandbox.resources import Json

ENDED = frozenset({"canceled", "incomplete_expired"})


def put(moment: Moment, body: Json, event: str | None = "updated") -> Json:
    """Writes a subscription and what time does to it next; says so, unless `event` is None."""
    moment.store.put(body, parent=body["customer"])
    due = subscriptions.next_due(body, moment.now_s, moment.knobs)
    moment.plan(body["id"], None if due is None else due.at_s, rank=timetable.SUBSCRIPTIONS)
    if event is not None:
        moment.emit(f"customer.subscription.{event}", lambda version: snapshots.subscription(moment, body, version))
    return body


def paid(moment: Moment, subscription_id: str, invoice: Json) -> None:
    """After one of its invoices was paid: a subscription that waited for it is active."""
    body = moment.store.get("subscription", subscription_id)
    if body is None or body["latest_invoice"] != invoice["id"]:
        return
    if body["status"] in {"past_due", "unpaid"} or (body["status"] == "incomplete" and invoice["billing_reason"] == "subscription_create"):
        put(moment, {**body, "status": "active"}, "updated" if body["status"] != "incomplete" or body["_announced"] else None)
    elif body["status"] == "paused" and body["_resuming"]:
        put(moment, {**body, "status": "active", "_resuming": False}, "resumed")


def unpaid(moment: Moment, subscription_id: str, *, retries_left: bool) -> None:
    """After a payment failed: past due while it is tried again, then what the account's setting says."""
    body = moment.store.get("subscription", subscription_id)
    if body is None or body["status"] not in {"active", "past_due"}:
        return
    if retries_left or moment.knobs.after_retries == "past_due":
        if body["status"] != "past_due":
            put(moment, {**body, "status": "past_due"})
    elif moment.knobs.after_retries == "unpaid":
        put(moment, {**body, "status": "unpaid"})
    else:
        end(moment, body, reason="payment_failed")


def end(moment: Moment, body: Json, *, reason: str, status: str = "canceled") -> Json:
    """The subscription over, now; nothing is collected automatically any more."""
    for invoice in list(moment.store.scan("invoice", ref=body["id"])):
        if invoice["status"] == "open":
            moment.store.put({**invoice, "auto_advance": False, "next_payment_attempt": None}, parent=invoice["customer"], ref=body["id"])
            moment.plan(invoice["id"], None, rank=timetable.INVOICES)
    body = subscriptions.canceled(body, moment.now, reason=reason, status=status)
    return put(moment, body, "deleted" if status == "canceled" else "updated")
