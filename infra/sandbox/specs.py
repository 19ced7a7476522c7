"""The parameters of every endpoint that the sandbox has: names and kinds as in Stripe's OpenAPI description (2023-08-16 and newer).

A parameter that Stripe has and the sandbox does not implement is refused as unknown: accepting it without its effect would be a lie.
"""

from __future__ import annotations

from infra.sandbox.params import Array, Boolean, Decimal, Enum, Hash, Integer, Metadata, Param, Spec, String, Timestamp, UpTo

ID = String(255)
EXPAND: Spec = {"expand": Param(Array(String(), 20))}
METADATA: Spec = {"metadata": Param(Metadata(), unsets=True)}
FIRST_METADATA: Spec = {"metadata": Param(Metadata())}
"""Of calls that only create: there an empty `metadata` has nothing to unset."""
PAGE: Spec = {"limit": Param(Integer(1, 100)), "starting_after": Param(ID), "ending_before": Param(ID), **EXPAND}
COUNT = Integer(0)

INTERVALS = ("day", "week", "month", "year")
AGGREGATES = ("sum", "last_during_period", "last_ever", "max")
STATUSES = ("active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid")

_PRORATION = Param(Enum(("always_invoice", "create_prorations", "none")))
_PAYMENT = Param(Enum(("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")))
_COLLECTION = Param(Enum(("charge_automatically", "send_invoice")))
_ITEM_THRESHOLDS = Param(Hash({"usage_gte": Param(Integer(1), required=True)}), unsets=True)
_THRESHOLDS = Param(Hash({"amount_gte": Param(Integer(1)), "reset_billing_cycle_anchor": Param(Boolean())}), unsets=True)
_OPTIONAL_TEXT = Param(String(), unsets=True)

PRODUCT_CREATE: Spec = {
    "name": Param(String(), required=True),
    "id": Param(ID),
    "active": Param(Boolean()),
    "description": Param(String()),
    "unit_label": Param(String(12)),
    **FIRST_METADATA,
    **EXPAND,
}
PRODUCT_UPDATE: Spec = {
    "name": Param(String()),
    "active": Param(Boolean()),
    "description": _OPTIONAL_TEXT,
    "unit_label": Param(String(12), unsets=True),
    **METADATA,
    **EXPAND,
}
PRODUCT_LIST: Spec = {"active": Param(Boolean()), "ids": Param(Array(ID)), **PAGE}

_RECURRING: Spec = {
    "interval": Param(Enum(INTERVALS), required=True),
    "interval_count": Param(Integer(1)),
    "usage_type": Param(Enum(("licensed", "metered"))),
    "aggregate_usage": Param(Enum(AGGREGATES)),
    "meter": Param(ID),
}
_PRODUCT_DATA: Spec = {
    "name": Param(String(), required=True),
    "id": Param(ID),
    "active": Param(Boolean()),
    "unit_label": Param(String(12)),
    **FIRST_METADATA,
}
_TIER: Spec = {
    "up_to": Param(UpTo(), required=True),
    "unit_amount": Param(Integer(0)),
    "unit_amount_decimal": Param(Decimal()),
    "flat_amount": Param(Integer(0)),
    "flat_amount_decimal": Param(Decimal()),
}
PRICE_CREATE: Spec = {
    "currency": Param(String(3), required=True),
    "product": Param(ID),
    "product_data": Param(Hash(_PRODUCT_DATA)),
    "unit_amount": Param(Integer(0)),
    "unit_amount_decimal": Param(Decimal()),
    "recurring": Param(Hash(_RECURRING)),
    "billing_scheme": Param(Enum(("per_unit", "tiered"))),
    "tiers": Param(Array(Hash(_TIER))),
    "tiers_mode": Param(Enum(("graduated", "volume"))),
    "transform_quantity": Param(Hash({"divide_by": Param(Integer(1), required=True), "round": Param(Enum(("down", "up")), required=True)})),
    "active": Param(Boolean()),
    "nickname": Param(String()),
    "lookup_key": Param(String(200)),
    "transfer_lookup_key": Param(Boolean()),
    "tax_behavior": Param(Enum(("exclusive", "inclusive", "unspecified"))),
    **FIRST_METADATA,
    **EXPAND,
}
PRICE_UPDATE: Spec = {
    "active": Param(Boolean()),
    "nickname": Param(String()),
    "lookup_key": Param(String(200)),
    "transfer_lookup_key": Param(Boolean()),
    **METADATA,
    **EXPAND,
}
PRICE_LIST: Spec = {
    "active": Param(Boolean()),
    "product": Param(ID),
    "type": Param(Enum(("one_time", "recurring"))),
    "currency": Param(String(3)),
    "lookup_keys": Param(Array(String(200), 10)),
    "recurring": Param(Hash({"interval": Param(Enum(INTERVALS)), "usage_type": Param(Enum(("licensed", "metered"))), "meter": Param(ID)})),
    **PAGE,
}

_INVOICE_SETTINGS = Param(Hash({"default_payment_method": Param(ID)}))
CUSTOMER_CREATE: Spec = {
    "email": Param(String(512)),
    "name": Param(String(256)),
    "description": Param(String()),
    "phone": Param(String(20)),
    "test_clock": Param(ID),
    "balance": Param(Integer(-(2**53), 2**53)),
    "invoice_settings": _INVOICE_SETTINGS,
    **METADATA,
    **EXPAND,
}
CUSTOMER_UPDATE: Spec = {
    "balance": Param(Integer(-(2**53), 2**53)),
    "invoice_settings": _INVOICE_SETTINGS,
    "email": Param(String(512)),
    "name": Param(String(256)),
    "description": Param(String()),
    "phone": Param(String(20)),
    **METADATA,
    **EXPAND,
}
CUSTOMER_LIST: Spec = {"email": Param(String(512)), "test_clock": Param(ID), **PAGE}

