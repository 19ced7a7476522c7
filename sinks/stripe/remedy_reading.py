"""What is read of an account before an adjustment is billed elsewhere, and to find what was made of it. Pure but for the reading it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from sinks.outcomes import BILL_MARK, Refused, RetryAfter
from sinks.remedy_calls import CreditLine, LookUp, Quote, Quoted
from sinks.stripe.invoice_line import lines_of
from sinks.stripe.objects import Price, Row, Subscription, read
from sinks.stripe.refusal import StripeRefusal
from sinks.stripe.remedy_request import CREDIT_NOTES_PATH, INVOICE_ITEMS_PATH, mark_of
from topics.errors import TidemarkError, Unreachable

TURNED_AWAY: Final = frozenset({401, 403})
BUSY: Final = frozenset({408, 409, 429})
"""Statuses that speak of our key, and of our speed or somebody else's call; neither speaks of what was asked for, and nor does a 5xx."""


class Reading(Protocol):
    """An account under one API version."""

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET; the decoded object. Raises Unreachable or StripeRefusal."""
        ...

    def pages(self, path: str, **parameters: Any) -> Iterable[dict[str, Any]]:
        """All rows of a list. Raises Unreachable or StripeRefusal."""
        ...


def quote(old: Reading, modern: Reading, asked: Quote) -> Quoted | Refused | RetryAfter:
    """The price, who pays, and what the invoice's lines can give back. `old` reads legacy prices, which the modern version shows in part only."""
    try:
        return _quote(old, modern, asked)
    except TidemarkError as error:
        if (again := _again(error)) is not None:
            return again
        return Refused(reason="no_price", sentence=f"what it costs cannot be read: {error}")


def look_up(modern: Reading, asked: LookUp) -> str | RetryAfter:
    """The id of what carries the remedy's mark; empty: nothing does. Lists show what was made at once; Stripe's search does so after a minute."""
    remedy = asked.remedy
    is_item = remedy.kind == "invoice_item"
    mark = mark_of(asked.receipt, remedy.number)
    try:
        rows = modern.pages(INVOICE_ITEMS_PATH, customer=remedy.payer) if is_item else modern.pages(CREDIT_NOTES_PATH, invoice=remedy.invoice)
        return next((str(row["id"]) for row in rows if _marked(row) == mark), "")
    except TidemarkError as error:
        return _again(error) or RetryAfter(reason="unreadable", sentence=str(error))


def _quote(old: Reading, modern: Reading, asked: Quote) -> Quoted:
    name, price = asked.subscription, asked.price
    if not (name and price):
        row = read(old.get(f"/v1/subscription_items/{asked.item}"), Row)
        name, price = name or row.subscription, price or row.price.id
    subscription = read(old.get(f"/v1/subscriptions/{name}"), Subscription)
    payer = asked.payer or subscription.customer_id
    found = read(old.get(f"/v1/prices/{price}", expand=["tiers"]), Price)
    if subscription.currency not in {"", found.currency}:
        raise TidemarkError(f"price {found.id} shows its amounts in {found.currency}, and subscription {name} is billed in {subscription.currency}")
    if not asked.invoice:
        return Quoted(payer, found)
    invoice = modern.get(f"/v1/invoices/{asked.invoice}")
    owed = 0 if invoice.get("status") == "paid" else int(invoice.get("amount_remaining") or 0)
    return Quoted(payer, found, _left(modern, invoice, asked), owed)


def _left(modern: Reading, invoice: Mapping[str, Any], asked: Quote) -> tuple[CreditLine, ...]:
    """What each line of the item's period can still give back."""
    given: dict[str, int] = {}
    for note in modern.pages(CREDIT_NOTES_PATH, invoice=str(invoice["id"])):
        if note.get("status") == "issued":
            for row in _rows(modern, note):
                line = str(row.get("invoice_line_item"))
                given[line] = given.get(line, 0) + int(row.get("amount") or 0)
    lines = [line for line in lines_of(modern, invoice) if line.item == asked.item and line.start_s <= asked.at_s < line.end_s]
    return tuple(CreditLine(line.id, max(0, line.amount - given.get(line.id, 0))) for line in lines)


def _rows(modern: Reading, note: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The lines of a credit note; it shows its first ten only."""
    shown = note.get("lines") or {}
    rows: Iterable[Mapping[str, Any]] = modern.pages(f"{CREDIT_NOTES_PATH}/{note['id']}/lines") if shown.get("has_more") else shown.get("data", [])
    return rows


def _marked(row: Mapping[str, Any]) -> str:
    return str((row.get("metadata") or {}).get(BILL_MARK, ""))


def _again(error: TidemarkError) -> RetryAfter | None:
    """The outcome of an error that says nothing about what was asked for; None: it does."""
    status = error.status if isinstance(error, StripeRefusal) else 0
    if isinstance(error, Unreachable) or status in TURNED_AWAY or status >= 500:
        return RetryAfter(reason="no_answer", sentence=str(error), down=True)
    return RetryAfter(reason="busy", sentence=str(error)) if status in BUSY else None
