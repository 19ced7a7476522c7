"""The URLs that the sandbox has, one row each: method, resource, what follows it, parameters, handler, and until which version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from infra.sandbox import billing, catalog, meter_events, meter_summaries, metering, meters, specs, specs_meters, versions
from infra.sandbox.call import Call, Json
from infra.sandbox.params import Spec
from infra.sandbox.store import Store

Handler = Callable[[Call], Json]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `resource` is what limits, faults and counters go by; `legacy` ends with 2025-03-31.basil."""

    method: str
    resource: str
    action: str
    spec: Spec
    handler: Handler
    legacy: bool = False
    lock: Callable[[Store, Json], str | None] | None = None
    """What only one call at a time may hold, by the call's parameters; None holds nothing."""

    @property
    def name(self) -> str:
        """`resource.action`, as the call counters show it."""
        return f"{self.resource}.{self.action}"


def _crud(resource: str, rows: list[tuple[str, str, Spec, Handler]], *, under: str = "") -> dict[tuple[str, str, int, str], Endpoint]:
    """Keys are (method, collection with its namespace `under`, number of path parts from the collection on, sub-collection)."""
    table = {}
    for method, action, spec, handler in rows:
        parts = 1 if action in {"create", "list"} else 2
        table[method, under + resource, parts, ""] = Endpoint(method, resource, action, spec, handler)
    return table


ENDPOINTS: dict[tuple[str, str, int, str], Endpoint] = {
    **_crud(
        "products",
        [
            ("POST", "create", specs.PRODUCT_CREATE, catalog.create_product),
            ("GET", "list", specs.PRODUCT_LIST, catalog.list_products),
            ("GET", "retrieve", specs.RETRIEVE, catalog.retrieve_product),
            ("POST", "update", specs.PRODUCT_UPDATE, catalog.update_product),
        ],
    ),
    **_crud(
        "prices",
        [
            ("POST", "create", specs.PRICE_CREATE, catalog.create_price),
            ("GET", "list", specs.PRICE_LIST, catalog.list_prices),
            ("GET", "retrieve", specs.RETRIEVE, catalog.retrieve_price),
            ("POST", "update", specs.PRICE_UPDATE, catalog.update_price),
        ],
    ),
    **_crud(
        "customers",
        [
            ("POST", "create", specs.CUSTOMER_CREATE, catalog.create_customer),
            ("GET", "list", specs.CUSTOMER_LIST, catalog.list_customers),
            ("GET", "retrieve", specs.RETRIEVE, catalog.retrieve_customer),
            ("POST", "update", specs.CUSTOMER_UPDATE, catalog.update_customer),
        ],
    ),
    **_crud(
        "subscriptions",
        [
            ("POST", "create", specs.SUBSCRIPTION_CREATE, billing.create_subscription),
            ("GET", "list", specs.SUBSCRIPTION_LIST, billing.list_subscriptions),
            ("GET", "retrieve", specs.RETRIEVE, billing.retrieve_subscription),
            ("POST", "update", specs.SUBSCRIPTION_UPDATE, billing.update_subscription),
            ("DELETE", "cancel", specs.SUBSCRIPTION_CANCEL, billing.cancel_subscription),
        ],
    ),
    **_crud(
        "subscription_items",
        [
            ("POST", "create", specs.ITEM_CREATE, billing.create_item),
            ("GET", "list", specs.ITEM_LIST, billing.list_items),
            ("GET", "retrieve", specs.RETRIEVE, billing.retrieve_item),
            ("POST", "update", specs.ITEM_UPDATE, billing.update_item),
            ("DELETE", "delete", specs.ITEM_DELETE, billing.delete_item),
        ],
    ),
    ("POST", "subscription_items", 3, "usage_records"): Endpoint(
        "POST", "usage_records", "create", specs.USAGE_CREATE, metering.create_usage_record, legacy=True
    ),
    ("GET", "subscription_items", 3, "usage_record_summaries"): Endpoint(
        "GET", "usage_record_summaries", "list", specs.SUMMARY_LIST, metering.list_summaries, legacy=True
    ),
    **_crud(
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
    parts = rest.split("/")
    if parts[0] in NAMESPACES:
        parts = ["/".join(parts[:2]), *parts[2:]]
    if head or not 1 <= len(parts) <= 3 or not all(parts):
        return None
    endpoint = ENDPOINTS.get((method, parts[0], len(parts), parts[2] if len(parts) == 3 else ""))
    if endpoint is None or (endpoint.legacy and versions.is_basil(version)):
        return None
    return endpoint, unquote(parts[1]) if len(parts) > 1 else ""
