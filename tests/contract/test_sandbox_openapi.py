"""The sandbox's answers and parameters against fragments of Stripe's published OpenAPI description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.endpoint import Endpoint
from infra.sandbox.knobs import NEWEST_VERSION
from infra.sandbox.params import Array, Boolean, Decimal, Enum, Hash, Integer, Metadata, Param, Spec, String, Timestamp, UpTo
from infra.sandbox.routes import ENDPOINTS
from infra.sandbox.routes_billing import NAMED
from tests.contract.openapi_subset import FOLDER, Description
from tests.contract.sandbox_driver import Driver

SUBSCRIPTIONS = "openapi-subscriptions-2023-08-16.json"
METERS = "openapi-billing-meters-2026-09-30.json"
USAGE = "openapi-usage-records-2023-08-16.json"
OLD_FIXTURES = "openapi-fixtures-2025-02-14-with-usage-records.json"
NEW_FIXTURES = "openapi-fixtures-2026-07-29.json"

pytestmark = pytest.mark.skipif(not (FOLDER / SUBSCRIPTIONS).exists(), reason="no OpenAPI fragments in ../shared/openapi")

PATHS = {
    ("products", 2): "/v1/products/{id}",
    ("prices", 2): "/v1/prices/{price}",
    ("customers", 2): "/v1/customers/{customer}",
    ("subscriptions", 2): "/v1/subscriptions/{subscription_exposed_id}",
    ("subscription_items", 2): "/v1/subscription_items/{item}",
}
DESCRIBED = "2023-08-16"
NEWER = {"prices": {"recurring": {"meter"}}, "subscriptions": {"billing_mode"}}
"""Parameters that came after it."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A sandbox that holds one of everything."""
    with Driver(tmp_path) as driver:
        driver.made("/v1/products", {"name": "x"})
        _, item = driver.subscribed(driver.metered_price())
        driver.use(item, quantity=5)
        licensed = {"currency": "usd", "unit_amount_decimal": "0.5", "product_data[name]": "y", "recurring[interval]": "day"}
        driver.subscribed(driver.made("/v1/prices", licensed)["id"])
        yield driver


def _item(sandbox: Driver) -> str:
    return str(next(iter(sandbox.store.items_with_cells())))


@pytest.mark.parametrize("kind", ["product", "price", "customer", "subscription"])
def test_objects_have_the_described_shape(sandbox: Driver, kind: str) -> None:
    """Every object has all required fields of the description, each of its type, in lists and alone."""
    description = Description(SUBSCRIPTIONS)
    listed = sandbox.get(f"/v1/{kind}s", stripe_version=DESCRIBED).json
    assert listed["data"]
    for body in [*listed["data"], sandbox.get(f"/v1/{kind}s/{listed['data'][0]['id']}", stripe_version=DESCRIBED).json]:
        assert description.faults(description.schema(kind), body) == []


def test_lists_have_the_described_envelope(sandbox: Driver) -> None:
    """The list envelopes match the responses of the described operations."""
    description = Description(SUBSCRIPTIONS)
    for resource in ("products", "prices", "customers", "subscriptions"):
        operation = description.operation("GET", f"/v1/{resource}")
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert description.faults(schema, sandbox.get(f"/v1/{resource}", stripe_version=DESCRIBED).json) == []


def test_items_and_deletions_have_the_described_shape(sandbox: Driver) -> None:
    """Subscription items match the description, and so does the answer to a deletion."""
    description = Description(SUBSCRIPTIONS)
    item = sandbox.get(f"/v1/subscription_items/{_item(sandbox)}").json
    assert description.faults(description.schema("subscription_item"), item) == []
    sandbox.made("/v1/subscription_items", {"subscription": item["subscription"], "price": sandbox.metered_price()})
    gone = sandbox.call("DELETE", f"/v1/subscription_items/{item['id']}", {"clear_usage": "true"}).json
    assert description.faults(description.schema("deleted_subscription_item"), gone) == []


def test_usage_has_the_described_shape(sandbox: Driver) -> None:
    """Usage records, their summaries and an error match the description and have exactly its fields."""
    description = Description(USAGE)
    record = sandbox.use(_item(sandbox), quantity=1).json
    page = sandbox.get(f"/v1/subscription_items/{_item(sandbox)}/usage_record_summaries").json
    operation = description.operation("GET", "/v1/subscription_items/{subscription_item}/usage_record_summaries")
    assert description.faults(description.schema("usage_record"), record) == []
    assert description.faults(operation["responses"]["200"]["content"]["application/json"]["schema"], page) == []
    assert set(record) == set(description.schema("usage_record")["properties"])
    assert set(page["data"][0]) == set(description.schema("usage_record_summary")["properties"])
    refused = sandbox.use("si_none", quantity=1).json
    assert description.faults(description.schema("error"), refused) == []
    assert description.faults(description.schema("error"), sandbox.use(_item(sandbox), quantity="x").json) == []


