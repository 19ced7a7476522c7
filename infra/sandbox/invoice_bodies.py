"""Invoices as the sandbox stores them: how one begins, what it comes to, how it changes. Pure; the store's part is in `invoicing`."""

from __future__ import annotations

from collections.abc import Sequence

from infra.sandbox.invoice_lines import Line, from_json
from infra.sandbox.resources import Json, merged_metadata

DRAFT, OPEN, PAID, VOID, UNCOLLECTIBLE = "draft", "open", "paid", "void", "uncollectible"


def opened(
    object_id: str, created: int, customer: Json, *, currency: str, reason: str, period: tuple[int, int], subscription: Json | None, params: Json
) -> Json:
    """A new draft without lines."""
    method = (subscription or {}).get("collection_method") or params.get("collection_method") or "charge_automatically"
    return {
        "id": object_id,
        "object": "invoice",
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": params.get("auto_advance", subscription is not None),
        "billing_reason": reason,
        "collection_method": method,
        "created": created,
        "currency": currency,
        "customer": customer["id"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "days_until_due": (subscription or params).get("days_until_due"),
        "description": params.get("description"),
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "next_payment_attempt": None,
        "number": None,
        "paid_out_of_band": False,
        "period_end": period[1],
        "period_start": period[0],
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": 0,
        "status": DRAFT,
        "status_transitions": {"finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None},
        "subscription": None if subscription is None else subscription["id"],
        "subscription_metadata": None if subscription is None else subscription["metadata"],
        "test_clock": customer["test_clock"],
        "amount_paid": 0,
        "_lines": [],
        "_total": None,
        "_amount_due": None,
        "_finalizes_at": None,
        "_after": None,
        "_overdue": False,
    }


def lines_of(body: Json) -> list[Line]:
    """Its lines: of a draft their plans, of a final invoice what they came to."""
    return [from_json(each) for each in body["_lines"]]


def with_lines(body: Json, lines: Sequence[Line]) -> Json:
    """The invoice with these lines."""
    return {**body, "_lines": [line.as_json() for line in lines]}


def total(lines: Sequence[Line]) -> int:
    """What lines come to, in the minor unit."""
    return sum(line.amount for line in lines)


def due(total_amount: int, balance: int) -> tuple[int, int]:
    """(amount due, the customer's balance afterwards): a credit is used up first, a negative total becomes one."""
    owed = total_amount + balance
    return (owed, 0) if owed >= 0 else (0, owed)


def final(body: Json, lines: Sequence[Line], *, balance: int, number: str, now: int) -> Json:
    """The draft finalised: open, with lines and amounts that nothing changes any more."""
    amount_due, ending_balance = due(total(lines), balance)
    wait = body["days_until_due"]
    sends = body["collection_method"] == "send_invoice"
    return {
        **with_lines(body, lines),
        "status": OPEN,
        "number": number,
        "effective_at": now,
        "starting_balance": balance,
        "ending_balance": ending_balance,
        "due_date": now + (wait or 0) * 86_400 if sends else None,
        "status_transitions": {**body["status_transitions"], "finalized_at": now},
        "_total": total(lines),
        "_amount_due": amount_due,
        "_finalizes_at": None,
    }


def ended(body: Json, status: str, now: int, **changes: object) -> Json:
    """The invoice paid, voided or given up."""
    stamp = {PAID: "paid_at", VOID: "voided_at", UNCOLLECTIBLE: "marked_uncollectible_at"}[status]
    return {
        **body,
        "status": status,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status_transitions": {**body["status_transitions"], stamp: now},
        **changes,
    }
