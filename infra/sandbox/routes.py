"""The URLs that the sandbox has, one row each: method, resource, what follows it, parameters, handler, and until which version."""

from __future__ import annotations

from urllib.parse import unquote

from infra.sandbox import billing, catalog, meter_events, meter_summaries, metering, meters, specs, specs_meters, subscription_items, versions
from infra.sandbox.endpoint import Endpoint, Key, crud
from infra.sandbox.routes_billing import BILLING, NAMED
from infra.sandbox.routes_events import EVENTS

ENDPOINTS: dict[Key, Endpoint] = {
    **BILLING,
    **EVENTS,
    **crud(
        "products",
        [
            ("POST", "create", specs.PRODUCT_CREATE, catalog.create_product),
            ("GET", "list", specs.PRODUCT_LIST, catalog.list_products),
            ("GET", "retrieve", specs.RETRIEVE, catalog.retrieve_product),
            ("POST", "update", specs.PRODUCT_UPDATE, catalog.update_product),
        ],
    ),
    **crud(
        "prices",
        [
            ("POST", "create", specs.PRICE_CREATE, catalog.create_price),
            ("GET", "list", specs.PRICE_LIST, catalog.list_prices),
            ("GET", "retrieve", specs.RETRIEVE, catalog.retrieve_price),
            ("POST", "update", specs.PRICE_UPDATE, catalog.update_price),
        ],
    ),
    **crud(
        "customers",
        [
            ("POST", "create", specs.CUSTOMER_CREATE, catalog.create_customer),
            ("GET", "list", specs.CUSTOMER_LIST, catalog.list_customers),
            ("GET", "retrieve", specs.RETRIEVE, catalog.retrieve_customer),
            ("POST", "update", specs.CUSTOMER_UPDATE, catalog.update_customer),
        ],
    ),
    **crud(
        "subscriptions",
        [
            ("POST", "create", specs.SUBSCRIPTION_CREATE, billing.create_subscription),
            ("GET", "list", specs.SUBSCRIPTION_LIST, billing.list_subscriptions),
            ("GET", "retrieve", specs.RETRIEVE, billing.retrieve_subscription),
            ("POST", "update", specs.SUBSCRIPTION_UPDATE, billing.update_subscription),
            ("DELETE", "cancel", specs.SUBSCRIPTION_CANCEL, billing.cancel_subscription),
        ],
    ),
    **crud(
        "subscription_items",
        [
            ("POST", "create", specs.ITEM_CREATE, subscription_items.create_item),
            ("GET", "list", specs.ITEM_LIST, subscription_items.list_items),
            ("GET", "retrieve", specs.RETRIEVE, subscription_items.retrieve_item),
            ("POST", "update", specs.ITEM_UPDATE, subscription_items.update_item),
            ("DELETE", "delete", specs.ITEM_DELETE, subscription_items.delete_item),
        ],
    ),
    ("POST", "subscription_items", 3, "usage_records"): Endpoint(
        "POST", "usage_records", "create", specs.USAGE_CREATE, metering.create_usage_record, legacy=True
    ),
    ("GET", "subscription_items", 3, "usage_record_summaries"): Endpoint(
        "GET", "usage_record_summaries", "list", specs.SUMMARY_LIST, metering.list_summaries, legacy=True
    ),
    **crud(
        "meters",
        [
            ("POST", "create", specs_meters.METER_CREATE, meters.create_meter),
            ("GET", "list", specs_meters.METER_LIST, meters.list_meters),
            ("GET", "retrieve", specs.RETRIEVE, meters.retrieve_meter),
            ("POST", "update", specs_meters.METER_UPDATE, meters.update_meter),
        ],
        under="billing/",
    ),
    ("POST", "billing/meters", 3, "deactivate"): Endpoint("POST", "meters", "deactivate", specs.RETRIEVE, meters.deactivate_meter),
    ("POST", "billing/meters", 3, "reactivate"): Endpoint("POST", "meters", "reactivate", specs.RETRIEVE, meters.reactivate_meter),
    ("GET", "billing/meters", 3, "event_summaries"): Endpoint(
        "GET", "meter_event_summaries", "list", specs_meters.SUMMARY_LIST, meter_summaries.list_summaries
    ),
    ("POST", "billing/meter_events", 1, ""): Endpoint(
        "POST", "meter_events", "create", specs_meters.EVENT_CREATE, meter_events.create_event, lock=meter_events.lock_of
    ),
    ("POST", "billing/meter_event_adjustments", 1, ""): Endpoint(
        "POST", "meter_event_adjustments", "create", specs_meters.ADJUSTMENT_CREATE, meter_events.create_adjustment
    ),
}


NAMESPACES = frozenset({"billing", "test_helpers"})
"""First parts of a URL that only group collections: `billing/meters` is a collection, `billing` is none."""


def route(method: str, path: str, version: str) -> tuple[Endpoint, str] | None:
    """The endpoint of a URL and the object id in it ("" for a collection), or None where this API version has no such URL."""
    head, _, rest = path.partition("/v1/")
    if path.startswith("/v2/core/"):
        head, rest = "", path[1:]
    parts = rest.split("/")
    if parts[0] == "v2":
        parts = ["/".join(parts[:3]), *parts[3:]]
    elif parts[0] in NAMESPACES:
        parts = ["/".join(parts[:2]), *parts[2:]]
    if head or not 1 <= len(parts) <= 3 or not all(parts):
        return None
    named = NAMED.get((method, rest))
    if named is not None:
        return None if named.legacy and versions.is_basil(version) else (named, "")
    endpoint = ENDPOINTS.get((method, parts[0], len(parts), parts[2] if len(parts) == 3 else ""))
    if endpoint is None or (endpoint.legacy and versions.is_basil(version)):
        return None
    return endpoint, unquote(parts[1]) if len(parts) > 1 else ""
