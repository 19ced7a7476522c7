"""Handlers of products, prices and customers."""

from __future__ import annotations

from infra.sandbox import clocks, errors, resources, shapes, test_clocks, versions
from infra.sandbox.call import Call, Json
from infra.sandbox.ids import new_id
from infra.sandbox.paging import listed
from infra.sandbox.store import Store


# ── products ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _add_product(call: Call, params: Json) -> Json:
    object_id = params.get("id") or new_id("prod")
    if call.store.any(object_id) is not None:
        raise errors.refused("Product already exists.", rule="products.id", param="id", code="resource_already_exists")
    body = resources.product(object_id, call.now, params)
    call.store.put(body)
    return body


def create_product(call: Call) -> Json:
    """POST /v1/products"""
    return shapes.product(_add_product(call, call.params), call.version)


def retrieve_product(call: Call) -> Json:
    """GET /v1/products/{id}"""
    return shapes.product(call.addressed("product"), call.version)


def update_product(call: Call) -> Json:
    """POST /v1/products/{id}"""
    body = resources.changed(call.addressed("product"), call.params, "name", "active", "description", "unit_label")
    body["updated"] = call.now
    call.store.put(body)
    return shapes.product(body, call.version)


def list_products(call: Call) -> Json:
    """GET /v1/products"""
    active, ids = call.params.get("active"), call.params.get("ids")

    def keep(body: Json) -> bool:
        return (active is None or body["active"] == active) and (ids is None or body["id"] in ids)

    return listed(call, "product", lambda body: shapes.product(body, call.version), keep=keep)


# ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def create_price(call: Call) -> Json:
    """POST /v1/prices"""
    params = call.params
    if ("product" in params) == ("product_data" in params):
        raise errors.refused("You must specify exactly one of `product` and `product_data`.", rule="prices.product", param="product")
    recurring = params.get("recurring", {})
    if recurring.get("usage_type") == "metered" and "meter" not in recurring and versions.is_basil(call.version):
        message = "Starting with Stripe version `2025-03-31.basil`, metered prices must be backed by meters."
        raise errors.refused(message, rule="version.metered_price", param="recurring[meter]")
    if recurring.get("meter") is not None and call.the("billing.meter", recurring["meter"], param="recurring[meter]")["status"] != "active":
        message = f"The meter `{recurring['meter']}` is inactive: a price cannot be put on it."
        raise errors.refused(message, rule="prices.meter", param="recurring[meter]")
    if "product" in params:
        product_id = call.the("product", params["product"], param="product")["id"]
        body = resources.price(new_id("price"), call.now, params, product_id)
    else:
        body = resources.price(new_id("price"), call.now, params, "")
        body["product"] = _add_product(call, params["product_data"])["id"]
    _take_lookup_key(call, body["id"])
    _put_price(call, body)
    return shapes.price(body, call.version)


def _put_price(call: Call, body: Json) -> None:
    call.store.put(body, parent=body["product"], ref=body["lookup_key"])


def _take_lookup_key(call: Call, price_id: str) -> None:
    """A lookup key names one price: it is refused while another has it, unless the call transfers it."""
    key = call.params.get("lookup_key")
    if key is None:
        return
    for other in list(call.store.scan("price", ref=key)):
        if other["id"] == price_id:
            continue
        if not call.params.get("transfer_lookup_key", False):
            message = f"A price (`{other['id']}`) already uses that lookup key."
            raise errors.refused(message, rule="prices.lookup_key", param="lookup_key", code="resource_already_exists")
        _put_price(call, {**other, "lookup_key": None})


def retrieve_price(call: Call) -> Json:
    """GET /v1/prices/{id}"""
    return shapes.price(call.addressed("price", "price"), call.version)


def update_price(call: Call) -> Json:
    """POST /v1/prices/{id}: amounts and intervals never change"""
    body = resources.changed(call.addressed("price", "price"), call.params, "active", "nickname", "lookup_key")
    _take_lookup_key(call, body["id"])
    _put_price(call, body)
    return shapes.price(body, call.version)


def list_prices(call: Call) -> Json:
    """GET /v1/prices"""
    params = call.params
    wanted = {name: params[name] for name in ("active", "type", "currency") if name in params}
    recurring = params.get("recurring", {})
    keys = params.get("lookup_keys")

    def keep(body: Json) -> bool:
        if any(body[name] != value for name, value in wanted.items()) or (keys is not None and body["lookup_key"] not in keys):
            return False
        return not recurring or (body["recurring"] is not None and all(body["recurring"].get(k) == v for k, v in recurring.items()))

    return listed(call, "price", lambda body: shapes.price(body, call.version), parent=params.get("product"), keep=keep)


# ── customers ────────────────────────────────────────────────────────────────────────────────────────────────────────
def create_customer(call: Call) -> Json:
    """POST /v1/customers"""
    clock_id = call.params.get("test_clock")
    now = call.now
    if clock_id is not None:
        now = call.the(test_clocks.KIND, clock_id, param="test_clock")["frozen_time"]
        if sum(1 for _ in clocks.customers(call.store, clock_id)) >= call.knobs.clock_customers:
            message = f"A test clock can have at most {call.knobs.clock_customers} customers."
            raise errors.refused(message, rule="clocks.customers", param="test_clock")
    body = resources.customer(new_id("cus"), now, call.params)
    put_customer(call.store, body)
    return body


def put_customer(store: Store, body: Json) -> None:
    """Writes a customer; lists find it by its test clock and its address."""
    store.put(body, parent=body["test_clock"], ref=body["email"])


def retrieve_customer(call: Call) -> Json:
    """GET /v1/customers/{id}"""
    return call.addressed("customer")


def update_customer(call: Call) -> Json:
    """POST /v1/customers/{id}"""
    body = resources.changed(call.addressed("customer"), call.params, "email", "name", "description", "phone", "balance")
    if "invoice_settings" in call.params:
        body["invoice_settings"] = resources.invoice_settings(call.params)
    put_customer(call.store, body)
    return body


def list_customers(call: Call) -> Json:
    """GET /v1/customers: those on a test clock only where it is asked for"""
    clock_id = call.params.get("test_clock")

    def keep(body: Json) -> bool:
        return clock_id is not None or body["test_clock"] is None

    return listed(call, "customer", lambda body: body, parent=clock_id, ref=call.params.get("email"), keep=keep)
