"""Products, prices, customers, subscriptions and items on the sandbox: creation, lists, updates, endings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.knobs import NEWEST_VERSION
from tests.contract.sandbox_driver import Driver

DAY_S = 86_400
RECURRING = {"currency": "usd", "unit_amount": 1000, "product_data[name]": "seat", "recurring[interval]": "month"}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield driver


def _ids(reply: Any) -> list[str]:
    return [each["id"] for each in reply.json["data"]]


def test_lists_are_newest_first_and_page_without_gaps(sandbox: Driver) -> None:
    """Paging forwards and backwards meets every customer exactly once, newest first, with a right `has_more`."""
    made = [sandbox.made("/v1/customers", {"name": str(n)})["id"] for n in range(23)][::-1]
    assert _ids(sandbox.get("/v1/customers")) == made[:10]
    first = sandbox.get("/v1/customers", {"limit": 20})
    rest = sandbox.get("/v1/customers", {"limit": 20, "starting_after": made[19]})
    assert (_ids(first) + _ids(rest), first.json["has_more"], rest.json["has_more"]) == (made, True, False)
    back = sandbox.get("/v1/customers", {"limit": 5, "ending_before": made[10]})
    assert (_ids(back), back.json["has_more"]) == (made[5:10], True)
    assert sandbox.get("/v1/customers", {"starting_after": "cus_none"}).status == 400
    assert sandbox.get("/v1/customers", {"starting_after": made[0], "ending_before": made[1]}).status == 400


def test_metadata_is_merged_and_unset(sandbox: Driver) -> None:
    """An update merges metadata, an empty value removes one key, an empty metadata removes all."""
    url = "/v1/customers/" + sandbox.made("/v1/customers", {"metadata[a]": "1", "metadata[b]": "2"})["id"]
    assert sandbox.made(url, {"metadata[b]": "3", "metadata[c]": "4"})["metadata"] == {"a": "1", "b": "3", "c": "4"}
    assert sandbox.made(url, {"metadata[a]": ""})["metadata"] == {"b": "3", "c": "4"}
    assert sandbox.made(url, {"metadata": "", "name": "x"})["metadata"] == {}
    assert sandbox.get(url).json["name"] == "x"


def test_customers_are_found_by_email(sandbox: Driver) -> None:
    """The email filter finds exactly its customers, after an update too."""
    one = sandbox.made("/v1/customers", {"email": "a@example.com"})["id"]
    other = sandbox.made("/v1/customers", {"email": "b@example.com"})["id"]
    assert _ids(sandbox.get("/v1/customers", {"email": "a@example.com"})) == [one]
    sandbox.made(f"/v1/customers/{other}", {"email": "a@example.com"})
    assert _ids(sandbox.get("/v1/customers", {"email": "a@example.com"})) == [other, one]


def test_lookup_keys_find_one_price(sandbox: Driver) -> None:
    """A lookup key names one price: taken ones are refused, unless transferred, and lists find it."""
    first = sandbox.made("/v1/prices", {**RECURRING, "lookup_key": "seat"})
    taken = sandbox.post("/v1/prices", {**RECURRING, "lookup_key": "seat"})
    assert (taken.status, taken.error["param"]) == (400, "lookup_key")
    assert len(_ids(sandbox.get("/v1/products"))) == 1
    second = sandbox.made("/v1/prices", {**RECURRING, "lookup_key": "seat", "transfer_lookup_key": "true"})
    assert _ids(sandbox.get("/v1/prices", {"lookup_keys[0]": "seat"})) == [second["id"]]
    assert sandbox.get(f"/v1/prices/{first['id']}").json["lookup_key"] is None


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"unit_amount": 1500}, (1500, "1500")),
        ({"unit_amount_decimal": "0.05"}, (None, "0.05")),
        ({"unit_amount_decimal": "12.000000000000"}, (12, "12")),
        ({"unit_amount_decimal": "100"}, (100, "100")),
    ],
)
def test_amounts_are_exact(sandbox: Driver, change: dict[str, object], shown: tuple[int | None, str]) -> None:
    """Amounts are shown as an integer where they are one and always as the exact decimal."""
    made = sandbox.made("/v1/prices", {"currency": "USD", "product_data[name]": "x", **change})
    assert (made["unit_amount"], made["unit_amount_decimal"], made["currency"], made["type"]) == (*shown, "usd", "one_time")


@pytest.mark.parametrize(
    "change",
    [
        {"unit_amount_decimal": "1"},
        {"unit_amount": ""},
        {"product": "prod_none"},
        {"currency": "dollars"},
        {"recurring[aggregate_usage]": "sum"},
        {"recurring[interval_count]": 37},
        {"billing_scheme": "tiered"},
    ],
)
def test_impossible_prices_are_refused(sandbox: Driver, change: dict[str, object]) -> None:
    """A price with two amounts, two products, an unknown currency or an interval above three years is a 400 and leaves no product."""
    assert sandbox.post("/v1/prices", {**RECURRING, **change}).status == 400
    assert _ids(sandbox.get("/v1/products")) == []


def test_prices_are_filtered(sandbox: Driver) -> None:
    """Prices are listed by product, activity, type and usage type."""
    metered = sandbox.metered_price()
    licensed = sandbox.made("/v1/prices", RECURRING)
    sandbox.made(f"/v1/prices/{licensed['id']}", {"active": "false", "nickname": "old"})
    assert _ids(sandbox.get("/v1/prices", {"recurring[usage_type]": "metered"})) == [metered]
    assert _ids(sandbox.get("/v1/prices", {"active": "false"})) == [licensed["id"]]
    assert _ids(sandbox.get("/v1/prices", {"product": licensed["product"]})) == [licensed["id"]]
    assert _ids(sandbox.get("/v1/prices", {"type": "one_time"})) == []


def test_a_product_may_be_given_its_id(sandbox: Driver) -> None:
    """A chosen product id is kept, and refused the second time."""
    assert sandbox.made("/v1/products", {"id": "usage", "name": "Usage"})["id"] == "usage"
    assert sandbox.post("/v1/products", {"id": "usage", "name": "Usage"}).error["code"] == "resource_already_exists"
    assert sandbox.made("/v1/products/usage", {"description": "x", "active": "false"})["description"] == "x"
    assert _ids(sandbox.get("/v1/products", {"active": "true"})) == []


def test_the_period_stands_where_the_version_has_it(sandbox: Driver) -> None:
    """Before basil the period and aggregate_usage stand on subscription and price, afterwards the period stands on the items."""
    subscription, item = sandbox.subscribed(sandbox.metered_price())
    old = sandbox.get(f"/v1/subscriptions/{subscription}").json
    new = sandbox.get(f"/v1/subscriptions/{subscription}", stripe_version=NEWEST_VERSION).json
    period = (old["current_period_start"], old["current_period_end"])
    (old_item,), (new_item,) = old["items"]["data"], new["items"]["data"]
    assert "current_period_start" not in new
    assert "current_period_start" not in old_item
    assert (new_item["current_period_start"], new_item["current_period_end"]) == period
    assert old_item["price"]["recurring"]["aggregate_usage"] == "sum"
    assert "aggregate_usage" not in new_item["price"]["recurring"]
    assert sandbox.get(f"/v1/subscription_items/{item}", stripe_version=NEWEST_VERSION).json == new_item


def test_backdating_with_an_anchor(sandbox: Driver) -> None:
    """Backdated to September with an anchor ahead, the first period runs from the start date to the anchor."""
    now = sandbox.now
    subscription, _ = sandbox.subscribed(sandbox.metered_price(), backdated_s=40 * DAY_S, billing_cycle_anchor=now + 3 * DAY_S)
    shown = sandbox.get(f"/v1/subscriptions/{subscription}").json
    assert (shown["current_period_start"], shown["current_period_end"]) == (shown["start_date"], now + 3 * DAY_S)
    assert now - 40 * DAY_S - 1 <= shown["start_date"] <= now - 40 * DAY_S + 1
    assert shown["billing_cycle_anchor"] == now + 3 * DAY_S


def test_canceling_at_once(sandbox: Driver) -> None:
    """A canceled subscription ends now, leaves the default list, is listed by status, and cannot be canceled again."""
    subscription, _ = sandbox.subscribed(sandbox.metered_price())
    gone = sandbox.call("DELETE", f"/v1/subscriptions/{subscription}").json
    assert (gone["status"], gone["canceled_at"], gone["ended_at"]) == ("canceled", gone["ended_at"], gone["canceled_at"])
    assert _ids(sandbox.get("/v1/subscriptions")) == []
    for status in ("all", "canceled", "ended"):
        assert _ids(sandbox.get("/v1/subscriptions", {"status": status})) == [subscription]
    assert _ids(sandbox.get("/v1/subscriptions", {"status": "active"})) == []
    assert sandbox.call("DELETE", f"/v1/subscriptions/{subscription}").status == 404
    assert sandbox.post(f"/v1/subscriptions/{subscription}", {"cancel_at_period_end": "true"}).status == 400
    assert sandbox.made(f"/v1/subscriptions/{subscription}", {"metadata[a]": "1"})["metadata"] == {"a": "1"}


def test_canceling_at_the_period_end(sandbox: Driver) -> None:
    """A subscription that ends with its period is active until the clock reaches the end; taking the wish back keeps it."""
    kept, _ = sandbox.subscribed(sandbox.metered_price(interval="day"), backdated_s=0)
    ending, item = sandbox.subscribed(sandbox.metered_price(interval="day"), backdated_s=0)
    _, shown = (sandbox.made(f"/v1/subscriptions/{each}", {"cancel_at_period_end": "true"}) for each in (kept, ending))
    assert (shown["status"], shown["cancel_at"]) == ("active", shown["current_period_end"])
    assert sandbox.made(f"/v1/subscriptions/{kept}", {"cancel_at_period_end": "false"})["cancel_at"] is None
    sandbox.engine.clock.set(shown["current_period_end"] + 1)
    ended = sandbox.get(f"/v1/subscriptions/{ending}").json
    assert (ended["status"], ended["ended_at"], ended["current_period_end"]) == ("canceled", shown["cancel_at"], shown["cancel_at"])
    assert _ids(sandbox.get("/v1/subscriptions")) == [kept]
    assert sandbox.use(item, quantity=1).status == 400
    assert len(sandbox.totals(item)) == 1


def test_subscriptions_are_filtered(sandbox: Driver) -> None:
    """Subscriptions are listed by customer and by price."""
    one_price, other_price = sandbox.metered_price(), sandbox.metered_price()
    one, _ = sandbox.subscribed(one_price)
    other, _ = sandbox.subscribed(other_price)
    customer = sandbox.get(f"/v1/subscriptions/{one}").json["customer"]
    assert _ids(sandbox.get("/v1/subscriptions", {"customer": customer})) == [one]
    assert _ids(sandbox.get("/v1/subscriptions", {"price": other_price})) == [other]
    assert _ids(sandbox.get("/v1/subscriptions", {"price": one_price, "limit": 1})) == [one]


@pytest.mark.parametrize(
    ("first", "second"),
    [({}, None), ({}, {"currency": "eur"}), ({}, {"recurring[interval]": "year"}), ({}, {"recurring": ""}), ({"active": "false"}, {})],
)
def test_prices_that_do_not_fit_together_are_refused(sandbox: Driver, first: dict[str, str], second: dict[str, str] | None) -> None:
    """The same price twice, two currencies, two intervals, a one-time or inactive price: no subscription is made."""
    one = sandbox.made("/v1/prices", {**RECURRING, **first})["id"]
    other = one
    if second is not None:
        params = {**RECURRING, **second}
        if second.get("recurring") == "":
            params = {name: value for name, value in params.items() if not name.startswith("recurring")}
        other = sandbox.made("/v1/prices", params)["id"]
    customer = sandbox.made("/v1/customers", {})["id"]
    refused = sandbox.post("/v1/subscriptions", {"customer": customer, "items[0][price]": one, "items[1][price]": other})
    assert (refused.status, refused.error["param"]) == (400, "items")
    assert _ids(sandbox.get("/v1/subscriptions", {"status": "all"})) == []


def test_items_come_and_go(sandbox: Driver) -> None:
    """Items are added, changed, listed in order of creation and deleted; a metered one only with clear_usage, the last one never."""
    subscription, metered = sandbox.subscribed(sandbox.metered_price())
    licensed = sandbox.made("/v1/prices", RECURRING)["id"]
    added = sandbox.made("/v1/subscription_items", {"subscription": subscription, "price": licensed, "quantity": 3})
    assert (added["quantity"], "quantity" in sandbox.get(f"/v1/subscription_items/{metered}").json) == (3, False)
    assert sandbox.made(f"/v1/subscription_items/{added['id']}", {"quantity": 5})["quantity"] == 5
    assert sandbox.post(f"/v1/subscription_items/{metered}", {"quantity": 5}).error["message"] == "You cannot set the quantity for metered plans"
    assert _ids(sandbox.get("/v1/subscription_items", {"subscription": subscription})) == [metered, added["id"]]
    sandbox.use(metered, quantity=1)
    refused = sandbox.call("DELETE", f"/v1/subscription_items/{metered}")
    assert refused.error["message"].endswith("all related usage records must be cleared too by setting clear_usage=true.")
    gone = sandbox.call("DELETE", f"/v1/subscription_items/{metered}", {"clear_usage": "true"})
    assert gone.json == {"id": metered, "object": "subscription_item", "deleted": True}
    assert sandbox.use(metered, quantity=1).status == 404
    assert sandbox.cells(metered) == {}
    assert sandbox.call("DELETE", f"/v1/subscription_items/{added['id']}").status == 400


def test_expansion(sandbox: Driver) -> None:
    """Ids of customers and products are expanded where asked, in lists too; what cannot be expanded is a 400."""
    subscription, _ = sandbox.subscribed(sandbox.metered_price())
    shown = sandbox.get(
        f"/v1/subscriptions/{subscription}",
        {"expand[0]": "customer", "expand[1]": "items.data.price.product", "expand[2]": "latest_invoice"},
    ).json
    assert shown["customer"]["object"] == "customer"
    assert shown["items"]["data"][0]["price"]["product"]["name"] == "usage"
    listed = sandbox.get("/v1/subscriptions", {"expand[]": "data.customer"}).json
    assert listed["data"][0]["customer"] == shown["customer"]
    assert sandbox.get(f"/v1/subscriptions/{subscription}", {"expand[]": "nothing"}).status == 400
    assert sandbox.get(f"/v1/subscriptions/{subscription}", {"expand[]": "status"}).status == 400


@pytest.mark.parametrize("kind", ["customers", "products", "prices", "subscriptions", "subscription_items"])
def test_an_unknown_object_is_404(sandbox: Driver, kind: str) -> None:
    """An id in the URL that does not exist is 404 resource_missing with its kind."""
    reply = sandbox.get(f"/v1/{kind}/x_none")
    assert (reply.status, reply.error["code"]) == (404, "resource_missing")
    assert reply.error["message"] == f"No such {kind[:-1]}: 'x_none'"
