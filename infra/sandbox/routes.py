"""The URLs that the sandbox has, one row each: method, resource, what follows it, parameters, handler, and until which version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from infra.sandbox import billing, catalog, metering, specs, versions
from infra.sandbox.call import Call, Json
from infra.sandbox.params import Spec

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

    @property
    def name(self) -> str:
        """`resource.action`, as the call counters show it."""
        return f"{self.resource}.{self.action}"


def _crud(resource: str, rows: list[tuple[str, str, Spec, Handler]]) -> dict[tuple[str, str, int, str], Endpoint]:
    """Keys are (method, collection, number of path parts after /v1, sub-collection)."""
    table = {}
    for method, action, spec, handler in rows:
        parts = 1 if action in {"create", "list"} else 2
        table[method, resource, parts, ""] = Endpoint(method, resource, action, spec, handler)
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
