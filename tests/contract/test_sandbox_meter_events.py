"""Meter events that are refused in the call, and how many may come at once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.engine import Admitted
from infra.sandbox.meter_usage import metered_total
from tests.contract.meter_bench import DAY_S, new_customer, tuned
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


DAHLIA = "2026-04-22.dahlia"


# ── what is refused in the call ──────────────────────────────────────────────────────────────────────────────────────
def test_the_answer_says_what_was_sent(sandbox: Driver, customer: str) -> None:
    """A 200 repeats the event; without a timestamp it is now, without an identifier one is made up."""
    sandbox.meter()
    at = sandbox.now - 60
    sent = sandbox.emit(customer, "1.5", identifier="w:1", timestamp=at).json
    assert sent == {
        "object": "billing.meter_event",
        "created": sent["created"],
        "event_name": "calls",
        "identifier": "w:1",
        "livemode": False,
        "payload": {"stripe_customer_id": customer, "value": "1.5"},
        "timestamp": at,
    }
    first, second = sandbox.emit(customer, 1).json, sandbox.emit(customer, 1).json
    assert first["identifier"] != second["identifier"]
    assert abs(first["timestamp"] - sandbox.now) <= 2


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"identifier": "x" * 101}, "identifier"),
        ({"event_name": "x" * 101}, "event_name"),
        ({"payload[value]": "1" * 101}, "payload[value]"),
        ({"payload[nested][deep]": "1"}, "payload[nested]"),
        ({"timestamp": "1.5"}, "timestamp"),
        ({"timestamp": "now"}, "timestamp"),
        ({"quantity": "1"}, "quantity"),
        ({"event_name": None}, "event_name"),
    ],
)
def test_wrong_parameters_are_refused_and_not_saved(sandbox: Driver, customer: str, params: dict[str, Any], param: str) -> None:
    """A wrong form is 400 with its parameter and leaves key and identifier free."""
    sandbox.meter()
    refused = sandbox.emit(customer, 1, key="k", **{"identifier": "i", **params})
    assert (refused.status, refused.error["param"]) == (400, param)
    assert sandbox.emit(customer, 1, key="k", identifier="i").status == 200


def test_an_identifier_is_taken_for_a_day(sandbox: Driver, customer: str) -> None:
    """A second event with it is 400 in Stripe's words, without code and not to be retried; a day later it counts again."""
    meter = sandbox.meter()
    assert sandbox.emit(customer, 5, key="a", identifier="w:1").status == 200
    taken = sandbox.emit(customer, 6, key="b", identifier="w:1")
    assert (taken.status, taken.error) == (400, {"message": "An event already exists with identifier w:1.", "type": "invalid_request_error"})
    assert taken.headers["Stripe-Should-Retry"] == "false"
    sandbox.engine.clock.set(sandbox.now + DAY_S - 5)
    assert sandbox.emit(customer, 5, key="c", identifier="w:1").status == 400
    sandbox.engine.clock.set(sandbox.now + 10)
    assert sandbox.emit(customer, 5, key="d", identifier="w:1").status == 200
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now + 1) == 10


def test_the_same_key_replays_instead(sandbox: Driver, customer: str) -> None:
    """The same request under its key is answered 200 from what was saved, and counts once."""
    meter = sandbox.meter()
    at = sandbox.now
    first = sandbox.emit(customer, 5, key="a", identifier="w:1", timestamp=at)
    again = sandbox.emit(customer, 5, key="a", identifier="w:1", timestamp=at)
    assert (again.status, again.json, again.headers["Idempotent-Replayed"]) == (200, first.json, "true")
    assert metered_total(sandbox.store, meter, customer, 0, at + 1) == 5


def test_a_refused_identifier_stays_refused_under_its_key(sandbox: Driver, customer: str) -> None:
    """The refusal came while executing, so its key replays it even when the identifier is free again."""
    sandbox.meter()
    at = sandbox.now
    sandbox.emit(customer, 5, identifier="w:1", timestamp=at)
    assert sandbox.emit(customer, 5, key="b", identifier="w:1", timestamp=at).status == 400
    sandbox.engine.clock.set(sandbox.now + DAY_S - 100)
    assert sandbox.emit(customer, 5, key="b", identifier="w:1", timestamp=at).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("by_name", [False, True])
def test_the_scope_of_identifiers_is_a_knob(tmp_path: Path, by_name: bool) -> None:
    """By default an identifier is taken in the whole account, by the knob only within one event name."""
    with Driver(tmp_path, knobs=tuned(meter_identifier_by_name=by_name)) as sandbox:
        customer = new_customer(sandbox)
        sandbox.meter("a")
        sandbox.meter("b")
        sandbox.emit(customer, 1, event_name="a", identifier="w:1")
        assert sandbox.emit(customer, 1, event_name="b", identifier="w:1").status == (200 if by_name else 400)
        assert sandbox.emit(customer, 1, event_name="a", identifier="w:1").status == 400


@pytest.mark.parametrize(
    ("ahead_s", "status"), [(-35 * DAY_S + 30, 200), (-35 * DAY_S - 30, 400), (0, 200), (270, 200), (330, 400)]
)
def test_timestamps_have_a_range(sandbox: Driver, customer: str, ahead_s: int, status: int) -> None:
    """35 days back and 5 minutes ahead are taken, more is refused in the call and counts nothing."""
    meter = sandbox.meter()
    reply = sandbox.emit(customer, 1, timestamp=sandbox.now + ahead_s)
    assert reply.status == status
    if status == 400:
        assert reply.error["param"] == "timestamp"
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now + DAY_S) == (1 if status == 200 else 0)


