"""An invoice as Stripe shows it, in the shapes of both API eras, as the fact that the log keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from sinks.stripe.invoice_line import InvoiceLine, line_of
from topics.invoices import FINAL, InvoiceRecord, Status

STATUSES: Final[tuple[str, ...]] = get_args(Status)


def invoice_record(row: Mapping[str, Any], *, items: frozenset[str], seen_at_s: int, account: str = "default") -> InvoiceRecord | None:
    """What the log is told of an invoice, read at `seen_at_s` of the customer's clock; None where it bills none of `items`.

    The period is that of our own lines: an invoice also carries what comes (a base price is billed ahead), and a first one has lines of
    usage for the period that only begins.
    """
    lines = [line for line in _lines(row) if line.item in items]
    status = next((known for known in get_args(Status) if known == row.get("status")), None)
    if not lines or status is None:
        return None
    finalized_at = (row.get("status_transitions") or {}).get("finalized_at")
    return InvoiceRecord(
        account=account,
        invoice=str(row["id"]),
        subscription=subscription_of(row),
        items=tuple(sorted({line.item for line in lines})),
        status=status,
        period_start_s=min(line.start_s for line in lines),
        period_end_s=max(line.end_s for line in lines),
        finalized_at_s=int(finalized_at) if status in FINAL and finalized_at is not None else None,
        seen_at_s=seen_at_s,
    )


def subscription_of(row: Mapping[str, Any]) -> str:
    """The subscription of an invoice: `parent.subscription_details.subscription` since 2025-03-31.basil, `subscription` before; "" for none."""
    details = (row.get("parent") or {}).get("subscription_details") or {}
    named = details.get("subscription") or row.get("subscription") or ""
    return str(named.get("id", "")) if isinstance(named, Mapping) else str(named)


def _lines(row: Mapping[str, Any]) -> list[InvoiceLine]:
    rows = (row.get("lines") or {}).get("data") or []
    # Lines of a first invoice name the period that begins, before there is any usage: nothing of it is final by that invoice.
    first = row.get("billing_reason") == "subscription_create"
    return [] if first else [line for each in rows if (line := line_of(each, row)) is not None]
