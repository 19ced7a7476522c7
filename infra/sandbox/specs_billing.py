"""The parameters of billing's own endpoints: test clocks, invoices, invoice items, credit notes."""

from __future__ import annotations

from infra.sandbox.params import Boolean, Enum, Hash, Integer, Param, Spec, String, Timestamp
from infra.sandbox.specs import EXPAND, ID, METADATA, PAGE

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
