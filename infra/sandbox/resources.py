"""New and changed objects, as the sandbox stores them: Stripe's field names, without what depends on the clock or the API version."""

from __future__ import annotations

from typing import Any

from infra.sandbox import errors, periods, price_amounts

Json = dict[str, Any]


def merged_metadata(standing: dict[str, str], change: dict[str, str] | None) -> dict[str, str]:
    """Metadata after an update: entries are merged, an empty value removes its key, None (an empty parameter) removes all."""
    if change is None:
        return {}
    merged = {**standing, **change}
    return {key: value for key, value in merged.items() if value}


def changed(standing: Json, params: Json, *fields: str) -> Json:
    """A copy of an object with the given fields taken from the parameters where present, metadata merged."""
    body = {**standing, **{name: params[name] for name in fields if name in params}}
    if "metadata" in params:
        body["metadata"] = merged_metadata(standing["metadata"], params["metadata"])
    return body


def product(object_id: str, now: int, params: Json) -> Json:
    """A new product."""
    return {
        "id": object_id,
        "object": "product",
        "active": params.get("active", True),
        "created": now,
        "default_price": None,
        "description": params.get("description"),
        "features": [],
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": merged_metadata({}, params.get("metadata")),
        "name": params["name"],
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": params.get("unit_label"),
        "updated": now,
        "url": None,
    }


def price(object_id: str, now: int, params: Json, product_id: str) -> Json:
    """A new price: one-time, or recurring and then licensed or metered."""
    currency = params["currency"].lower()
    if len(currency) != 3 or not currency.isalpha():
        raise errors.wrong_shape("currency", "a three-letter ISO currency code")
    scheme = params.get("billing_scheme", "per_unit")
    unit_amount, unit_amount_decimal = price_amounts.single(params) if scheme == "per_unit" else (None, None)
    tiers = price_amounts.tiers(params) if scheme == "tiered" else None
    return {
        "id": object_id,
        "object": "price",
        "active": params.get("active", True),
        "billing_scheme": scheme,
        "created": now,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": params.get("lookup_key"),
        "metadata": merged_metadata({}, params.get("metadata")),
        "nickname": params.get("nickname"),
        "product": product_id,
        "recurring": _recurring(params["recurring"]) if "recurring" in params else None,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "tiers": tiers,
        "tiers_mode": params["tiers_mode"] if tiers else None,
        "transform_quantity": params.get("transform_quantity"),
        "type": "recurring" if "recurring" in params else "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": unit_amount_decimal,
    }


def _recurring(params: Json) -> Json:
    count = params.get("interval_count", 1)
    if count > periods.LONGEST[params["interval"]]:
        raise errors.refused("The maximum interval is three years.", rule="prices.interval", param="recurring[interval_count]")
    metered = params.get("usage_type", "licensed") == "metered"
    if not metered and ("aggregate_usage" in params or "meter" in params):
        name = "aggregate_usage" if "aggregate_usage" in params else "meter"
        message = f"`recurring[{name}]` can only be set for prices with `usage_type=metered`."
        raise errors.refused(message, rule="prices.metered_only", param=f"recurring[{name}]")
    on_meter = params.get("meter") is not None
    return {
        "aggregate_usage": params.get("aggregate_usage", "sum") if metered and not on_meter else None,
        "interval": params["interval"],
        "interval_count": count,
        "meter": params.get("meter"),
        "trial_period_days": None,
        "usage_type": "metered" if metered else "licensed",
    }


def customer(object_id: str, now: int, params: Json) -> Json:
    """A new customer."""
    return {
        "id": object_id,
        "object": "customer",
        "address": None,
        "balance": params.get("balance", 0),
        "created": now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": params.get("description"),
        "discount": None,
        "email": params.get("email"),
        "invoice_prefix": object_id[-8:].upper(),
        "invoice_settings": invoice_settings(params),
        "livemode": False,
        "metadata": merged_metadata({}, params.get("metadata")),
        "name": params.get("name"),
        "next_invoice_sequence": 1,
        "phone": params.get("phone"),
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": params.get("test_clock"),
    }


def invoice_settings(params: Json) -> Json:
    """How a customer's invoices are paid."""
    method = params.get("invoice_settings", {}).get("default_payment_method")
    return {"custom_fields": None, "default_payment_method": method, "footer": None, "rendering_options": None}


def item(object_id: str, now: int, params: Json, subscription_id: str, of_price: Json) -> Json:
    """A new subscription item; a licensed one has a quantity (1 by default), a metered one has none."""
    metered = of_price["recurring"]["usage_type"] == "metered"
    if metered and "quantity" in params:
        raise errors.refused("You cannot set the quantity for metered plans", rule="items.quantity", param="quantity")
    body: Json = {
        "id": object_id,
        "object": "subscription_item",
        "billing_thresholds": params.get("billing_thresholds"),
        "created": now,
        "discounts": [],
        "metadata": merged_metadata({}, params.get("metadata")),
        "price": of_price["id"],
        "subscription": subscription_id,
        "tax_rates": [],
    }
    if not metered:
        body["quantity"] = params.get("quantity", 1)
    return body
