"""What a delivery is about: which object is read anew, and which notice it makes; no state is taken from a payload."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from infra.webhooks.meter_errors import meter_error_records
from infra.webhooks.said import SUBJECTS, Subject, said_in

SUBSCRIPTION = {"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active"}


def snapshot(event_type: str, about: dict[str, Any]) -> bytes:
    """An event with its object."""
    body = {"id": "evt_1", "object": "event", "type": event_type, "created": 7, "livemode": False, "data": {"object": about}}
    return json.dumps(body).encode()


@pytest.mark.parametrize("event_type", sorted(kind for kind, subject in SUBJECTS.items() if subject != "meter_error"))
def test_each_known_event_names_its_object(event_type: str) -> None:
    """Every type that concerns us says which object is to be read anew, and of which customer."""
    said = said_in(snapshot(event_type, SUBSCRIPTION))
    assert said is not None
    assert (said.about, said.customer, said.created_s) == ("sub_1", "cus_1", 7)
    assert said.subject in get_args(Subject)


def test_a_thin_event_names_what_it_is_related_to() -> None:
    """A report of meter errors has no data: its id is what is fetched; one about no meter at all has no object."""
    thin: dict[str, Any] = {"id": "evt_2", "object": "v2.core.event", "created": "2026-01-01T00:00:00Z"}
    thin["type"] = "v1.billing.meter.error_report_triggered"
    said = said_in(json.dumps({**thin, "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/x"}}).encode())
    assert said is not None and (said.subject, said.id, said.about) == ("meter_error", "evt_2", "mtr_1")
    lost = said_in(json.dumps({**thin, "type": "v1.billing.meter.no_meter_found", "related_object": None}).encode())
    assert lost is not None and (lost.subject, lost.about) == ("meter_error", "")


def test_what_an_application_is_told_of() -> None:
    """A failed and a successful payment and the end of a subscription are notices; what Stripe also sends of the same payment is not."""
    told = {kind: said.notice for kind in (*SUBJECTS, "invoice.payment_succeeded") if (said := said_in(snapshot(kind, SUBSCRIPTION))) and said.notice}
    assert told == {
        "invoice.payment_failed": "payment_failed",
        "invoice.paid": "payment_succeeded",
        "customer.subscription.deleted": "subscription_deleted",
    }


def test_other_events_are_known_to_be_others() -> None:
    """An event of a type that does not concern us is read and has no subject."""
    said = said_in(snapshot("charge.refunded", {"id": "ch_1", "object": "charge"}))
    assert said is not None and said.subject is None


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"id": 1}', b'{"id": "", "type": "x", "object": "event"}', b"\xff", b"[" * 5000])
def test_what_is_no_event_is_none(body: bytes) -> None:
    """Bodies that are no event of Stripe's give nothing, and raise nothing."""
    assert said_in(body) is None


def test_a_report_of_meter_errors_becomes_one_record_a_kind() -> None:
    """Each kind of error keeps its code, its count, the provider's sentence, and the idempotency keys of its samples, under either name."""
    kinds = [
        {
            "code": "meter_event_customer_not_found",
            "error_count": 3,
            "sample_errors": [
                {"error_message": "no such customer", "request": {"identifier": "tm1_b"}},
                {"error_message": "no such customer", "request": {"id": "req_1", "idempotency_key": "tm1_a"}},
            ],
        },
        {"code": "no_meter", "error_count": 1, "sample_errors": []},
    ]
    records = meter_error_records({"id": "evt_3", "data": {"reason": {"error_count": 4, "error_types": kinds}}})
    assert [(r.code, r.count, r.keys, r.sentence) for r in records] == [
        ("meter_event_customer_not_found", 3, ("tm1_a", "tm1_b"), "no such customer"),
        ("no_meter", 1, (), ""),
    ]
    assert {record.event for record in records} == {"evt_3"}
