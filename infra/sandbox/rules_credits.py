"""The rules of invoice items and credit notes: what is charged or given back outside of a subscription's own lines."""

from __future__ import annotations

from infra.sandbox.rule import assumed, documented

ITEMS = "https://docs.stripe.com/api/invoiceitems"
NOTES = "https://docs.stripe.com/api/credit_notes"
ISSUING = "https://docs.stripe.com/invoicing/integration/programmatic-credit-notes"

CREDIT_RULES = (
    documented("invoiceitems.amount", "an amount, or a quantity of a price or of a unit amount; negative amounts are credits", ITEMS),
    documented("invoiceitems.price", "its price is a one-time price", ITEMS),
    documented("invoiceitems.invoice", "it is pending, or stands on the draft that it names, of the same customer and currency", ITEMS),
    documented("invoiceitems.final", "it is changed or deleted only while it is pending or on a draft", ITEMS),
    documented("credit_notes.invoice", "only a final invoice that is not void has credit notes", ISSUING),
    documented("credit_notes.amount", "of an invoice and of each of its lines no more is given back than it came to", ISSUING),
    documented("credit_notes.open", "of an open invoice less is owed; with nothing left it is paid", ISSUING),
    documented("credit_notes.split", "after the payment it goes to the balance, back to the card or out of band, in full", NOTES),
    documented("credit_notes.void", "a credit note of an open invoice can be voided", ISSUING),
    assumed("credit_notes.no_tax", "no taxes, no shipping, no refund objects", "the sandbox moves no money"),
)
