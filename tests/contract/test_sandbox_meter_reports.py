"""Meter events that were answered 200 and do not count: judged after the delay, and reported once, when their window has ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox import events
from infra.sandbox.meter_usage import metered_total
from infra.sandbox.store import Store
from infra.sandbox.testing import sandbox_server
from tests.contract.meter_bench import DAY_S, URL, cancel, new_customer, tuned
from tests.contract.sandbox_driver import Driver

Json = dict[str, Any]
KNOBS = tuned(meter_delay_s=60.0, meter_sync_checks=False)
"""Everything that can be found out afterwards is found out afterwards."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Driver]:
    """A sandbox that refuses as late as it can, at the beginning of a window of ten seconds and of a minute."""
    with Driver(tmp_path, knobs=KNOBS) as driver:
        driver.engine.clock.set(driver.now // 60 * 60 + 60)
        yield driver


def reported(sandbox: Driver) -> list[tuple[str, Json | None, Json]]:
    """What is reported by now and was not before: (type, related object, data) of each thin event."""
    before = len(list(events.kept(sandbox.store)))
    sandbox.engine.keep()
    made = list(events.kept(sandbox.store))[before:]
    assert {each["object"] for each in made} <= {"v2.core.event"}
    return [(each["type"], each["related_object"], each["data"]) for each in made]


def codes(data: Json) -> dict[str, list[str]]:
    """The requests' identifiers by code."""
    return {each["code"]: [sample["request"]["identifier"] for sample in each["sample_errors"]] for each in data["reason"]["error_types"]}


def test_all_that_is_wrong_is_reported_by_its_key(sandbox: Driver) -> None:
    """Each event that does not count is found in one report under its code, by the Idempotency-Key of its request; right ones are in none."""
    meter, customer = sandbox.meter(), new_customer(sandbox)
    sandbox.emit(customer, 5, key="good")
    sandbox.emit("cus_none", 5, key="stranger")
    sandbox.post("/v1/billing/meter_events", {"event_name": "calls", "payload[value]": "1"}, key="nobody")
    sandbox.emit(customer, "many", key="text")
    sandbox.emit(customer, "1234567890123456", key="digits")
    sandbox.emit(customer, 5, key="old", timestamp=sandbox.now - 36 * DAY_S)
    sandbox.emit(customer, 5, key="new", timestamp=sandbox.now + 3600)
    sandbox.emit(customer, 5, event_name="none", key="meterless")
    assert reported(sandbox) == []
    sandbox.engine.clock.set(sandbox.now + 71)
    sent = {kind: (related, codes(data)) for kind, related, data in reported(sandbox)}
    assert sent == {
        "v1.billing.meter.no_meter_found": (None, {"no_meter": ["meterless"]}),
        "v1.billing.meter.error_report_triggered": (
            {"id": meter, "type": "billing.meter", "url": f"{URL}/{meter}"},
            {
                "meter_event_customer_not_found": ["stranger"],
                "meter_event_no_customer_defined": ["nobody"],
                "meter_event_invalid_value": ["text"],
                "meter_event_value_too_many_digits": ["digits"],
                "timestamp_too_far_in_past": ["old"],
                "timestamp_in_future": ["new"],
            },
        ),
    }
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now + DAY_S) == 5


def test_a_report_comes_once_and_not_before_its_window_ended(sandbox: Driver) -> None:
    """The window of the judgement has to be over; then the report names it, and is never sent again, also not after a restart."""
    sandbox.meter()
    start = sandbox.now
    sandbox.emit("cus_none", 5, key="k")
    sandbox.engine.clock.set(start + 65)
    assert reported(sandbox) == []
    sandbox.engine.clock.set(start + 71)
    ((_, _, data),) = reported(sandbox)
    assert data["validation_start"][:-8] < data["validation_end"][:-5]
    assert data["developer_message_summary"] == "There is 1 invalid event"
    assert reported(sandbox) == []


def test_windows_are_those_of_the_judgement(sandbox: Driver) -> None:
    """Two events judged in different windows are in two reports, however late anybody looks."""
    sandbox.meter()
    sandbox.emit("cus_none", 5, key="a")
    sandbox.engine.clock.set(sandbox.now + 20)
    sandbox.emit("cus_none", 5, key="b")
    sandbox.engine.clock.set(sandbox.now + DAY_S)
    assert [codes(data)["meter_event_customer_not_found"] for _, _, data in reported(sandbox)] == [["a"], ["b"]]


def test_a_meter_deactivated_before_the_judgement_is_archived(sandbox: Driver) -> None:
    """What was due before the deactivation counts, what was pending then is refused as archived_meter."""
    meter, customer = sandbox.meter(), new_customer(sandbox)
    sandbox.emit(customer, 5, key="in time")
    sandbox.engine.clock.set(sandbox.now + 30)
    sandbox.emit(customer, 7, key="too late")
    sandbox.engine.clock.set(sandbox.now + 31)  # nothing looks at the first one: the deactivation itself has to
    sandbox.made(f"{URL}/{meter}/deactivate", {})
    sandbox.engine.clock.set(sandbox.now + 71)
    ((_, _, data),) = reported(sandbox)
    assert codes(data) == {"archived_meter": ["too late"]}
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now) == 5


def test_a_refused_event_that_was_canceled_is_reported_all_the_same(sandbox: Driver) -> None:
    """Its cancellation takes nothing back, because it never counted."""
    sandbox.meter()
    sandbox.emit("cus_none", 5, key="k", identifier="a")
    assert cancel(sandbox, "a").json["status"] == "pending"
    sandbox.engine.clock.set(sandbox.now + 71)
    ((_, _, data),) = reported(sandbox)
    assert codes(data) == {"meter_event_customer_not_found": ["k"]}


def test_a_request_without_a_key_is_named_by_its_id(sandbox: Driver) -> None:
    """Without an Idempotency-Key the sample carries the request id of the answer."""
    sandbox.meter()
    sent = sandbox.emit("cus_none", 5)
    sandbox.engine.clock.set(sandbox.now + 71)
    ((_, _, data),) = reported(sandbox)
    assert codes(data) == {"meter_event_customer_not_found": [sent.headers["Request-Id"]]}


async def test_setting_the_clock_counts_what_is_due(tmp_path: Path) -> None:
    """After the control URL set the clock everything due has been judged, without another call."""
    async with sandbox_server(tmp_path, meter_delay_s=3600.0) as sandbox:
        await sandbox.control("clock", {"now": 2_000_000_001})  # at the beginning of a window of reports, which are ten seconds long
        meter = {"display_name": "calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
        await sandbox.call("POST", "/v1/billing/meters", data=meter)
        data = {"event_name": "calls", "payload[stripe_customer_id]": "cus_none", "payload[value]": "5"}
        await sandbox.call("POST", "/v1/billing/meter_events", data=data)
        await sandbox.control("clock", {"advance_s": 3601})
        assert (await sandbox.control("events?type=v1.billing.meter.error_report_triggered"))["data"] == []
        await sandbox.control("clock", {"advance_s": 11})
        (sent,) = (await sandbox.control("events?type=v1.billing.meter.error_report_triggered"))["data"]
        assert codes(sent["data"]).keys() == {"meter_event_customer_not_found"}
        assert (sent["created"][-1], sent["related_object"]["type"]) == ("Z", "billing.meter")
    store = Store(tmp_path)
    assert store.run("SELECT state FROM meter_events").fetchall() == [("refused",)]
    store.close()
