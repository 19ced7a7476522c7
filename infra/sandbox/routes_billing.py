"""The URLs of billing's own resources: test clocks, invoices, invoice items, credit notes."""

from __future__ import annotations

from infra.sandbox import billing, clocks, credit_notes, invoice_items, invoices, specs, specs_billing
from infra.sandbox.endpoint import Endpoint, Key, crud

BILLING: dict[Key, Endpoint] = {
    **crud(
        "test_clocks",
        [
            ("POST", "create", specs_billing.CLOCK_CREATE, clocks.create_clock),
            ("GET", "list", specs_billing.CLOCK_LIST, clocks.list_clocks),
            ("GET", "retrieve", specs.RETRIEVE, clocks.retrieve_clock),
            ("DELETE", "delete", specs.NOTHING, clocks.delete_clock),
        ],
        under="test_helpers/",
    ),
    ("POST", "test_helpers/test_clocks", 3, "advance"): Endpoint(
        "POST", "test_clocks", "advance", specs_billing.CLOCK_ADVANCE, clocks.advance_clock
    ),
    ("POST", "subscriptions", 3, "resume"): Endpoint(
        "POST", "subscriptions", "resume", specs.SUBSCRIPTION_RESUME, billing.resume_subscription
    ),
    ("POST", "subscriptions", 3, "migrate"): Endpoint(
        "POST", "subscriptions", "migrate", specs.SUBSCRIPTION_MIGRATE, billing.migrate_subscription
    ),
    **crud(
        "invoices",
        [
            ("POST", "create", specs_billing.INVOICE_CREATE, invoices.create_invoice),
            ("GET", "list", specs_billing.INVOICE_LIST, invoices.list_invoices),
            ("GET", "retrieve", specs.RETRIEVE, invoices.retrieve_invoice),
            ("POST", "update", specs_billing.INVOICE_UPDATE, invoices.update_invoice),
            ("DELETE", "delete", specs.NOTHING, invoices.delete_invoice),
        ],
    ),
    ("POST", "invoices", 3, "finalize"): Endpoint("POST", "invoices", "finalize", specs_billing.INVOICE_FINALIZE, invoices.finalize_invoice),
    ("POST", "invoices", 3, "pay"): Endpoint("POST", "invoices", "pay", specs_billing.INVOICE_PAY, invoices.pay_invoice),
    ("POST", "invoices", 3, "void"): Endpoint("POST", "invoices", "void", specs_billing.INVOICE_END, invoices.void_invoice),
    ("POST", "invoices", 3, "mark_uncollectible"): Endpoint(
        "POST", "invoices", "mark_uncollectible", specs_billing.INVOICE_END, invoices.give_up_invoice
    ),
    **crud(
        "invoiceitems",
        [
            ("POST", "create", specs_billing.INVOICE_ITEM_CREATE, invoice_items.create_item),
            ("GET", "list", specs_billing.INVOICE_ITEM_LIST, invoice_items.list_items),
            ("GET", "retrieve", specs.RETRIEVE, invoice_items.retrieve_item),
            ("POST", "update", specs_billing.INVOICE_ITEM_UPDATE, invoice_items.update_item),
            ("DELETE", "delete", specs.NOTHING, invoice_items.delete_item),
        ],
    ),
    **crud(
        "credit_notes",
        [
            ("POST", "create", specs_billing.CREDIT_NOTE_CREATE, credit_notes.create_note),
            ("GET", "list", specs_billing.CREDIT_NOTE_LIST, credit_notes.list_notes),
            ("GET", "retrieve", specs.RETRIEVE, credit_notes.retrieve_note),
            ("POST", "update", specs_billing.CREDIT_NOTE_UPDATE, credit_notes.update_note),
        ],
    ),
    ("POST", "credit_notes", 3, "void"): Endpoint("POST", "credit_notes", "void", specs.RETRIEVE, credit_notes.void_note),
    ("GET", "credit_notes", 3, "lines"): Endpoint("GET", "credit_notes", "lines", specs_billing.LINES, credit_notes.list_lines),
    ("GET", "invoices", 3, "lines"): Endpoint("GET", "invoices", "lines", specs_billing.LINES, invoices.list_lines),
}

NAMED: dict[tuple[str, str], Endpoint] = {
    ("GET", "invoices/upcoming"): Endpoint("GET", "invoices", "upcoming", specs_billing.UPCOMING, invoices.preview_invoice, legacy=True),
    ("GET", "invoices/upcoming/lines"): Endpoint(
        "GET", "invoices", "upcoming_lines", specs_billing.UPCOMING_LINES, invoices.preview_lines, legacy=True
    ),
    ("GET", "credit_notes/preview"): Endpoint(
        "GET", "credit_notes", "preview", specs_billing.CREDIT_NOTE_PREVIEW, credit_notes.preview_note
    ),
    ("POST", "invoices/create_preview"): Endpoint("POST", "invoices", "create_preview", specs_billing.PREVIEW, invoices.preview_invoice),
}
"""URLs in which a word stands where other URLs have an id."""