@pytest.mark.parametrize("kind", ["subscription", "subscription_item", "price"])
def test_the_eras_have_their_fields(sandbox: Driver, kind: str) -> None:
    """Against real answers of both eras: no field that the era lacks, and the era's period and aggregate fields are there."""
    for fixtures, version in ((OLD_FIXTURES, "2025-02-24.acacia"), (NEW_FIXTURES, NEWEST_VERSION)):
        real = json.loads((FOLDER / fixtures).read_text(encoding="utf-8"))["resources"][kind]
        item = sandbox.get(f"/v1/subscription_items/{_item(sandbox)}", stripe_version=version).json
        subscription = sandbox.get(f"/v1/subscriptions/{item['subscription']}", stripe_version=version).json
        body = {"subscription": subscription, "subscription_item": item, "price": item["price"]}[kind]
        assert set(body) - set(real) <= {"default_source", "discount", "quantity"}, (kind, version)
        for field in {"current_period_start", "current_period_end", "recurring"} & set(real):
            assert field in body, (kind, version)
        if kind == "price":
            assert set(body["recurring"]) == set(real["recurring"])


def test_invoices_have_the_described_shape(sandbox: Driver) -> None:
    """Invoices, previews and lines match the description, and in both eras have no field that real answers of the era lack."""
    description = Description(SUBSCRIPTIONS)
    subscription = sandbox.get("/v1/subscriptions").json["data"][0]["id"]
    listed = sandbox.get("/v1/invoices", stripe_version=DESCRIBED).json["data"]
    preview = sandbox.get("/v1/invoices/upcoming", {"subscription": subscription}, stripe_version=DESCRIBED).json
    assert listed
    for body in [*listed, preview]:
        assert description.faults(description.schema("invoice"), body) == []
        for line in body["lines"]["data"]:
            assert description.faults(description.schema("line_item"), line) == []
    for fixtures, version in ((OLD_FIXTURES, "2025-02-24.acacia"), (NEW_FIXTURES, NEWEST_VERSION)):
        real = json.loads((FOLDER / fixtures).read_text(encoding="utf-8"))["resources"]
        for body in sandbox.get("/v1/invoices", stripe_version=version).json["data"]:
            assert set(body) - set(real["invoice"]) == set(), version
            assert set(real["invoice"]) - set(body) <= {"subscription"}, version
            for line in body["lines"]["data"]:
                assert set(line) - set(real["line_item"]) <= {"subscription_item"}, version
                assert set(real["line_item"]) - set(line) <= {"invoice_item"}, version


def test_meters_have_the_described_shape(sandbox: Driver) -> None:
    """Meters, events, adjustments, summaries and their lists match the description, and have exactly its fields."""
    description = Description(METERS)
    customer = sandbox.made("/v1/customers", {})["id"]
    meter = sandbox.meter(event_time_window="hour")
    deactivated = sandbox.made(f"/v1/billing/meters/{sandbox.meter('other')}/deactivate", {})
    event = sandbox.emit(customer, "1.5", identifier="a").json
    adjustment = sandbox.made("/v1/billing/meter_event_adjustments", {"event_name": "calls", "type": "cancel", "cancel[identifier]": "a"})
    start = sandbox.now // 3600 * 3600
    params = {"customer": customer, "start_time": start, "end_time": start + 7200, "value_grouping_window": "hour"}
    sandbox.emit(customer, "2.5")
    summaries = sandbox.get(f"/v1/billing/meters/{meter}/event_summaries", params).json
    listed = sandbox.get("/v1/billing/meters").json
    bodies = {"meter": [*listed["data"], deactivated], "meter_event": [event], "meter_event_adjustment": [adjustment]}
    for kind, found in {**bodies, "meter_event_summary": summaries["data"]}.items():
        schema = description.schema(f"billing.{kind}")
        for body in found:
            assert description.faults(schema, body) == []
            assert set(body) == set(schema["properties"])
    for path, page in (("/v1/billing/meters", listed), ("/v1/billing/meters/{id}/event_summaries", summaries)):
        schema = description.operation("GET", path)["responses"]["200"]["content"]["application/json"]["schema"]
        assert description.faults(schema, page) == []


