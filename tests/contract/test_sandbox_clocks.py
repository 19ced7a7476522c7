"""Test clocks of the sandbox: frozen time that moves when told to, for the customers on it and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox.knobs import NEWEST_VERSION
from infra.sandbox.test_clocks import KIND
from tests.contract.openapi_subset import FOLDER, Description
from tests.contract.sandbox_driver import Driver

CLOCKS = "/v1/test_helpers/test_clocks"
JAN_31 = 1_706_659_200
"""2024-01-31T00:00:00Z."""
DAY = 86_400


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A sandbox without anything."""
    with Driver(tmp_path) as driver:
        yield driver


def test_a_clock_advances_to_where_it_is_told(sandbox: Driver) -> None:
    """An advance answers `advancing` with its target and the old time; the next look finds the clock ready at the target."""
    clock = sandbox.made(CLOCKS, {"frozen_time": JAN_31, "name": "year"})
    assert (clock["status"], clock["frozen_time"], clock["name"]) == ("ready", JAN_31, "year")
    moving = sandbox.post(f"{CLOCKS}/{clock['id']}/advance", {"frozen_time": JAN_31 + DAY}, stripe_version=NEWEST_VERSION).json
    assert (moving["status"], moving["frozen_time"]) == ("advancing", JAN_31)
    assert moving["status_details"] == {"advancing": {"target_frozen_time": JAN_31 + DAY}}
    arrived = sandbox.get(f"{CLOCKS}/{clock['id']}").json
    assert (arrived["status"], arrived["frozen_time"], arrived["status_details"]) == ("ready", JAN_31 + DAY, {})
    assert "status_details" not in sandbox.get(f"{CLOCKS}/{clock['id']}", stripe_version="2023-08-16").json


def test_a_customer_lives_in_its_clocks_time(sandbox: Driver) -> None:
    """Customer, subscription and usage of a clock are stamped and judged by its frozen time, not by the sandbox's."""
    clock = sandbox.made(CLOCKS, {"frozen_time": JAN_31})
    customer = sandbox.made("/v1/customers", {"test_clock": clock["id"]})
    subscription = sandbox.made("/v1/subscriptions", {"customer": customer["id"], "items[0][price]": sandbox.metered_price()})
    item = subscription["items"]["data"][0]["id"]
    assert customer["created"] == subscription["created"] == subscription["current_period_start"] == JAN_31
    assert (customer["test_clock"], subscription["test_clock"]) == (clock["id"], clock["id"])
    assert sandbox.use(item, quantity=1, timestamp=sandbox.now).status == 400
    sandbox.made(f"{CLOCKS}/{clock['id']}/advance", {"frozen_time": JAN_31 + DAY})
    assert sandbox.use(item, quantity=1, timestamp=JAN_31 + 60).status == 200
    assert sandbox.use(item, quantity=2).json["timestamp"] == JAN_31 + DAY
    sandbox.made(f"{CLOCKS}/{clock['id']}/advance", {"frozen_time": JAN_31 + 30 * DAY})
    assert sandbox.get(f"/v1/subscriptions/{subscription['id']}").json["current_period_start"] == JAN_31 + 29 * DAY


def test_a_clock_is_not_advanced_too_far_or_back(sandbox: Driver) -> None:
    """Two intervals of the shortest running subscription is the most, two years without one; standing still and back are refused."""
    clock = sandbox.made(CLOCKS, {"frozen_time": JAN_31})
    advance = f"{CLOCKS}/{clock['id']}/advance"
    for wrong in (JAN_31 - 1, JAN_31, JAN_31 + 732 * DAY):
        assert sandbox.post(advance, {"frozen_time": wrong}).error["param"] == "frozen_time"
    customer = sandbox.made("/v1/customers", {"test_clock": clock["id"]})["id"]
    for interval in ("month", "week"):
        sandbox.made("/v1/subscriptions", {"customer": customer, "items[0][price]": sandbox.metered_price(interval=interval)})
    assert sandbox.post(advance, {"frozen_time": JAN_31 + 14 * DAY + 1}).status == 400
    assert sandbox.post(advance, {"frozen_time": JAN_31 + 14 * DAY}).status == 200


def test_lists_leave_out_what_is_on_a_clock(sandbox: Driver) -> None:
    """Customers and subscriptions on a clock are listed only where the clock, or the subscriptions' customer, is named."""
    clock = sandbox.made(CLOCKS, {"frozen_time": JAN_31})["id"]
    customer = sandbox.made("/v1/customers", {"test_clock": clock})["id"]
    subscription = sandbox.made("/v1/subscriptions", {"customer": customer, "items[0][price]": sandbox.metered_price()})["id"]
    other, _ = sandbox.subscribed(sandbox.metered_price())
    assert customer not in [each["id"] for each in sandbox.get("/v1/customers").json["data"]]
    assert [each["id"] for each in sandbox.get("/v1/customers", {"test_clock": clock}).json["data"]] == [customer]
    assert [each["id"] for each in sandbox.get("/v1/subscriptions").json["data"]] == [other]
    for named in ({"test_clock": clock}, {"customer": customer}):
        assert [each["id"] for each in sandbox.get("/v1/subscriptions", named).json["data"]] == [subscription]


def test_a_clock_takes_its_customers_with_it(sandbox: Driver) -> None:
    """With a deleted clock its customers, their subscriptions and items are gone; a fourth customer is refused while it stands."""
    clock = sandbox.made(CLOCKS, {"frozen_time": JAN_31})["id"]
    customers = [sandbox.made("/v1/customers", {"test_clock": clock})["id"] for _ in range(3)]
    assert sandbox.post("/v1/customers", {"test_clock": clock}).error["param"] == "test_clock"
    subscription = sandbox.made("/v1/subscriptions", {"customer": customers[0], "items[0][price]": sandbox.metered_price()})
    assert sandbox.call("DELETE", f"{CLOCKS}/{clock}").json == {"id": clock, "object": KIND, "deleted": True}
    for gone in (f"{CLOCKS}/{clock}", f"/v1/customers/{customers[0]}", f"/v1/subscriptions/{subscription['id']}"):
        assert sandbox.get(gone).status == 404
    assert sandbox.post("/v1/customers", {"test_clock": clock}).status == 400


def test_an_advance_goes_on_after_a_kill(tmp_path: Path) -> None:
    """A clock that was advancing when the sandbox died arrives when it is back."""
    with Driver(tmp_path) as first:
        clock = first.made(CLOCKS, {"frozen_time": JAN_31})["id"]
        first.made(f"{CLOCKS}/{clock}/advance", {"frozen_time": JAN_31 + DAY})
    with Driver(tmp_path) as second:
        assert second.get(f"{CLOCKS}/{clock}").json["frozen_time"] == JAN_31 + DAY


@pytest.mark.skipif(not FOLDER.exists(), reason="no OpenAPI fragments in ../shared/openapi")
def test_clocks_have_the_described_shape(sandbox: Driver) -> None:
    """A clock, the list of clocks and the answer to an advance match Stripe's description."""
    description = Description("openapi-subscriptions-2023-08-16.json")
    clock = sandbox.made(CLOCKS, {"frozen_time": JAN_31})
    moving = sandbox.made(f"{CLOCKS}/{clock['id']}/advance", {"frozen_time": JAN_31 + DAY})
    for body in (clock, moving, *sandbox.get(CLOCKS).json["data"]):
        assert description.faults(description.schema(KIND), body) == []
