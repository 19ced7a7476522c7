"""The parameters of billing's own endpoints: test clocks, invoices, invoice items, credit notes."""

from __future__ import annotations

from infra.sandbox.params import Array, Boolean, Decimal, Enum, Hash, Integer, Param, Spec, String, Timestamp
from infra.sandbox.specs import EXPAND, FIRST_METADATA, ID, METADATA, PAGE

CLOCK_CREATE: Spec = {"frozen_time": Param(Timestamp(), required=True), "name": Param(String(300)), **EXPAND}
CLOCK_ADVANCE: Spec = {"frozen_time": Param(Timestamp(), required=True), **EXPAND}
CLOCK_LIST: Spec = PAGE

_CREATED = Param(Hash({name: Param(Integer(0)) for name in ("gt", "gte", "lt", "lte")}))
_STATUSES = ("draft", "open", "paid", "uncollectible", "void")
_COLLECTION = Param(Enum(("charge_automatically", "send_invoice")))
INVOICE_CREATE: Spec = {
    "customer": Param(ID, required=True),
    "auto_advance": Param(Boolean()),
    "collection_method": _COLLECTION,
    "currency": Param(String(3)),
    "days_until_due": Param(Integer(0)),
    "description": Param(String(1500)),
    "pending_invoice_items_behavior": Param(Enum(("exclude", "include"))),
    "subscription": Param(ID),
    **METADATA,
    **EXPAND,
}
INVOICE_UPDATE: Spec = {"auto_advance": Param(Boolean()), "description": Param(String(1500)), **METADATA, **EXPAND}
INVOICE_LIST: Spec = {
    "customer": Param(ID),
    "subscription": Param(ID),
    "status": Param(Enum(_STATUSES)),
    "collection_method": _COLLECTION,
    "created": _CREATED,
    **PAGE,
}
INVOICE_FINALIZE: Spec = {"auto_advance": Param(Boolean()), **EXPAND}
INVOICE_PAY: Spec = {
    "paid_out_of_band": Param(Boolean()),
    "payment_method": Param(ID),
    "off_session": Param(Boolean()),
    "forgive": Param(Boolean()),
    **EXPAND,
}
INVOICE_END: Spec = EXPAND
LINES: Spec = PAGE
UPCOMING: Spec = {"customer": Param(ID), "subscription": Param(ID), **EXPAND}
UPCOMING_LINES: Spec = {"customer": Param(ID), "subscription": Param(ID), **PAGE}
PREVIEW: Spec = {"customer": Param(ID), "subscription": Param(ID), **EXPAND}

_AMOUNT = Param(Integer(-(2**53), 2**53))
_ITEM_AMOUNTS: Spec = {
    "amount": _AMOUNT,
    "price": Param(ID),
    "pricing": Param(Hash({"price": Param(ID)})),
    "quantity": Param(Integer(0)),
    "quantity_decimal": Param(Decimal()),
    "unit_amount": _AMOUNT,
    "unit_amount_decimal": Param(Decimal(negative=True)),
    "description": Param(String(5000)),
    "discountable": Param(Boolean()),
    "period": Param(Hash({"start": Param(Timestamp(), required=True), "end": Param(Timestamp(), required=True)})),
}
INVOICE_ITEM_CREATE: Spec = {
    "customer": Param(ID, required=True),
    "currency": Param(String(3)),
    "invoice": Param(ID),
    "subscription": Param(ID),
    **_ITEM_AMOUNTS,
    **METADATA,
    **EXPAND,
}
INVOICE_ITEM_UPDATE: Spec = {**_ITEM_AMOUNTS, **METADATA, **EXPAND}
INVOICE_ITEM_LIST: Spec = {"customer": Param(ID), "invoice": Param(ID), "pending": Param(Boolean()), **PAGE}

_CREDITED_LINE: Spec = {
    "type": Param(Enum(("custom_line_item", "invoice_line_item")), required=True),
    "amount": Param(Integer(0)),
    "description": Param(String(5000)),
    "invoice_line_item": Param(ID),
    "quantity": Param(Integer(0)),
    "unit_amount": Param(Integer(0)),
    "unit_amount_decimal": Param(Decimal()),
}
_NOTE: Spec = {
    "invoice": Param(ID, required=True),
    "amount": Param(Integer(0)),
    "credit_amount": Param(Integer(0)),
    "lines": Param(Array(Hash(_CREDITED_LINE))),
    "memo": Param(String(5000)),
    "out_of_band_amount": Param(Integer(0)),
    "reason": Param(Enum(("duplicate", "fraudulent", "order_change", "product_unsatisfactory"))),
    "refund_amount": Param(Integer(0)),
    **FIRST_METADATA,
    **EXPAND,
}
CREDIT_NOTE_CREATE: Spec = _NOTE
CREDIT_NOTE_PREVIEW: Spec = _NOTE
CREDIT_NOTE_UPDATE: Spec = {"memo": Param(String(5000)), **FIRST_METADATA, **EXPAND}
CREDIT_NOTE_LIST: Spec = {"customer": Param(ID), "invoice": Param(ID), **PAGE}
