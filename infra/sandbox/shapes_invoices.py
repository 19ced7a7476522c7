"""Invoices, their lines and invoice items as they leave the sandbox, in the shape of the caller's API version.

2025-03-31.basil gave lines `parent` and `pricing` and invoices `parent`, and took `subscription`, `paid` and `price` away
(https://docs.stripe.com/changelog/basil).
"""

from __future__ import annotations

from collections.abc import Sequence

from infra.sandbox import invoice_bodies, invoice_lines, shapes, versions
from infra.sandbox.invoice_lines import Line
from infra.sandbox.knobs import Knobs
from infra.sandbox.resources import Json
from infra.sandbox.store import Store
from topics import quantity as exact
from topics.quantity import ONE

FIRST_LINES = 10
"""How many lines stand in the invoice itself, as in Stripe's lists."""


def lines(store: Store, knobs: Knobs, body: Json) -> list[Line]:
    """What an invoice's lines come to: of a draft now, of a final one for ever."""
    found = invoice_bodies.lines_of(body)
    return invoice_lines.computed(store, knobs, body["customer"], found) if body["status"] == invoice_bodies.DRAFT else found


def invoice(body: Json, found: Sequence[Line], version: str, *, first: int | None = FIRST_LINES) -> Json:
    """An invoice with its `first` lines (None: all)."""
    total = body["_total"] if body["_total"] is not None else invoice_bodies.total(found)
    due = body["_amount_due"] if body["_amount_due"] is not None else invoice_bodies.due(total, body["starting_balance"])[0]
    credited = body["pre_payment_credit_notes_amount"]
    remaining = 0 if body["status"] in {invoice_bodies.PAID, invoice_bodies.VOID} else due - credited
    shaped = {name: value for name, value in body.items() if not name.startswith("_")}
    for ours in ("subscription_metadata", "days_until_due"):
        del shaped[ours]
    shaped |= {
        **_NEVER,
        "amount_due": due - credited,
        "amount_remaining": remaining,
        "automatically_finalizes_at": body["_finalizes_at"] if body["auto_advance"] else None,
        "customer_tax_exempt": "none",
        "lines": {
            "object": "list",
            "data": [line(each, body, version) for each in found[:first]],
            "has_more": first is not None and len(found) > first,
            "total_count": len(found),
            "url": f"/v1/invoices/{body['id']}/lines",
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "total": total,
        "total_excluding_tax": total,
        "webhooks_delivered_at": body["created"],
    }
    return _modern(shaped, body) if versions.is_basil(version) else _old(shaped, body)


_NEVER: Json = {
    "account_country": "US",
    "account_name": None,
    "account_tax_ids": None,
    "amount_shipping": 0,
    "application": None,
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "status": None},
    "custom_fields": None,
    "customer_address": None,
    "customer_shipping": None,
    "customer_tax_ids": [],
    "default_payment_method": None,
    "default_source": None,
    "default_tax_rates": [],
    "discounts": [],
    "footer": None,
    "from_invoice": None,
    "hosted_invoice_url": None,
    "invoice_pdf": None,
    "issuer": {"type": "self"},
    "last_finalization_error": None,
    "latest_revision": None,
    "on_behalf_of": None,
    "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
    "receipt_number": None,
    "rendering": None,
    "shipping_cost": None,
    "shipping_details": None,
    "statement_descriptor": None,
    "total_discount_amounts": [],
    "total_pretax_credit_amounts": [],
}
"""What the sandbox's invoices never have: taxes, discounts, shipping, documents."""


def _old(shaped: Json, body: Json) -> Json:
    return {
        **shaped,
        "application_fee_amount": None,
        "charge": None,
        "discount": None,
        "paid": body["status"] == invoice_bodies.PAID,
        "payment_intent": None,
        "quote": None,
        "subscription_details": {"metadata": body["subscription_metadata"]},
        "tax": None,
        "total_tax_amounts": [],
        "transfer_data": None,
    }


def _modern(shaped: Json, body: Json) -> Json:
    gone = {"subscription", "paid_out_of_band"}
    of_subscription = {"metadata": body["subscription_metadata"], "subscription": body["subscription"]}
    parent = None
    if body["subscription"] is not None:
        parent = {"quote_details": None, "subscription_details": of_subscription, "type": "subscription_details"}
    kept = {name: value for name, value in shaped.items() if name not in gone}
    return {**kept, "amount_overpaid": 0, "customer_account": None, "parent": parent, "total_taxes": []}