def _described(endpoint: Endpoint, key: tuple[str, str, int, str]) -> Any:
    _, collection, parts, sub_collection = key
    if collection.startswith("billing/"):
        tail = "/{id}" * (parts > 1) + f"/{sub_collection}" * (parts > 2)
        return Description(METERS).parameters(endpoint.method, f"/v1/{collection}{tail}")
    if collection.startswith("test_helpers/"):
        return _of_clock(endpoint, parts)
    if endpoint.legacy:
        return Description(USAGE).parameters(endpoint.method, f"/v1/subscription_items/{{subscription_item}}/{endpoint.resource}")
    if endpoint.action == "lines":
        return Description(SUBSCRIPTIONS).parameters("GET", "/v1/invoices/{invoice}/lines")
    path = PATHS.get((endpoint.resource, parts), f"/v1/{endpoint.resource}")
    if endpoint.method == "DELETE":
        return Description(SUBSCRIPTIONS).operation("DELETE", path)["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    return Description(SUBSCRIPTIONS).parameters(endpoint.method, path)


def _of_clock(endpoint: Endpoint, parts: int) -> Any:
    path = "/v1/test_helpers/test_clocks" + "/{test_clock}" * (parts > 1) + "/advance" * (parts > 2)
    return {} if endpoint.method == "DELETE" else Description(SUBSCRIPTIONS).parameters(endpoint.method, path)


UNDESCRIBED = frozenset(
    {"invoices", "invoiceitems", "credit_notes", "subscriptions.resume", "subscriptions.migrate", "events", "webhook_endpoints", "event_destinations"}
)
"""Resources and endpoints that the fragments leave out, but for an invoice's lines."""


def _is_described(endpoint: Endpoint) -> bool:
    return (endpoint.resource, endpoint.action) == ("invoices", "lines") or not {endpoint.resource, endpoint.name} & UNDESCRIBED


ROWS = [pytest.param(endpoint, key, id=endpoint.name) for key, endpoint in ENDPOINTS.items() if _is_described(endpoint)]


@pytest.mark.parametrize(("endpoint", "key"), ROWS)
def test_parameters_are_described_ones(endpoint: Endpoint, key: tuple[str, str, int, str]) -> None:
    """The sandbox takes no parameter that Stripe does not describe, requires what Stripe requires, and reads it as the same type."""
    described = _described(endpoint, key)
    assert _differences(endpoint.spec, described, NEWER.get(endpoint.resource, {}), endpoint.name) == []
    for name in described.get("required", []):
        assert endpoint.spec[name].required, name


@pytest.mark.parametrize("url", ["invoices/upcoming", "invoices/upcoming/lines"])
def test_previews_take_described_parameters(url: str) -> None:
    """A preview before basil takes no parameter that Stripe does not describe."""
    endpoint = NAMED["GET", url]
    assert _differences(endpoint.spec, Description(SUBSCRIPTIONS).parameters("GET", f"/v1/{url}"), {}, endpoint.name) == []


def _variants(schema: Any) -> list[Any]:
    return [inner for each in schema["anyOf"] for inner in _variants(each)] if "anyOf" in schema else [schema]


def _differences(spec: Spec, described: Any, newer: Any, at: str) -> list[str]:
    """Where a parameter of ours is not one of the description's."""
    found = []
    for name, param in spec.items():
        if name in (newer if isinstance(newer, set) else ()):
            continue
        schema = described.get("properties", {}).get(name)
        if schema is None:
            found.append(f"{at}: {name} is not described")
            continue
        inner_newer = newer.get(name, {}) if isinstance(newer, dict) else {}
        found += _unlike(param, _variants(schema), inner_newer, f"{at}.{name}")
    return found


def _unlike(param: Param, variants: list[Any], newer: Any, at: str) -> list[str]:
    kind, types = param.kind, {each.get("type") for each in variants}
    faults: list[str] = []
    if param.unsets and not any(each.get("enum") == [""] for each in variants):
        faults.append(f"{at}: cannot be unset")
    wanted = {Boolean: "boolean", Integer: "integer", Timestamp: "integer", Hash: "object", Array: "array", Metadata: "object"}
    expected = wanted.get(type(kind), "string")
    if expected not in types:
        faults.append(f"{at}: is {types}, not {expected}")
    if isinstance(kind, Enum):
        words = {word for each in variants for word in each.get("enum", [])}
        faults += [f"{at}: {word} is no word of it" for word in kind.words if word not in words]
    if isinstance(kind, Hash):
        objects = [each for each in variants if each.get("type") == "object"]
        tried = sorted((_differences(kind.spec, each, newer, at) for each in objects), key=lambda found: len(found))
        faults += tried[0] if tried else []
    if isinstance(kind, Array):
        arrays = [each for each in variants if each.get("type") == "array"]
        faults += _unlike(Param(kind.kind), _variants(arrays[0]["items"]), newer, at + "[]") if arrays else []
    assert isinstance(kind, (String, Decimal, Boolean, Integer, Timestamp, Hash, Array, Metadata, Enum, UpTo))
    return faults


def test_the_check_can_fail() -> None:
    """The checker refuses a missing field, a wrong type, a null and an unknown parameter."""
    description = Description(USAGE)
    good = {"id": "mbur_1", "livemode": False, "object": "usage_record", "quantity": 1, "subscription_item": "si_1", "timestamp": 1}
    schema = description.schema("usage_record")
    assert description.faults(schema, good) == []
    for change in ({"quantity": "1"}, {"quantity": None}, {"livemode": 0}, {"object": "usage"}):
        assert len(description.faults(schema, {**good, **change})) == 1
    assert len(description.faults(schema, {k: v for k, v in good.items() if k != "id"})) == 1
    assert _differences({"foo": Param(String())}, schema, {}, "x") == ["x: foo is not described"]
