"""Law 15: what a provider's answer means, as values. Pure: HTTP status, headers and body in, one outcome out.

Branches are on status, then `code`, `param` and message as facts are known (Stripe, "Error handling", and public reports named beside each).
A call without a definite answer is `RetryAfter`: the same key and the same bytes again, never others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call. `status` None: no whole answer came; `sent` False: nothing left this machine, for certain.

    `late`: it was not sent because the intent's commit was too long ago (law 13); header names are in lower case.
    """

    status: int | None
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: bool = True
    late: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a usage record's answer must repeat to be believed."""

    item: str
    timestamp_s: int
    units: int


@dataclass(frozen=True, slots=True)
class WantedEvent:
    """What a meter event's answer must repeat to be believed; `values` are its payload."""

    event_name: str
    identifier: str
    timestamp_s: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WantedBill:
    """What the answer to an invoice item or credit note (`made`) must repeat to be believed; `mark` is our name for it in its metadata."""

    made: str
    amount: int
    currency: str
    mark: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Base: what a receipt keeps as evidence. `made` is the provider's name for an object that the request made ("": it makes none)."""

    http_status: int | None = None
    request_id: str = ""
    reason: str = ""
    sentence: str = ""
    may_stand: bool = False
    """True where the request may have taken effect although it was not accepted."""
    made: str = ""

    name = "outcome"


@dataclass(frozen=True, slots=True)
class Delivered(Outcome):
    """The provider executed this request now and holds these units."""

    name = "delivered"


@dataclass(frozen=True, slots=True)
class AlreadyDelivered(Outcome):
    """The provider repeated its first answer: an earlier call of this very request had landed."""

    name = "already_delivered"


@dataclass(frozen=True, slots=True)
class Confirmed(Outcome):
    """Read back: the provider's total contains these units."""

    name = "confirmed"


@dataclass(frozen=True, slots=True)
class Conflict(Outcome):
    """The provider holds something else under this key, or answered for another request: a defect of ours, frozen and alarmed."""

    name = "conflict"


@dataclass(frozen=True, slots=True)
class RetryAfter(Outcome):
    """No definite answer. `down`: it speaks against the provider or our access as a whole; `limited`: we were too fast.

    `spent`: the answer is a saved failure that this key will repeat for a day, so the next attempt needs another key.
    """

    ms: int | None = None
    spent: bool = False
    down: bool = False
    limited: bool = False
    name = "retry_after"


@dataclass(frozen=True, slots=True)
class TooLate(Outcome):
    """Not sent: the intent's commit was too long ago; assert it again first."""

    name = "too_late"


@dataclass(frozen=True, slots=True)
class Refused(Outcome):
    """The provider says no to this cell, and will say so again until somebody changes something."""

    name = "refused"


@dataclass(frozen=True, slots=True)
class PeriodClosed(Outcome):
    """The cell's billing period takes no more usage: what is missing becomes an adjustment."""

    name = "period_closed"


@dataclass(frozen=True, slots=True)
class Unknown(Outcome):
    """23 hours without an answer, and reading back did not explain what stands: held for a person."""

    name = "unknown"


class _Error(msgspec.Struct):
    type: str = ""
    code: str | None = None
    message: str = ""
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


class _Record(msgspec.Struct):
    object: str
    subscription_item: str
    timestamp: int
    quantity: int


class _Event(msgspec.Struct):
    object: str
    event_name: str
    identifier: str
    timestamp: int
    payload: dict[str, str]


class _Bill(msgspec.Struct):
    object: str
    id: str
    amount: int
    currency: str
    metadata: dict[str, str] = {}


_bill = msgspec.json.Decoder(_Bill)
_error = msgspec.json.Decoder(_ErrorBody)
_record = msgspec.json.Decoder(_Record)
_event = msgspec.json.Decoder(_Event)

PERIOD_OVER: Final = ("last invoice period", "current period start")
"""From "timestamps must be after the subscription's last invoice period (or current period start time)" (authgear/authgear-server#2430)."""
BILL_MARK: Final = "tidemark_remedy"
"""The name in `metadata` by which what bills an adjustment is found again."""
EVENT_TAKEN: Final = "already exists with identifier"
NO_METER: Final = "No active meter found"
"""Both without a code, in public reports of meter events."""
ACCOUNT_WIDE: Final = {401: "unauthorized", 403: "forbidden"}
"""They speak of our key, not of a cell: nothing is parked for them, delivery waits and says so."""
ELSEWHERE: Final = (301, 302, 303, 307, 308, 404, 405, 407, 410)
"""Without Stripe's error object these come from a proxy or a wrong base address, and would refuse every cell one by one."""


def outcome_of(answer: Answer, wanted: Wanted | WantedEvent | WantedBill) -> Outcome:
    """The outcome of a posted usage record, meter event, invoice item or credit note."""
    if answer.late:
        return TooLate()
    if answer.status is None:
        reason = "no_answer" if answer.sent else "unreachable"
        return RetryAfter(reason=reason, sentence=answer.error or "the provider did not answer", down=True)
    replayed = answer.headers.get("idempotent-replayed", "").lower() == "true"
    seen: dict[str, Any] = {"http_status": answer.status, "request_id": answer.headers.get("request-id", "")}
    if 200 <= answer.status < 300:
        if isinstance(wanted, WantedEvent):
            return _event_accepted(answer.body, wanted, replayed, seen)
        if isinstance(wanted, WantedBill):
            return _bill_accepted(answer.body, wanted, replayed, seen)
        return _accepted(answer.body, wanted, replayed, seen)
    error = _error_of(answer.body)
    seen["sentence"] = error.message[:500] or f"HTTP {answer.status}"
    if answer.status == 409:
        return RetryAfter(**seen, reason=error.code or "conflict")
    if answer.status == 429:
        # Without this header it is an object's lock (code lock_timeout), which says nothing about our speed.
        limited = error.code != "lock_timeout"
        return RetryAfter(**seen, reason=answer.headers.get("stripe-rate-limited-reason") or error.code or "rate_limit", limited=limited)
    if answer.status >= 500 or answer.status == 408:
        return RetryAfter(**seen, reason="saved_failure" if replayed else "server_error", spent=replayed, down=True, may_stand=True)
    if answer.status in ACCOUNT_WIDE:
        return RetryAfter(**seen, reason=ACCOUNT_WIDE[answer.status], down=True)
    if answer.status in ELSEWHERE and not error.type and not error.code:
        return RetryAfter(**seen, reason="not_stripe", down=True)
    if isinstance(wanted, WantedEvent):
        return _event_refused(error, wanted, replayed, seen)
    if isinstance(wanted, WantedBill):
        return _bill_refused(error, seen)
    return _refused(error, replayed, seen)