def preview(body: Json, found: Sequence[Line], version: str, *, first: int | None) -> Json:
    """An invoice that does not exist yet: without an id before basil, with one that names nothing from then on."""
    shaped = invoice(body, found, version, first=first)
    if not versions.is_basil(version):
        del shaped["id"]
    return shaped


def line(found: Line, body: Json, version: str) -> Json:
    """One line."""
    units = found.quantity // ONE if found.quantity >= 0 else -(-found.quantity // ONE)
    shaped: Json = {
        "id": found.id,
        "object": "line_item",
        "amount": found.amount,
        "currency": found.currency,
        "description": found.description,
        "discount_amounts": [],
        "discountable": not found.proration,
        "discounts": [],
        "invoice": None if body["id"] == "upcoming" else body["id"],
        "livemode": False,
        "metadata": found.metadata or {},
        "period": {"end": found.end, "start": found.start},
        "pretax_credit_amounts": [],
        "quantity": units,
        "subscription": found.subscription,
    }
    return _modern_line(shaped, found) if versions.is_basil(version) else _old_line(shaped, found, version)


def _old_line(shaped: Json, found: Line, version: str) -> Json:
    of_item = found.invoice_item is not None
    shaped |= {
        "amount_excluding_tax": found.amount,
        "plan": None,
        "price": None if found.price is None else shapes.price(found.price, version),
        "proration": found.proration,
        "proration_details": {"credited_items": None},
        "tax_amounts": [],
        "tax_rates": [],
        "type": "invoiceitem" if of_item else "subscription",
        "unit_amount_excluding_tax": found.unit_amount_decimal,
    }
    if of_item:
        shaped["invoice_item"] = found.invoice_item
    if found.item is not None:
        shaped["subscription_item"] = found.item["id"]
    return shaped


def _modern_line(shaped: Json, found: Line) -> Json:
    proration = {"proration": found.proration, "proration_details": {"credited_items": None}, "subscription": found.subscription}
    if found.invoice_item is not None:
        of_item = {"invoice_item": found.invoice_item, **proration}
        parent = {"invoice_item_details": of_item, "subscription_item_details": None, "type": "invoice_item_details"}
    else:
        item = None if found.item is None else found.item["id"]
        of_subscription = {"invoice_item": None, **proration, "subscription_item": item}
        parent = {"invoice_item_details": None, "subscription_item_details": of_subscription, "type": "subscription_item_details"}
    pricing = None
    if found.price is not None:
        details = {"price": found.price["id"], "product": found.price["product"]}
        pricing = {"price_details": details, "type": "price_details", "unit_amount_decimal": found.unit_amount_decimal}
    return {
        **shaped,
        "parent": parent,
        "pricing": pricing,
        "quantity_decimal": exact.format_scaled(found.quantity),
        "subtotal": found.amount,
        "taxes": [],
    }


def invoice_item(body: Json, version: str) -> Json:
    """One invoice item."""
    shaped = {name: value for name, value in body.items() if not name.startswith("_")}
    units = body["_quantity"] // ONE
    unit = body["_unit_amount_decimal"]
    shaped |= {"discounts": [], "quantity": units, "tax_rates": []}
    if versions.is_basil(version):
        return _modern_item(shaped, body, unit)
    whole = None if unit is None or "." in unit else int(unit)
    price = None if body["_price"] is None else shapes.price(body["_price"], version)
    return {**shaped, "plan": None, "price": price, "unit_amount": whole, "unit_amount_decimal": unit}


def _modern_item(shaped: Json, body: Json, unit: str | None) -> Json:
    parent = pricing = None
    if body["subscription"] is not None:
        item = None if body["_item"] is None else body["_item"]["id"]
        details = {"subscription": body["subscription"], "subscription_item": item}
        parent = {"subscription_details": details, "type": "subscription_details"}
    if body["_price"] is not None:
        of_price = {"price": body["_price"]["id"], "product": body["_price"]["product"]}
        pricing = {"price_details": of_price, "type": "price_details", "unit_amount_decimal": unit}
    kept = {name: value for name, value in shaped.items() if name != "subscription"}
    decimal = exact.format_scaled(body["_quantity"])
    return {**kept, "customer_account": None, "net_amount": body["amount"], "parent": parent, "pricing": pricing, "quantity_decimal": decimal}
