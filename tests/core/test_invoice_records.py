"""An invoice of either API era as the fact in the log: which period, whose items, and whether it is final."""

from __future__ import annotations

from typing import Any

import pytest

from infra.webhooks.invoices import invoice_record
from topics.invoices import InvoiceRecord, invoice_problem

OURS = frozenset({"si_1", "si_2"})
PERIOD = {"start": 100, "end": 200}


def line(item: str, era: str, start: int = 100, end: int = 200) -> dict[str, Any]:
    """A line of usage in the shape of an era."""
    row: dict[str, Any] = {"id": f"il_{item}", "amount": 5, "currency": "usd", "quantity": 5, "period": {"start": start, "end": end}}
    if era == "old":
        return row | {"subscription_item": item, "price": {"id": "price_1"}}
    details = {"subscription_item_details": {"subscription_item": item}, "type": "subscription_item_details"}
    return row | {"parent": details, "pricing": {"price_details": {"price": "price_1"}, "type": "price_details"}}


def invoice(era: str, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An invoice in the shape of an era."""
    row: dict[str, Any] = {"id": "in_1", "status": "paid", "lines": {"data": list(lines)}, "status_transitions": {"finalized_at": 260}}
    row |= {"subscription": "sub_1"} if era == "old" else {"parent": {"subscription_details": {"subscription": "sub_1"}}}
    return row | more


@pytest.mark.parametrize("era", ["old", "new"])
def test_the_record_has_our_items_and_their_period(era: str) -> None:
    """Both shapes give the same record, with the period of our lines only: what is billed ahead is no usage of ours."""
    row = invoice(era, line("si_1", era), line("si_2", era, 150, 200), line("si_base", era, 200, 300))
    record = invoice_record(row, items=OURS, seen_at_s=300)
    assert record == InvoiceRecord(
        invoice="in_1", subscription="sub_1", items=("si_1", "si_2"), status="paid",
        period_start_s=100, period_end_s=200, finalized_at_s=260, seen_at_s=300,
    )  # fmt: skip
    assert invoice_problem(record) is None


@pytest.mark.parametrize("era", ["old", "new"])
def test_a_first_invoice_makes_nothing_final(era: str) -> None:
    """A subscription's first invoice names the period that only begins: usage of it is not billed there, so no record is made."""
    row = invoice(era, line("si_1", era), billing_reason="subscription_create")
    assert invoice_record(row, items=OURS, seen_at_s=300) is None


def test_a_draft_is_not_final_and_a_foreign_invoice_says_nothing() -> None:
    """A draft has no time at which it became final; an invoice without our items, or of an unknown status, is none of ours."""
    draft = invoice_record(invoice("new", line("si_1", "new"), status="draft"), items=OURS, seen_at_s=300)
    assert draft is not None and draft.status == "draft" and draft.finalized_at_s is None
    assert invoice_record(invoice("new", line("si_9", "new")), items=OURS, seen_at_s=300) is None
    assert invoice_record(invoice("new", line("si_1", "new"), status="deleted"), items=OURS, seen_at_s=300) is None