def _event_accepted(body: str, wanted: WantedEvent, replayed: bool, seen: dict[str, Any]) -> Outcome:
    """Received, which is not yet counted: what does not count is reported later, or found missing (H29)."""
    try:
        event = _event.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return RetryAfter(**seen, reason="unreadable", sentence="the answer was cut or is no meter event")
    got = WantedEvent(event.event_name, event.identifier, event.timestamp, event.payload)
    if event.object != "billing.meter_event" or got != wanted:
        return Conflict(**seen, reason="other_answer", may_stand=True, sentence=f"asked for {wanted}, answered {event.object} {got}"[:500])
    return AlreadyDelivered(**seen) if replayed else Delivered(**seen)


def _bill_accepted(body: str, wanted: WantedBill, replayed: bool, seen: dict[str, Any]) -> Outcome:
    try:
        bill = _bill.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return RetryAfter(**seen, reason="unreadable", sentence=f"the answer was cut or is no {wanted.made}")
    got = WantedBill(bill.object, bill.amount, bill.currency, bill.metadata.get(BILL_MARK, ""))
    if got != wanted:
        return Conflict(**seen, reason="other_answer", may_stand=True, sentence=f"asked for {wanted}, answered {got}"[:500])
    return AlreadyDelivered(**seen, made=bill.id) if replayed else Delivered(**seen, made=bill.id)


def _bill_refused(error: _Error, seen: dict[str, Any]) -> Outcome:
    """The other 4xx of an invoice item or credit note: nothing was made, and nothing will be until somebody changes something."""
    if error.type == "idempotency_error":
        return Conflict(**seen, reason="idempotency_error", may_stand=True)
    return Refused(**seen, reason=error.code or error.param or f"http_{seen['http_status']}")


def _event_refused(error: _Error, wanted: WantedEvent, replayed: bool, seen: dict[str, Any]) -> Outcome:
    """The other 4xx of a meter event."""
    if error.type == "idempotency_error":
        return Conflict(**seen, reason="idempotency_error", may_stand=True)
    if EVENT_TAKEN in error.message and wanted.identifier in error.message:
        # langfuse/langfuse#16292: it has no code. Our identifier names this very event, so an earlier attempt of it has landed.
        return AlreadyDelivered(**seen, reason="identifier_taken")
    if error.param == "timestamp" or error.code in {"timestamp_too_far_in_past", "timestamp_in_future"}:
        if "future" in error.message or error.code == "timestamp_in_future":
            return RetryAfter(**seen, reason="timestamp_in_future", ms=5_000, spent=replayed)
        return PeriodClosed(**seen, reason="timestamp_too_far_in_past")
    if NO_METER in error.message:
        return Refused(**seen, reason="no_meter")
    return Refused(**seen, reason=error.code or error.param or f"http_{seen['http_status']}")


def _accepted(body: str, wanted: Wanted, replayed: bool, seen: dict[str, Any]) -> Outcome:
    try:
        record = _record.decode(body)
    except (msgspec.DecodeError, RecursionError):
        # A body cut on its way: the same key fetches the whole answer.
        return RetryAfter(**seen, reason="unreadable", sentence="the answer was cut or is no usage record")
    got = Wanted(record.subscription_item, record.timestamp, record.quantity)
    if record.object != "usage_record" or got != wanted:
        return Conflict(**seen, reason="other_answer", may_stand=True, sentence=f"asked for {wanted}, answered {record.object} {got}")
    return AlreadyDelivered(**seen) if replayed else Delivered(**seen)


def _error_of(body: str) -> _Error:
    try:
        return _error.decode(body).error
    except (msgspec.DecodeError, RecursionError):
        return _Error(message=body[:200])


def _refused(error: _Error, replayed: bool, seen: dict[str, Any]) -> Outcome:
    """The other 4xx: about this request."""
    if error.type == "idempotency_error":
        return Conflict(**seen, reason="idempotency_error", may_stand=True)
    if error.param == "timestamp" and any(words in error.message for words in PERIOD_OVER):
        return PeriodClosed(**seen, reason="period_closed")
    if error.param == "timestamp" and "future" in error.message:
        # Its clock is behind ours; a refusal made while executing is saved, so its key is spent.
        return RetryAfter(**seen, reason="timestamp_in_future", ms=5_000, spent=replayed)
    if "not on the legacy metered billing system" in error.message:
        # laravel/cashier-stripe#1709: the price is on a meter, this sink cannot serve it
        return Refused(**seen, reason="not_legacy")
    if error.code == "resource_missing":
        return Refused(**seen, reason="no_such_item")
    return Refused(**seen, reason=error.code or error.param or f"http_{seen['http_status']}")
