"""Handlers of credit notes.

Source: https://docs.stripe.com/api/credit_notes
"""

from __future__ import annotations

from infra.sandbox import catalog, credit_note_bodies, errors, invoice_bodies, invoicing, resources
from infra.sandbox.call import Call, Json, moment_of
from infra.sandbox.ids import new_id
from infra.sandbox.invoices import line_page
from infra.sandbox.moment import Moment
from infra.sandbox.paging import listed


def _new(call: Call, object_id: str) -> tuple[Moment, Json, Json]:
    """(moment, invoice, credit note): what the parameters ask for, not stored yet."""
    invoice = call.the("invoice", call.params["invoice"], param="invoice")
    moment = moment_of(call, invoice["customer"])
    standing = list(call.store.scan("credit_note", ref=invoice["id"]))
    credited = sum(each["amount"] for each in standing if each["status"] == "issued")
    number = f"{invoice['number']}-CN-{len(standing) + 1:02}"
    lines = invoice_bodies.lines_of(invoice)
    return moment, invoice, credit_note_bodies.opened(object_id, moment.now, invoice, lines, call.params, credited=credited, number=number)


def create_note(call: Call) -> Json:
    """POST /v1/credit_notes: an open invoice owes less, or is paid by it; of a paid one the customer's balance may get it"""
    moment, invoice, body = _new(call, new_id("cn"))
    call.store.put(body, parent=body["customer"], ref=invoice["id"])
    invoice["pre_payment_credit_notes_amount"] += body["pre_payment_amount"]
    invoice["post_payment_credit_notes_amount"] += body["post_payment_amount"]
    invoicing.put(moment, invoice, "updated")
    if body["_credit"]:
        customer = call.the("customer", body["customer"], param="customer")
        catalog.put_customer(call.store, {**customer, "balance": customer["balance"] - body["_credit"]})
    if invoice["status"] != invoice_bodies.PAID and invoice["_amount_due"] == invoice["pre_payment_credit_notes_amount"]:
        invoicing.settle(moment, invoice)
    moment.emit("credit_note.created", lambda version: credit_note_bodies.shaped(body, version))
    return credit_note_bodies.shaped(body, call.version)


def preview_note(call: Call) -> Json:
    """GET /v1/credit_notes/preview: what the same parameters would make"""
    return credit_note_bodies.shaped(_new(call, "cn_preview")[2], call.version)


def retrieve_note(call: Call) -> Json:
    """GET /v1/credit_notes/{id}"""
    return credit_note_bodies.shaped(call.addressed("credit_note", "id"), call.version)


def update_note(call: Call) -> Json:
    """POST /v1/credit_notes/{id}: memo and metadata"""
    body = resources.changed(call.addressed("credit_note", "id"), call.params, "memo")
    call.store.put(body, parent=body["customer"], ref=body["invoice"])
    return credit_note_bodies.shaped(body, call.version)


def void_note(call: Call) -> Json:
    """POST /v1/credit_notes/{id}/void: of an open invoice, which then owes the amount again"""
    body = call.addressed("credit_note", "id")
    invoice = call.the("invoice", body["invoice"], param="invoice")
    if body["status"] != "issued" or invoice["status"] != invoice_bodies.OPEN:
        raise errors.refused("You can only void issued credit notes of open invoices.", rule="credit_notes.void")
    moment = moment_of(call, body["customer"])
    invoice["pre_payment_credit_notes_amount"] -= body["pre_payment_amount"]
    invoicing.put(moment, invoice, "updated")
    body = {**body, "status": "void", "voided_at": moment.now}
    call.store.put(body, parent=body["customer"], ref=invoice["id"])
    moment.emit("credit_note.voided", lambda version: credit_note_bodies.shaped(body, version))
    return credit_note_bodies.shaped(body, call.version)


def list_notes(call: Call) -> Json:
    """GET /v1/credit_notes"""
    parent, ref = call.params.get("customer"), call.params.get("invoice")
    return listed(call, "credit_note", lambda body: credit_note_bodies.shaped(body, call.version), parent=parent, ref=ref)


def list_lines(call: Call) -> Json:
    """GET /v1/credit_notes/{id}/lines"""
    body = call.addressed("credit_note", "id")
    return line_page(call, [credit_note_bodies.line(each, call.version) for each in body["_lines"]], "credit_note_line_item")
