"""Credit notes as the sandbox stores them: what is given back of a final invoice, and where it goes. Pure.

Source: https://docs.stripe.com/api/credit_notes and https://docs.stripe.com/invoicing/integration/programmatic-credit-notes
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from infra.sandbox import errors, invoice_bodies, pricing, versions
from infra.sandbox.ids import new_id
from infra.sandbox.invoice_lines import Line
from infra.sandbox.resources import Json, merged_metadata
from topics.quantity import ONE


def opened(object_id: str, now: int, invoice: Json, lines: Sequence[Line], params: Json, *, credited: int, number: str) -> Json:
    """A new credit note on a final invoice, of which `credited` was given back before."""
    if invoice["status"] not in {invoice_bodies.OPEN, invoice_bodies.PAID, invoice_bodies.UNCOLLECTIBLE}:
        message = f"You can only create credit notes for open, paid or uncollectible invoices; this one is {invoice['status']}."
        raise errors.refused(message, rule="credit_notes.invoice", param="invoice")
    found = _lines(lines, params)
    amount = params["amount"] if "amount" in params else sum(each["amount"] for each in found)
    if amount <= 0 or amount > invoice["_total"] - credited:
        message = f"The sum of credit note amounts cannot exceed what remains of the invoice ({invoice['_total'] - credited})."
        raise errors.refused(message, rule="credit_notes.amount", param="amount")
    if "amount" in params and found and amount != sum(each["amount"] for each in found):
        raise errors.refused("`amount` must be the sum of the lines.", rule="credit_notes.amount", param="amount")
    found = found or [_line({"type": "custom_line_item", "description": "Credit"}, amount, None, None)]
    before = min(amount, _still_due(invoice)) if invoice["status"] != invoice_bodies.PAID else 0
    _check_split(params, amount - before)
    return {
        "id": object_id,
        "object": "credit_note",
        "amount": amount,
        "amount_shipping": 0,
        "created": now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": now,
        "invoice": invoice["id"],
        "livemode": False,
        "memo": params.get("memo"),
        "metadata": merged_metadata({}, params.get("metadata")),
        "number": number,
        "out_of_band_amount": params.get("out_of_band_amount"),
        "pdf": "",
        "post_payment_amount": amount - before,
        "pre_payment_amount": before,
        "pretax_credit_amounts": [],
        "reason": params.get("reason"),
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "type": "post_payment" if before == 0 else "pre_payment" if before == amount else "mixed",
        "voided_at": None,
        "_lines": found,
        "_credit": params.get("credit_amount", 0),
    }


def _still_due(invoice: Json) -> int:
    return int(invoice["_amount_due"]) - int(invoice["pre_payment_credit_notes_amount"])


def _check_split(params: Json, after_payment: int) -> None:
    """What is given back after the payment goes to the customer's balance, back to the card, or somewhere outside of Stripe."""
    split = sum(params.get(name, 0) for name in ("credit_amount", "refund_amount", "out_of_band_amount"))
    if split != after_payment:
        message = (
            f"The sum of `credit_amount`, `refund_amount` and `out_of_band_amount` ({split}) must equal the credit note amount that "
            f"comes after the payment ({after_payment})."
        )
        raise errors.refused(message, rule="credit_notes.split", param="credit_amount")


def _lines(lines: Sequence[Line], params: Json) -> list[Json]:
    return [_given(lines, each, n) for n, each in enumerate(params.get("lines", []))]


def _given(lines: Sequence[Line], each: Json, n: int) -> Json:
    if each["type"] == "custom_line_item":
        unit = each.get("unit_amount_decimal") or str(each.get("unit_amount", 0))
        quantity = each.get("quantity", 1)
        return _line(each, pricing.rounded(Fraction(unit) * quantity), quantity, unit)
    of = next((line for line in lines if line.id == each.get("invoice_line_item")), None)
    if of is None:
        name = f"lines[{n}][invoice_line_item]"
        raise errors.no_such("invoice_line_item", str(each.get("invoice_line_item")), param=name, in_url=False)
    if "amount" in each:
        amount, quantity = each["amount"], None
    else:
        quantity = each.get("quantity", of.quantity // ONE)
        amount = pricing.rounded(Fraction(of.amount * quantity * ONE, of.quantity)) if of.quantity else 0
    if amount > of.amount:
        raise errors.refused("A line is credited by at most its amount.", rule="credit_notes.amount", param=f"lines[{n}][amount]")
    return _line({"description": of.description, **each}, amount, quantity, of.unit_amount_decimal)


def _line(given: Json, amount: int, quantity: int | None, unit: str | None) -> Json:
    return {
        "id": new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": given.get("description"),
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": given.get("invoice_line_item"),
        "livemode": False,
        "pretax_credit_amounts": [],
        "quantity": quantity,
        "tax_rates": [],
        "type": given["type"],
        "unit_amount": None if unit is None or "." in unit else int(unit),
        "unit_amount_decimal": unit,
    }


def shaped(body: Json, version: str) -> Json:
    """The credit note as it leaves the sandbox."""
    shown = {name: value for name, value in body.items() if not name.startswith("_")}
    lines = [line(each, version) for each in body["_lines"]]
    url = f"/v1/credit_notes/{body['id']}/lines"
    shown["lines"] = {"object": "list", "data": lines[:10], "has_more": len(lines) > 10, "total_count": len(lines), "url": url}
    if versions.is_basil(version):
        return {**shown, "customer_account": None, "total_taxes": []}
    del shown["refunds"]
    return {**shown, "refund": None, "tax_amounts": []}


def line(body: Json, version: str) -> Json:
    """One line of a credit note."""
    return {**body, "metadata": {}, "taxes": []} if versions.is_basil(version) else {**body, "tax_amounts": []}
