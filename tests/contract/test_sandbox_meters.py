"""Meters on the sandbox, and prices and items on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.sandbox import events
from infra.sandbox.meter_usage import metered_total
from tests.contract.meter_bench import URL, new_customer, tuned
from tests.contract.sandbox_driver import Driver


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A fresh sandbox."""
    with Driver(tmp_path) as driver:
        yield driver


@pytest.fixture
def customer(sandbox: Driver) -> str:
    """A customer."""
    return new_customer(sandbox)


def test_a_meter_is_made_with_its_defaults(sandbox: Driver) -> None:
    """A new meter is active, finds its customer and value under the default keys, and keeps what it was given."""
    plain = sandbox.made(URL, {"display_name": "Calls", "event_name": "calls", "default_aggregation[formula]": "sum"})
    assert (plain["status"], plain["event_time_window"], plain["status_transitions"]) == ("active", None, {"deactivated_at": None})
    assert plain["customer_mapping"] == {"event_payload_key": "stripe_customer_id", "type": "by_id"}
    assert plain["value_settings"] == {"event_payload_key": "value"}
    meter = sandbox.meter(
        "bytes",
        **{
            "event_time_window": "day",
            "customer_mapping[type]": "by_id",
            "customer_mapping[event_payload_key]": "who",
            "value_settings[event_payload_key]": "size",
        },
    )
    kept = sandbox.get(f"{URL}/{meter}").json
    assert (kept["event_time_window"], kept["customer_mapping"]["event_payload_key"]) == ("day", "who")
    assert kept["value_settings"]["event_payload_key"] == "size"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"event_name": "x" * 101}, "event_name"),
        ({"display_name": "x" * 251}, "display_name"),
        ({"default_aggregation[formula]": "max"}, "default_aggregation[formula]"),
        ({"event_time_window": "minute"}, "event_time_window"),
        ({"customer_mapping[type]": "by_email", "customer_mapping[event_payload_key]": "k"}, "customer_mapping[type]"),
        ({"value_settings[event_payload_key]": "x" * 101}, "value_settings[event_payload_key]"),
        ({"metadata[a]": "b"}, "metadata"),
    ],
)
def test_a_meter_with_wrong_parameters_is_refused(sandbox: Driver, params: dict[str, str], param: str) -> None:
    """What the description does not allow is 400 with the name of the parameter, and makes no meter."""
    good = {"display_name": "Calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
    refused = sandbox.post(URL, {**good, **params})
    assert (refused.status, refused.error["param"]) == (400, param)
    assert sandbox.get(URL).json["data"] == []


def test_only_the_display_name_changes(sandbox: Driver) -> None:
    """An update renames a meter for people, and takes nothing else."""
    meter = sandbox.meter()
    assert sandbox.post(f"{URL}/{meter}", {"display_name": "API calls"}).json["display_name"] == "API calls"
    assert sandbox.get(f"{URL}/{meter}").json["display_name"] == "API calls"
    for name in ("event_name", "event_time_window"):
        assert sandbox.post(f"{URL}/{meter}", {name: "hour"}).error["code"] == "parameter_unknown"


def test_meters_are_listed_by_status(sandbox: Driver) -> None:
    """The list holds all meters, newest first, or those of one status."""
    first, second = sandbox.meter("a"), sandbox.meter("b")
    sandbox.made(f"{URL}/{first}/deactivate", {})
    listed = {status: [each["id"] for each in sandbox.get(URL, {"status": status}).json["data"]] for status in ("active", "inactive")}
    assert [each["id"] for each in sandbox.get(URL).json["data"]] == [second, first]
    assert listed == {"active": [second], "inactive": [first]}
    assert [each["id"] for each in sandbox.get(URL, {"limit": 1, "starting_after": second}).json["data"]] == [first]


def test_what_happens_to_a_meter_is_an_event(sandbox: Driver) -> None:
    """Each change makes an event with the meter as it was then."""
    meter = sandbox.meter()
    sandbox.made(f"{URL}/{meter}", {"display_name": "x"})
    sandbox.made(f"{URL}/{meter}/deactivate", {})
    sandbox.made(f"{URL}/{meter}/reactivate", {})
    sandbox.post(f"{URL}/{meter}/reactivate")
    made = [(each["type"], each["data"]["object"]["status"]) for each in events.kept(sandbox.store)]
    assert made == [
        ("billing.meter.created", "active"),
        ("billing.meter.updated", "active"),
        ("billing.meter.deactivated", "inactive"),
        ("billing.meter.reactivated", "active"),
    ]


def test_active_meters_never_share_an_event_name(sandbox: Driver) -> None:
    """A name is free again once its meter is inactive; then the old meter cannot come back while the new one is active."""
    old = sandbox.meter()
    again = {"display_name": "x", "event_name": "calls", "default_aggregation[formula]": "sum"}
    assert sandbox.post(URL, again).error["param"] == "event_name"
    sandbox.made(f"{URL}/{old}/deactivate", {})
    new = sandbox.made(URL, again)["id"]
    assert sandbox.post(f"{URL}/{old}/reactivate").status == 400
    sandbox.made(f"{URL}/{new}/deactivate", {})
    assert sandbox.post(f"{URL}/{old}/reactivate").json["status"] == "active"


def test_a_kept_name_is_a_knob(tmp_path: Path) -> None:
    """Where a deactivated meter keeps its name, no other gets it, and itself it comes back."""
    with Driver(tmp_path, knobs=tuned(meter_name_kept=True)) as sandbox:
        old = sandbox.meter()
        sandbox.made(f"{URL}/{old}/deactivate", {})
        assert sandbox.post(URL, {"display_name": "x", "event_name": "calls", "default_aggregation[formula]": "sum"}).status == 400
        assert sandbox.post(f"{URL}/{old}/reactivate").status == 200


def test_a_deactivated_meter_takes_no_events_and_no_prices(sandbox: Driver, customer: str) -> None:
    """Inactive, it refuses both, says when it was deactivated and keeps what it counted; active again it takes both."""
    meter = sandbox.meter()
    assert sandbox.emit(customer, 5).status == 200
    done = sandbox.made(f"{URL}/{meter}/deactivate", {})
    assert (done["status"], done["status_transitions"]["deactivated_at"]) == ("inactive", done["updated"])
    assert sandbox.emit(customer, 5).error["message"] == 'No active meter found for event name "calls".'
    price = {"currency": "usd", "unit_amount": 1, "product_data[name]": "x", "recurring[interval]": "month", "recurring[usage_type]": "metered"}
    refused = sandbox.post("/v1/prices", {**price, "recurring[meter]": meter})
    assert (refused.status, refused.error["param"]) == (400, "recurring[meter]")
    assert sandbox.post(f"{URL}/{meter}/deactivate").status == 400
    back = sandbox.made(f"{URL}/{meter}/reactivate", {})
    assert (back["status"], back["status_transitions"]["deactivated_at"]) == ("active", None)
    assert sandbox.emit(customer, 2).status == 200
    assert sandbox.made("/v1/prices", {**price, "recurring[meter]": meter})["recurring"]["meter"] == meter
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now + 1) == 7


