"""The sandbox's asynchronous meter errors, pure: which code a payload gets, and the thin events that report them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox.knobs import Knobs
from infra.sandbox.meter_judging import Counted, Refused, judged
from infra.sandbox.meter_reports import Failure, reports
from topics.quantity import ONE

METER: dict[str, Any] = {
    "id": "mtr_1",
    "status": "active",
    "customer_mapping": {"event_payload_key": "stripe_customer_id"},
    "value_settings": {"event_payload_key": "value"},
    "default_aggregation": {"formula": "sum"},
}
CUSTOMER = {"id": "cus_1"}
GOOD = {"stripe_customer_id": "cus_1", "value": "5"}


@pytest.mark.parametrize(
    ("meter", "payload", "customer", "code"),
    [
        (None, GOOD, CUSTOMER, "no_meter"),
        ({**METER, "status": "inactive"}, GOOD, CUSTOMER, "archived_meter"),
        (METER, {"value": "5"}, CUSTOMER, "meter_event_no_customer_defined"),
        (METER, {**GOOD, "stripe_customer_id": ""}, CUSTOMER, "meter_event_no_customer_defined"),
        (METER, GOOD, None, "meter_event_customer_not_found"),
        (METER, {"stripe_customer_id": "cus_1"}, CUSTOMER, "meter_event_invalid_value"),
        (METER, {**GOOD, "value": "many"}, CUSTOMER, "meter_event_invalid_value"),
        (METER, {**GOOD, "value": "1e3"}, CUSTOMER, "meter_event_invalid_value"),
        (METER, {**GOOD, "value": "0.0000000000001"}, CUSTOMER, "meter_event_invalid_value"),
        (METER, {**GOOD, "value": "1234567890123456"}, CUSTOMER, "meter_event_value_too_many_digits"),
    ],
)
def test_each_fault_has_its_code(meter: dict[str, Any] | None, payload: dict[str, str], customer: dict[str, str] | None, code: str) -> None:
    """An event that cannot count is refused with the documented code for why."""
    verdict = judged(meter, "calls", payload, customer, Knobs())
    assert isinstance(verdict, Refused)
    assert verdict.code == code


def test_what_is_right_counts() -> None:
    """A right event counts its value for its customer; one that is only counted needs no value."""
    assert judged(METER, "calls", GOOD, CUSTOMER, Knobs()) == Counted("cus_1", 5 * ONE)
    counting = {**METER, "default_aggregation": {"formula": "count"}}
    assert judged(counting, "calls", {"stripe_customer_id": "cus_1"}, CUSTOMER, Knobs()) == Counted("cus_1", 0)


def test_the_code_of_a_missing_value_is_a_knob() -> None:
    """The code that older pages have can be chosen."""
    verdict = judged(METER, "calls", {"stripe_customer_id": "cus_1"}, CUSTOMER, Knobs(meter_no_value_code="meter_event_value_not_found"))
    assert isinstance(verdict, Refused)
    assert verdict.code == "meter_event_value_not_found"


def test_a_report_has_the_documented_shape() -> None:
    """One missing customer key gives, word for word, the report of Stripe's reference."""
    message = judged(METER, "calls", {"value": "5"}, None, Knobs())
    assert isinstance(message, Refused)
    at_s = 1_724_878_441.9  # 2024-08-28T20:54:01.9Z
    (report,) = reports([Failure("mtr_1", message.code, message.message, "key-1", at_s)], window_s=10, samples=10)
    assert (report.kind, report.ended_s) == ("v1.billing.meter.error_report_triggered", 1_724_878_450)
    assert report.related_object == {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"}
    sample = {"error_message": "Customer mapping key stripe_customer_id not found in payload.", "request": {"identifier": "key-1"}}
    assert report.data == {
        "developer_message_summary": "There is 1 invalid event",
        "validation_start": "2024-08-28T20:54:00.000Z",
        "validation_end": "2024-08-28T20:54:10.000Z",
        "reason": {
            "error_count": 1,
            "error_types": [{"code": "meter_event_no_customer_defined", "error_count": 1, "sample_errors": [sample]}],
        },
    }


def test_without_a_meter_there_is_no_related_object() -> None:
    """Events for no meter are reported in a thin event of their own kind that is about no object."""
    (report,) = reports([Failure("", "no_meter", "No meter found.", "key-1", 5.0)], window_s=10, samples=10)
    assert (report.kind, report.related_object) == ("v1.billing.meter.no_meter_found", None)


FAILURES = st.lists(
    st.builds(
        Failure, st.sampled_from(["", "mtr_1", "mtr_2"]), st.sampled_from(["a", "b"]), st.just("m"), st.uuids().map(str), st.floats(0, 60)
    ),
    max_size=40,
)


@given(FAILURES, st.integers(1, 5))
def test_every_failure_is_reported_once(failures: list[Failure], samples: int) -> None:
    """Each failure is in exactly one report, of its meter and its window; counts are whole even where samples are cut."""
    made = reports(failures, window_s=10, samples=samples)
    assert sum(each.data["reason"]["error_count"] for each in made) == len(failures)
    assert [each.ended_s for each in made] == sorted(each.ended_s for each in made)
    assert len({(each.ended_s, str(each.related_object)) for each in made}) == len(made)
    for report in made:
        meter = report.related_object["id"] if report.related_object else ""
        inside = [each for each in failures if each.meter == meter and report.ended_s - 10 <= each.judged_s < report.ended_s]
        types = report.data["reason"]["error_types"]
        assert {each["code"]: each["error_count"] for each in types} == dict(Counter(failure.code for failure in inside))
        for each in types:
            expected = [f.request for f in inside if f.code == each["code"]][:samples]
            assert [sample["request"]["identifier"] for sample in each["sample_errors"]] == expected
