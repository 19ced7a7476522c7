"""The exact bytes of what bills an adjustment elsewhere: an invoice item, a credit note, or a usage record of a later period. Pure.

POST /v1/invoiceitems (API reference, "Create an invoice item"): pending, so that the customer's next invoice takes it; no subscription is named,
since the one that used it may have ended. `amount` and not `quantity` × `unit_amount_decimal`: Stripe would round each item by itself, and an
amount that is the difference of two rounded invoices (sinks/stripe/costs.py) loses nothing, whatever the tiers.

POST /v1/credit_notes ("Create a credit note"): against the lines that billed the units; of a paid invoice the amount goes to the customer's balance,
as `credit_amount`, because moving money back to a card is a decision of people.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote_plus

import msgspec

from sinks.carrying import units_at
from sinks.keys import idempotency_key
from sinks.outcomes import BILL_MARK, Wanted, WantedBill
from sinks.remedy_calls import CreditLine, Quoted
from sinks.stripe.request import usage_record_body, usage_record_path
from topics.adjustments import Remedy
from topics.instants import format_s
from topics.receipt import CellReceipt
from topics.windows import parse_window_key

INVOICE_ITEMS_PATH: Final = "/v1/invoiceitems"
CREDIT_NOTES_PATH: Final = "/v1/credit_notes"
MOST_TEXT: Final = 400
"""Of a description or memo: Stripe takes 500 characters of metadata and of a memo; names of meters are shorter by far."""


def mark_of(receipt: CellReceipt, number: int) -> str:
    """What names a remedy at the provider, over all its attempts."""
    return f"{'' if receipt.adjustment is None else receipt.adjustment.id}/{number}"


def remedy_of(receipt: CellReceipt, quoted: Quoted, amount: int, now_ms: int) -> Remedy:
    """The intent that bills all open units of a receipt's adjustment: a credit note where the policy says so and the lines can give that much
    back, else an invoice item of that (signed) amount."""
    said = receipt.adjustment
    if said is None:
        raise ValueError(f"cell {receipt.cell} has no adjustment")
    number = said.remedies + 1
    mark = mark_of(receipt, number)
    parts = _parts(quoted.lines, -amount) if said.policy == "credit_note" and amount < 0 else ()
    kind, path = ("credit_note", CREDIT_NOTES_PATH) if parts else ("invoice_item", INVOICE_ITEMS_PATH)
    pairs = _credit_note(receipt, quoted, parts, -amount) if parts else _invoice_item(receipt, quoted, amount)
    pairs += [
        ("metadata[tidemark_adjustment]", said.id),
        (f"metadata[{BILL_MARK}]", mark),
        ("metadata[tidemark_units]", said.units),
        *([("metadata[tidemark_invoice]", said.invoice)] if said.invoice else []),
    ]
    remedy = Remedy(
        kind="credit_note" if kind == "credit_note" else "invoice_item",
        number=number,
        units=said.units,
        amount=amount,
        currency=quoted.price.currency,
        payer=quoted.payer,
        invoice=said.invoice,
        path=path,
        body="&".join(f"{quote_plus(name, safe='[]')}={quote_plus(text)}" for name, text in pairs),
        intent_at_ms=now_ms,
    )
    return msgspec.structs.replace(remedy, idempotency_key=key_of(receipt, remedy))


def carry(receipt: CellReceipt, second: int, period_start_s: int, units: int, now_ms: int) -> Remedy:
    """The intent that reports units (below 0: takes back what was reported) at a second of a later period, which belongs to the adjustment alone:
    the usage record sets all that it then holds there."""
    said = receipt.adjustment
    if said is None:
        raise ValueError(f"cell {receipt.cell} has no adjustment")
    remedy = Remedy(
        kind="usage_record",
        number=said.remedies + 1,
        units=str(units),
        path=usage_record_path(receipt.item),
        body=usage_record_body(units_at(said, second) + units, second),
        second=second,
        period_start_s=period_start_s,
        intent_at_ms=now_ms,
    )
    return msgspec.structs.replace(remedy, idempotency_key=key_of(receipt, remedy))


def next_attempt(receipt: CellReceipt, remedy: Remedy, now_ms: int) -> Remedy:
    """The same request under its next key: it was looked for, and is not there."""
    again = msgspec.structs.replace(remedy, attempt=remedy.attempt + 1, intent_at_ms=now_ms)
    return msgspec.structs.replace(again, idempotency_key=key_of(receipt, again))


def key_of(receipt: CellReceipt, remedy: Remedy) -> str:
    """Law 14: a hash of everything that tells one request from another."""
    cell = f"remedy {mark_of(receipt, remedy.number)}"
    said = f"{remedy.units} {remedy.amount} {remedy.second}"
    return idempotency_key(receipt.provider, receipt.account, cell, remedy.number, said, remedy.attempt)


def wanted_bill(receipt: CellReceipt, remedy: Remedy) -> WantedBill | Wanted:
    """What the answer must repeat to be believed."""
    if remedy.kind == "usage_record":
        before = 0 if receipt.adjustment is None else units_at(receipt.adjustment, remedy.second)
        return Wanted(receipt.item, remedy.second, before + int(remedy.units))
    made = "invoiceitem" if remedy.kind == "invoice_item" else "credit_note"
    amount = remedy.amount if remedy.kind == "invoice_item" else -remedy.amount
    return WantedBill(made, amount, remedy.currency, mark_of(receipt, remedy.number))


def _invoice_item(receipt: CellReceipt, quoted: Quoted, amount: int) -> list[tuple[str, str]]:
    start_s, end_s = span_of(receipt)
    return [
        ("customer", quoted.payer),
        ("amount", str(amount)),
        ("currency", quoted.price.currency),
        ("description", _text(receipt)),
        ("period[start]", str(start_s)),
        ("period[end]", str(end_s)),
    ]


def _credit_note(receipt: CellReceipt, quoted: Quoted, parts: tuple[CreditLine, ...], amount: int) -> list[tuple[str, str]]:
    pairs = [("invoice", "" if receipt.adjustment is None else receipt.adjustment.invoice), ("memo", _text(receipt))]
    for number, part in enumerate(parts):
        line = f"lines[{number}]"
        pairs += [(f"{line}[type]", "invoice_line_item"), (f"{line}[invoice_line_item]", part.id), (f"{line}[amount]", str(part.left))]
    after_payment = amount - min(amount, quoted.owed)
    return pairs + ([("credit_amount", str(after_payment))] if after_payment else [])


def _parts(lines: tuple[CreditLine, ...], amount: int) -> tuple[CreditLine, ...]:
    """How much of each line is given back, the last one (of the highest tier) first; nothing where they cannot give that much."""
    found = list[CreditLine]()
    rest = amount
    for line in reversed(lines):
        part = min(rest, line.left)
        if part > 0:
            found.append(CreditLine(line.id, part))
            rest -= part
    return tuple(found) if rest == 0 else ()


def span_of(receipt: CellReceipt) -> tuple[int, int]:
    """[start, end) of the windows of a cell."""
    windows = [parse_window_key(part.window) for part in receipt.windows]
    return min(window.start_s for window in windows), max(window.end_s for window in windows)


def _text(receipt: CellReceipt) -> str:
    """What the invoice or credit note says to the customer."""
    start_s, end_s = span_of(receipt)
    units = "" if receipt.adjustment is None else receipt.adjustment.units
    return f"{receipt.meter}: {units} units used {format_s(start_s)} to {format_s(end_s)}, counted after that period was invoiced"[:MOST_TEXT]
