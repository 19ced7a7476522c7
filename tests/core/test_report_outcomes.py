"""Law 15: what each answer of Stripe's means (faults C1 to C7, C9, C11); texts as facts give them, not as our sandbox does."""

from __future__ import annotations

import json

import pytest

from sinks.outcomes import (
    AlreadyDelivered,
    Answer,
    Conflict,
    Delivered,
    Outcome,
    PeriodClosed,
    Refused,
    RetryAfter,
    TooLate,
    Wanted,
    outcome_of,
)

WANTED = Wanted("si_1", 1_700_000_000, 7)
RECORD = {"id": "mbur_1", "object": "usage_record", "livemode": False, "quantity": 7, "subscription_item": "si_1", "timestamp": 1_700_000_000}
REPLAYED = {"idempotent-replayed": "true"}
BEFORE = (
    "Cannot create the usage record with this timestamp because timestamps must be after the subscription's last invoice period "
    "(or current period start time)."
)
ON_METER = "Cannot create a usage record for `si_1` because it is not on the legacy metered billing system. Call /v1/billing/meter_events instead."
OTHER_BODY = "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than 'k'"


def error(status: int, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    """An error as Stripe writes it."""
    return Answer(status, json.dumps({"error": fields}), headers or {})


TABLE: list[tuple[str, Answer, type[Outcome], str]] = [
    ("executed", Answer(200, json.dumps(RECORD), {"request-id": "req_1"}), Delivered, ""),
    ("C1: the retry of a lost reply", Answer(200, json.dumps(RECORD), REPLAYED), AlreadyDelivered, ""),
    ("another quantity is answered", Answer(200, json.dumps({**RECORD, "quantity": 8}), {}), Conflict, "other_answer"),
    ("another item is answered", Answer(200, json.dumps({**RECORD, "subscription_item": "si_2"}), {}), Conflict, "other_answer"),
    ("another second is answered", Answer(200, json.dumps({**RECORD, "timestamp": 1}), {}), Conflict, "other_answer"),
    ("another object is answered", Answer(200, json.dumps({**RECORD, "object": "charge"}), {}), Conflict, "other_answer"),
    ("the body is cut", Answer(200, json.dumps(RECORD)[:40], {}), RetryAfter, "unreadable"),
    ("the body is empty", Answer(200, "", {}), RetryAfter, "unreadable"),
    ("C3: the key is in use", error(409, code="idempotency_key_in_use", type="invalid_request_error"), RetryAfter, "idempotency_key_in_use"),
    ("C3: the same, other type", error(409, code="idempotency_key_in_use", type="idempotency_error"), RetryAfter, "idempotency_key_in_use"),
    ("C4: too fast", error(429, {"stripe-rate-limited-reason": "global-rate"}, message="slow down"), RetryAfter, "global-rate"),
    ("C4: a lock", error(429, code="lock_timeout", message="busy"), RetryAfter, "lock_timeout"),
    ("C5: a failure", error(500, type="api_error", message="sorry"), RetryAfter, "server_error"),
    ("C5: a saved failure", error(500, REPLAYED, type="api_error", message="sorry"), RetryAfter, "saved_failure"),
    ("C6: a gateway", Answer(502, "<html>bad gateway</html>", {}), RetryAfter, "server_error"),
    ("C6: unavailable", Answer(503, "", {}), RetryAfter, "server_error"),
    ("C6: nothing was sent", Answer(None, sent=False, error="refused"), RetryAfter, "unreachable"),
    ("C6: nothing came back", Answer(None, error="reset"), RetryAfter, "no_answer"),
    ("the intent is too old to be sent", Answer(None, sent=False, late=True), TooLate, ""),
    ("C9: same key, other body", error(400, type="idempotency_error", message=OTHER_BODY), Conflict, "idempotency_error"),
    ("the period is over", error(400, type="invalid_request_error", param="timestamp", message=BEFORE), PeriodClosed, "period_closed"),
    ("its clock is behind", error(400, param="timestamp", message="must not be in the future"), RetryAfter, "timestamp_in_future"),
    ("C11: no such item", error(404, code="resource_missing", message="No such subscription_item: 'si_1'"), Refused, "no_such_item"),
    ("C11: on a meter", error(400, param="subscription_item", message=ON_METER), Refused, "not_legacy"),
    ("C11: canceled", error(400, type="invalid_request_error", message="canceled", param="subscription_item"), Refused, "subscription_item"),
    ("not an integer", error(400, code="parameter_invalid_integer", message="Invalid integer: 1.5"), Refused, "parameter_invalid_integer"),
    ("our key is wrong", error(401, type="invalid_request_error", message="Invalid API Key provided"), RetryAfter, "unauthorized"),
    ("our key may not", error(403, message="no permission"), RetryAfter, "forbidden"),
    ("an answer without a word", Answer(400, "", {}), Refused, "http_400"),
    ("an answer that is no object", Answer(400, "[]", {}), Refused, "http_400"),
]


@pytest.mark.parametrize(("answer", "kind", "reason"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_each_answer_has_one_meaning(answer: Answer, kind: type[Outcome], reason: str) -> None:
    """An answer becomes exactly the outcome that the table says, with its reason and evidence."""
    outcome = outcome_of(answer, WANTED)
    assert type(outcome) is kind
    assert outcome.reason == reason
    assert outcome.http_status == (answer.status if kind is not TooLate else None)


def test_only_a_saved_failure_spends_a_key() -> None:
    """A first 500 is asked again under its key; the replay of it ends the key, for Stripe would repeat it for a day."""
    first, again = outcome_of(error(500), WANTED), outcome_of(error(500, REPLAYED), WANTED)
    assert isinstance(first, RetryAfter) and not first.spent
    assert isinstance(again, RetryAfter) and again.spent and again.may_stand


def test_what_speaks_of_the_account_opens_no_cells_grave() -> None:
    """A wrong key parks nothing: it counts against the provider as a whole, so delivery waits and goes on by itself."""
    for status in (401, 403, 500, 503):
        outcome = outcome_of(error(status), WANTED)
        assert isinstance(outcome, RetryAfter) and outcome.down


def test_only_speed_slows_down() -> None:
    """A lock on one object says nothing about our speed; the other 429 do."""
    lock, speed = outcome_of(error(429, code="lock_timeout"), WANTED), outcome_of(error(429), WANTED)
    assert isinstance(lock, RetryAfter) and not lock.limited
    assert isinstance(speed, RetryAfter) and speed.limited
