"""Handlers of invoice items: amounts that wait for a customer's next invoice, or stand on a draft.

Source: https://docs.stripe.com/api/invoiceitems
"""

from __future__ import annotations

from fractions import Fraction

from infra.sandbox import errors, invoice_bodies, invoice_item_bodies, invoice_lines, invoicing, pricing, resources, shapes_invoices
from infra.sandbox.call import Call, Json, moment_of
from infra.sandbox.ids import new_id
from infra.sandbox.paging import listed
from topics import quantity as exact
from topics.quantity import ONE


def _amounts(call: Call, standing: Json | None) -> Json:
    """Amount, quantity, price and unit price of an item, from the parameters or from what stands."""
    params = call.params
    price_id = params.get("price") or params.get("pricing", {}).get("price")
    if "quantity" in params and "quantity_decimal" in params:
        raise errors.refused("You may only specify one of `quantity` and `quantity_decimal`.", rule="invoiceitems.amount", param="quantity")
    quantity = standing["_quantity"] if standing else ONE
    if "quantity" in params:
        quantity = params["quantity"] * ONE
    elif "quantity_decimal" in params:
        quantity = exact.parse(params["quantity_decimal"])
    ways = [name for name in ("amount", "unit_amount", "unit_amount_decimal") if name in params] + (["price"] if price_id else [])
    if len(ways) > 1:
        raise errors.refused("You may only specify one of these parameters: " + ", ".join(ways), rule="invoiceitems.amount", param=ways[1])
    if "amount" in params:
        return _fields(params["amount"], ONE, None, str(params["amount"]))
    if price_id:
        return _of_price(call.the("price", price_id, param="price"), quantity)
    unit = params.get("unit_amount_decimal") or (str(params["unit_amount"]) if "unit_amount" in params else None)
    if unit is None and standing is None:
        raise errors.missing("amount")
    if unit is None and standing is not None:
        if standing["_price"] is not None:
            return _of_price(standing["_price"], quantity)
        unit = standing["_unit_amount_decimal"]
    return _fields(pricing.rounded(Fraction(quantity, ONE) * Fraction(unit or 0)), quantity, None, unit)


def _of_price(price: Json, quantity: int) -> Json:
    if price["recurring"] is not None:
        message = "The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`."
        raise errors.refused(message, rule="invoiceitems.price", param="price")
    charge = pricing.charges(price, quantity, tier_lines=False)[0]
    return _fields(charge.amount, quantity, price, charge.unit_amount_decimal)


def _fields(amount: int, quantity: int, price: Json | None, unit: str | None) -> Json:
    return {"amount": amount, "_quantity": quantity, "_price": price, "_unit_amount_decimal": unit}


def create_item(call: Call) -> Json:
    """POST /v1/invoiceitems: pending, or at once on the draft that it names"""
    params = call.params
    customer = call.the("customer", params["customer"], param="customer")
    moment = moment_of(call, customer["id"])
    if "subscription" in params:
        call.the("subscription", params["subscription"], param="subscription")
    found = _amounts(call, None)
    currency = found["_price"]["currency"] if found["_price"] else params.get("currency", "usd").lower()
    period = params.get("period", {"start": moment.now, "end": moment.now})
    body = invoice_item_bodies.opened(
        new_id("ii"), moment.now, customer, currency=currency, amount=found["amount"], quantity=found["_quantity"],
        unit_amount_decimal=found["_unit_amount_decimal"], period=(period["start"], period["end"]), price=found["_price"],
        subscription=params.get("subscription"), description=params.get("description"),
        metadata=resources.merged_metadata({}, params.get("metadata")),
    )  # fmt: skip
    body["discountable"] = params.get("discountable", True)
    if "invoice" in params:
        invoice = call.the("invoice", params["invoice"], param="invoice")
        if invoice["customer"] != customer["id"] or invoice["status"] != invoice_bodies.DRAFT or invoice["currency"] != currency:
            message = "An invoice item can only be added to a draft of the same customer and currency."
            raise errors.refused(message, rule="invoiceitems.invoice", param="invoice")
        body["invoice"] = invoice["id"]
        lines = [*invoice_bodies.lines_of(invoice), invoice_lines.item_line(body)]
        invoicing.put(moment, invoice_bodies.with_lines(invoice, lines), "updated")
    return _put(call, body, "created")


def _put(call: Call, body: Json, event: str | None = None) -> Json:
    call.store.put(body, parent=body["customer"], ref=body["invoice"] or invoicing.PENDING)
    if event is not None:
        moment_of(call, body["customer"]).emit(f"invoiceitem.{event}", lambda version: shapes_invoices.invoice_item(body, version))
    return shapes_invoices.invoice_item(body, call.version)


def retrieve_item(call: Call) -> Json:
    """GET /v1/invoiceitems/{id}"""
    return shapes_invoices.invoice_item(call.addressed("invoiceitem", "invoiceitem"), call.version)


def _draft_of(call: Call, body: Json) -> Json | None:
    """The draft that an item stands on; on a final invoice nothing can be changed."""
    invoice = None if body["invoice"] is None else call.the("invoice", body["invoice"], param="invoice")
    if invoice is not None and invoice["status"] != invoice_bodies.DRAFT:
        message = "The invoice item is attached to an invoice that is not a draft, so it can no longer be changed."
        raise errors.refused(message, rule="invoiceitems.final")
    return invoice


def update_item(call: Call) -> Json:
    """POST /v1/invoiceitems/{id}"""
    body = call.addressed("invoiceitem", "invoiceitem")
    invoice = _draft_of(call, body)
    body = resources.changed(body, call.params, "description", "discountable", "period")
    if {"amount", "price", "pricing", "quantity", "quantity_decimal", "unit_amount", "unit_amount_decimal"} & set(call.params):
        body |= _amounts(call, body)
    if invoice is not None:
        _replace(call, invoice, body["id"], body)
    return _put(call, body)


def _replace(call: Call, invoice: Json, item_id: str, body: Json | None) -> None:
    """The draft with the item's line as the item now is, or without it."""
    lines = [each for each in invoice_bodies.lines_of(invoice) if each.invoice_item != item_id]
    if body is not None:
        lines.append(invoice_lines.item_line(body))
    invoicing.put(moment_of(call, invoice["customer"]), invoice_bodies.with_lines(invoice, lines), "updated")


def delete_item(call: Call) -> Json:
    """DELETE /v1/invoiceitems/{id}: while it is pending or on a draft"""
    body = call.addressed("invoiceitem", "invoiceitem")
    invoice = _draft_of(call, body)
    if invoice is not None:
        _replace(call, invoice, body["id"], None)
    call.store.delete(body["id"])
    return {"id": body["id"], "object": "invoiceitem", "deleted": True}


def list_items(call: Call) -> Json:
    """GET /v1/invoiceitems"""
    params = call.params
    pending = params.get("pending")

    def keep(body: Json) -> bool:
        if body["test_clock"] is not None and not {"customer", "invoice"} & set(params):
            return False
        return pending is None or pending == (body["invoice"] is None)

    shape = shapes_invoices.invoice_item
    return listed(
        call, "invoiceitem", lambda body: shape(body, call.version), parent=params.get("customer"), ref=params.get("invoice"), keep=keep
    )