_NEW_ITEM: Spec = {
    "price": Param(ID, required=True),
    "quantity": Param(COUNT),
    "billing_thresholds": _ITEM_THRESHOLDS,
    **FIRST_METADATA,
}
_TRIAL_SETTINGS = Param(
    Hash(
        {
            "end_behavior": Param(
                Hash({"missing_payment_method": Param(Enum(("cancel", "create_invoice", "pause")), required=True)}), required=True
            )
        }
    )
)
_CHANGED_ITEM: Spec = {
    "id": Param(ID),
    "price": Param(ID),
    "quantity": Param(COUNT),
    "deleted": Param(Boolean()),
    "clear_usage": Param(Boolean()),
    "billing_thresholds": _ITEM_THRESHOLDS,
    **METADATA,
}
_PAUSE: Spec = {"behavior": Param(Enum(("keep_as_draft", "mark_uncollectible", "void")), required=True), "resumes_at": Param(Timestamp())}
BILLING_MODE: Spec = {"type": Param(Enum(("classic", "flexible")), required=True)}

SUBSCRIPTION_CREATE: Spec = {
    "customer": Param(ID, required=True),
    "items": Param(Array(Hash(_NEW_ITEM), 20), required=True),
    "backdate_start_date": Param(Timestamp()),
    "billing_cycle_anchor": Param(Timestamp()),
    "billing_thresholds": _THRESHOLDS,
    "billing_mode": Param(Hash(BILLING_MODE)),
    "cancel_at": Param(Timestamp()),
    "cancel_at_period_end": Param(Boolean()),
    "collection_method": _COLLECTION,
    "default_payment_method": Param(ID),
    "trial_end": Param(Timestamp(now=True)),
    "trial_period_days": Param(Integer(0, 730)),
    "trial_settings": _TRIAL_SETTINGS,
    "currency": Param(String(3)),
    "days_until_due": Param(COUNT),
    "description": Param(String(500)),
    "off_session": Param(Boolean()),
    "payment_behavior": _PAYMENT,
    "proration_behavior": _PRORATION,
    **METADATA,
    **EXPAND,
}
SUBSCRIPTION_UPDATE: Spec = {
    "items": Param(Array(Hash(_CHANGED_ITEM), 20)),
    "billing_cycle_anchor": Param(Enum(("now", "unchanged"))),
    "billing_thresholds": _THRESHOLDS,
    "cancel_at": Param(Timestamp(), unsets=True),
    "default_payment_method": Param(ID),
    "pause_collection": Param(Hash(_PAUSE), unsets=True),
    "proration_date": Param(Timestamp()),
    "trial_end": Param(Timestamp(now=True)),
    "trial_settings": _TRIAL_SETTINGS,
    "cancel_at_period_end": Param(Boolean()),
    "collection_method": _COLLECTION,
    "days_until_due": Param(COUNT),
    "description": Param(String(500), unsets=True),
    "payment_behavior": _PAYMENT,
    "proration_behavior": _PRORATION,
    **METADATA,
    **EXPAND,
}
SUBSCRIPTION_RESUME: Spec = {
    "billing_cycle_anchor": Param(Enum(("now", "unchanged"))),
    "proration_behavior": _PRORATION,
    "proration_date": Param(Timestamp()),
    **EXPAND,
}
SUBSCRIPTION_MIGRATE: Spec = {"billing_mode": Param(Hash({"type": Param(Enum(("flexible",)), required=True)}), required=True), **EXPAND}
_FEEDBACK = (
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)
_CANCELLATION: Spec = {"comment": Param(String(), unsets=True), "feedback": Param(Enum(_FEEDBACK))}
SUBSCRIPTION_CANCEL: Spec = {
    "cancellation_details": Param(Hash(_CANCELLATION)),
    "invoice_now": Param(Boolean()),
    "prorate": Param(Boolean()),
    **EXPAND,
}
SUBSCRIPTION_LIST: Spec = {
    "customer": Param(ID),
    "price": Param(ID),
    "status": Param(Enum(STATUSES)),
    "current_period_end": Param(Hash({name: Param(Timestamp()) for name in ("gt", "gte", "lt", "lte")})),
    "test_clock": Param(ID),
    **PAGE,
}

ITEM_CREATE: Spec = {
    "subscription": Param(ID, required=True),
    **_NEW_ITEM,
    "payment_behavior": _PAYMENT,
    "proration_behavior": _PRORATION,
    "proration_date": Param(Timestamp()),
    **EXPAND,
}
ITEM_UPDATE: Spec = {
    "price": Param(ID),
    "proration_date": Param(Timestamp()),
    "quantity": Param(COUNT),
    "billing_thresholds": _ITEM_THRESHOLDS,
    "payment_behavior": _PAYMENT,
    "proration_behavior": _PRORATION,
    **METADATA,
    **EXPAND,
}
ITEM_DELETE: Spec = {"clear_usage": Param(Boolean()), "proration_behavior": _PRORATION, "proration_date": Param(Timestamp())}
ITEM_LIST: Spec = {"subscription": Param(ID, required=True), **PAGE}

USAGE_CREATE: Spec = {
    "quantity": Param(COUNT, required=True),
    "timestamp": Param(Timestamp(now=True)),
    "action": Param(Enum(("increment", "set"))),
    **EXPAND,
}
SUMMARY_LIST: Spec = PAGE
RETRIEVE: Spec = EXPAND
NOTHING: Spec = {}