def test_of_a_customer_on_a_test_clock_now_is_frozen(sandbox: Driver, customer: str) -> None:
    """A customer's test clock decides which timestamps are taken and what the default is; everybody else's stays the sandbox's."""
    meter = sandbox.meter()
    frozen = sandbox.now + 60 * DAY_S
    body = sandbox.store.get("customer", customer)
    assert body is not None
    sandbox.store.put({"id": "clock_1", "object": "test_helpers.test_clock", "frozen_time": frozen})
    sandbox.store.put({**body, "test_clock": "clock_1"})
    assert sandbox.emit(customer, 1).json["timestamp"] == frozen
    assert sandbox.emit(customer, 1, timestamp=frozen + 300).status == 200
    assert sandbox.emit(customer, 1, timestamp=frozen + 301).status == 400
    assert sandbox.emit(customer, 1, timestamp=sandbox.now).status == 400
    assert sandbox.emit(new_customer(sandbox), 1, timestamp=frozen).status == 400
    assert metered_total(sandbox.store, meter, customer, frozen, frozen + 301) == 2


@pytest.mark.parametrize(("version", "status"), [(DAHLIA, 400), ("2026-01-28.clover", 200)])
def test_too_many_digits_are_refused_from_dahlia_on(sandbox: Driver, customer: str, version: str, status: int) -> None:
    """Sixteen digits are 400 in Stripe's words from dahlia on; before they are answered 200, and never count."""
    meter = sandbox.meter()
    params = {"event_name": "calls", "payload[stripe_customer_id]": customer, "payload[value]": "1234567890.123456"}
    reply = sandbox.post("/v1/billing/meter_events", params, stripe_version=version)
    assert reply.status == status
    if status == 400:
        assert reply.error["message"] == "The value in the event payload can have at most 15 digits. Received 1234567890.123456."
    params["payload[value]"] = "123456789.123456"
    assert sandbox.post("/v1/billing/meter_events", params, stripe_version=version).status == 200
    assert metered_total(sandbox.store, meter, customer, 0, sandbox.now + 1) == Decimal("123456789.123456")


# ── one at a time, and how often ─────────────────────────────────────────────────────────────────────────────────────
def test_one_call_at_a_time_for_a_customer_and_meter(sandbox: Driver, customer: str) -> None:
    """While one executes, a second is 429 lock_timeout, not saved; other customers, other meters and then the same go on."""
    sandbox.meter()
    sandbox.meter("bytes")
    params = {"event_name": "calls", "payload[stripe_customer_id]": customer, "payload[value]": "1"}
    first = sandbox.engine.admit(sandbox.request("POST", "/v1/billing/meter_events", params, key="a"))
    assert isinstance(first, Admitted)
    held = sandbox.emit(customer, 2, key="b")
    assert (held.status, held.error["code"], held.headers["Stripe-Should-Retry"]) == (429, "lock_timeout", "true")
    assert "Stripe-Rate-Limited-Reason" not in held.headers
    assert sandbox.emit(customer, 1, key="a").status == 409
    assert sandbox.emit(new_customer(sandbox), 2).status == 200
    assert sandbox.emit(customer, 2, event_name="bytes").status == 200
    assert sandbox.finish(first).status == 200
    assert sandbox.emit(customer, 2, key="b").status == 200


@pytest.mark.parametrize("key", ["a", None])
def test_an_abandoned_call_frees_its_customer(sandbox: Driver, customer: str, key: str | None) -> None:
    """A call that never executes holds nothing afterwards, with or without a key."""
    sandbox.meter()
    params = {"event_name": "calls", "payload[stripe_customer_id]": customer, "payload[value]": "1"}
    first = sandbox.engine.admit(sandbox.request("POST", "/v1/billing/meter_events", params, key=key))
    assert isinstance(first, Admitted)
    assert sandbox.emit(customer, 2).status == 429
    sandbox.engine.abandon(first)
    assert sandbox.emit(customer, 2).status == 200


def test_a_held_call_is_replayed_beside_the_lock(sandbox: Driver, customer: str) -> None:
    """A key that has its answer is replayed while another call for the same customer executes."""
    sandbox.meter()
    at = sandbox.now
    sandbox.emit(customer, 1, key="a", timestamp=at)
    params = {"event_name": "calls", "payload[stripe_customer_id]": customer, "payload[value]": "1"}
    assert isinstance(sandbox.engine.admit(sandbox.request("POST", "/v1/billing/meter_events", params, key="b")), Admitted)
    assert sandbox.emit(customer, 1, key="a", timestamp=at).headers["Idempotent-Replayed"] == "true"


def test_the_lock_is_a_knob(tmp_path: Path) -> None:
    """Without the rule two calls for one customer and meter execute side by side."""
    with Driver(tmp_path, knobs=tuned(meter_one_at_a_time=False)) as sandbox:
        customer = new_customer(sandbox)
        sandbox.meter()
        params = {"event_name": "calls", "payload[stripe_customer_id]": customer, "payload[value]": "1"}
        assert isinstance(sandbox.engine.admit(sandbox.request("POST", "/v1/billing/meter_events", params)), Admitted)
        assert sandbox.emit(customer, 2).status == 200


@pytest.mark.parametrize("counted", [False, True])
def test_meter_events_have_their_own_rate(tmp_path: Path, counted: bool) -> None:
    """In live mode they use up nothing of the account's rate, in a sandbox they do; their own rate holds always."""
    with Driver(tmp_path, knobs=tuned(calls_per_second=3, meter_calls_per_second=5, meter_calls_counted=counted)) as sandbox:
        replies = [sandbox.emit("cus_none", 1) for _ in range(20)]
        limited = [each for each in replies if each.status == 429]
        reason = "global-rate" if counted else "endpoint-rate"
        assert limited
        assert limited[0].headers["Stripe-Rate-Limited-Reason"] == reason
        assert sandbox.get("/v1/customers").status == (429 if counted else 200)