@pytest.mark.parametrize("version", ["2025-02-24.acacia", "2026-10-28.endive"])
def test_prices_on_meters_in_both_eras(sandbox: Driver, version: str) -> None:
    """A metered price on a meter is made and subscribed to before and after basil; an unknown meter is refused by name."""
    meter, customer = sandbox.meter(), new_customer(sandbox)
    price = {"currency": "usd", "unit_amount": 1, "product_data[name]": "x", "recurring[interval]": "month", "recurring[usage_type]": "metered"}
    made = sandbox.post("/v1/prices", {**price, "recurring[meter]": meter}, stripe_version=version).json
    assert (made["recurring"]["meter"], made["recurring"].get("aggregate_usage")) == (meter, None)
    subscription = sandbox.post("/v1/subscriptions", {"customer": customer, "items[0][price]": made["id"]}, stripe_version=version)
    assert subscription.status == 200
    assert "quantity" not in subscription.json["items"]["data"][0]
    unknown = sandbox.post("/v1/prices", {**price, "recurring[meter]": "mtr_none"}, stripe_version=version)
    assert (unknown.status, unknown.error["code"], unknown.error["param"]) == (400, "resource_missing", "recurring[meter]")


def test_an_item_on_a_meter_goes_without_clear_usage(sandbox: Driver) -> None:
    """Usage on a meter belongs to the customer and not to the item, so nothing has to be cleared, and it stays."""
    meter = sandbox.meter()
    subscription, item = sandbox.subscribed(sandbox.metered_price(**{"recurring[meter]": meter}))
    sandbox.made("/v1/subscription_items", {"subscription": subscription, "price": sandbox.metered_price()})
    customer = sandbox.get(f"/v1/subscriptions/{subscription}").json["customer"]
    sandbox.emit(customer, 3)
    assert sandbox.call("DELETE", f"/v1/subscription_items/{item}").json["deleted"] is True
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now + 1) == 3
