"""From Stripe's objects, just read, to records. Pure: the same object gives the same record, byte for byte, however often and in whatever order
webhooks of it come.

So a record carries no instant of ours: an invoice was seen as it is at the newest instant that it names itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast, get_args

import msgspec

from sinks.stripe.binding import terms_of
from sinks.stripe.objects import Price, read
from sinks.stripe.suitability import Terms
from topics.clocks import ClockRecord
from topics.errors import TidemarkError
from topics.invoices import Billed, InvoiceRecord, Status
from topics.meter_errors import MeterErrorRecord
from topics.notices import Notice, NoticeRecord

LONGEST_SENTENCE: Final = 300
STATUSES: Final = get_args(Status)


class _Transitions(msgspec.Struct):
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    marked_uncollectible_at: int | None = None


class InvoiceSeen(msgspec.Struct):
    """An invoice as we read it, under the version that shows prices whole (before basil)."""

    id: str
    created: int
    status: str | None
    customer: str
    currency: str = ""
    amount_due: int = 0
    subscription: str | None = None
    status_transitions: _Transitions = msgspec.field(default_factory=_Transitions)

    @property
    def seen_at_s(self) -> int:
        """The newest instant that it names: it rises with every change of its status."""
        found = self.status_transitions
        return max(self.created, *(each or 0 for each in (found.finalized_at, found.paid_at, found.voided_at, found.marked_uncollectible_at)))


class _Period(msgspec.Struct):
    start: int
    end: int


class _Line(msgspec.Struct):
    period: _Period
    subscription_item: str
    price: dict[str, Any]
    quantity: int | None = None


def invoice_of(row: Mapping[str, Any]) -> InvoiceSeen:
    """An invoice. Raises TidemarkError where it is not as documented."""
    found: InvoiceSeen = _as(row, InvoiceSeen)
    return found


def _as(row: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise TidemarkError(f"{row.get('object') or 'an object'} {row.get('id')} is not as Stripe documents it: {error}") from None


def invoice_record(seen: InvoiceSeen, lines: Iterable[Mapping[str, Any]], terms: Sequence[Terms], ours: Collection[str] = ()) -> InvoiceRecord | None:
    """What is said of an invoice; None where it bills no period of a meter of ours. `ours`: subscription items that are bound.

    A line counts where it is metered, ours, and its period was over when the invoice was made: the first invoice of a subscription shows the
    period that just begins, with nothing on it, and must not end it.
    """
    if seen.status not in STATUSES or not seen.subscription:
        return None
    found = [line for row in lines if (line := _usage_line(row, terms, ours)) is not None and line.period.end <= seen.created]
    if not found:
        return None
    return InvoiceRecord(
        invoice=seen.id,
        subscription=seen.subscription,
        items=tuple(sorted({line.subscription_item for line in found})),
        status=cast("Status", seen.status),
        period_start_s=min(line.period.start for line in found),
        period_end_s=max(line.period.end for line in found),
        finalized_at_s=None if seen.status == "draft" else seen.status_transitions.finalized_at,
        seen_at_s=seen.seen_at_s,
        billed=_billed(found),
    )


def _billed(lines: Iterable[_Line]) -> tuple[Billed, ...]:
    """Units by item and period, of legacy prices: a graduated one has a line for each tier."""
    sums: dict[tuple[str, int, int], int] = {}
    for line in lines:
        if line.quantity is None or _is_on_meter(line):
            continue
        key = (line.subscription_item, line.period.start, line.period.end)
        sums[key] = sums.get(key, 0) + line.quantity
    return tuple(Billed(*key, units) for key, units in sorted(sums.items()))


def _is_on_meter(line: _Line) -> bool:
    recurring = read(line.price, Price).recurring
    return recurring is not None and recurring.meter is not None


def _usage_line(row: Mapping[str, Any], terms: Sequence[Terms], ours: Collection[str]) -> _Line | None:
    if not isinstance(row.get("subscription_item"), str) or not isinstance(row.get("price"), Mapping):
        return None
    line: _Line = _as(row, _Line)
    price = read(line.price, Price)
    if price.recurring is None or price.recurring.usage_type != "metered":
        return None
    return line if line.subscription_item in ours or terms_of(price, terms) is not None else None


class _Item(msgspec.Struct):
    id: str
    price: dict[str, Any]


class _Items(msgspec.Struct):
    data: list[_Item]


class _Running(msgspec.Struct):
    id: str
    status: str
    current_period_start: int
    current_period_end: int
    items: _Items


def upcoming_record(subscription: Mapping[str, Any], terms: Sequence[Terms]) -> InvoiceRecord | None:
    """The invoice to come of a subscription (read before basil): it has no id yet, so it is named by subscription and period."""
    found: _Running = _as(subscription, _Running)
    items = tuple(sorted(item.id for item in found.items.data if terms_of(read(item.price, Price), terms) is not None))
    if not items or found.status in {"canceled", "incomplete", "incomplete_expired"}:
        return None
    return InvoiceRecord(
        invoice=f"upcoming/{found.id}/{found.current_period_end}",
        subscription=found.id,
        items=items,
        status="upcoming",
        period_start_s=found.current_period_start,
        period_end_s=found.current_period_end,
        seen_at_s=found.current_period_start,
    )


class _Clock(msgspec.Struct):
    id: str
    frozen_time: int


def clock_record(clock: Mapping[str, Any]) -> ClockRecord:
    """What a test clock shows."""
    found: _Clock = _as(clock, _Clock)
    return ClockRecord(clock=found.id, now_s=found.frozen_time)


class _Request(msgspec.Struct):
    identifier: str = ""
    idempotency_key: str = ""


class _Sample(msgspec.Struct):
    error_message: str = ""
    request: _Request | None = None


class _ErrorType(msgspec.Struct):
    code: str
    error_count: int
    sample_errors: list[_Sample] = []


class _Reason(msgspec.Struct):
    error_types: list[_ErrorType]


class _Data(msgspec.Struct):
    reason: _Reason


class _MeterEvent(msgspec.Struct):
    id: str
    data: _Data


def meter_errors(event: Mapping[str, Any]) -> list[MeterErrorRecord]:
    """The refusals that a thin event (fetched, with its data) reports: one record a code. Stripe's pages name the request's key in two ways
    (`identifier`, `idempotency_key`); either is taken."""
    found: _MeterEvent = _as(event, _MeterEvent)
    records = []
    for each in found.data.reason.error_types:
        requests = [sample.request for sample in each.sample_errors if sample.request is not None]
        keys = dict.fromkeys(request.idempotency_key or request.identifier for request in requests)
        sentence = each.sample_errors[0].error_message[:LONGEST_SENTENCE] if each.sample_errors else ""
        records.append(
            MeterErrorRecord(event=found.id, code=each.code, sentence=sentence, count=each.error_count, keys=tuple(key for key in keys if key))
        )
    return records


def payment_notice(event: str, notice: Notice, customer: str, seen: InvoiceSeen, at_s: int) -> NoticeRecord | None:
    """A notice of a payment; None where the invoice has changed its mind since: a late `failed` must not suspend a customer who has paid."""
    if (seen.status == "paid") != (notice == "payment_succeeded"):
        return None
    return NoticeRecord(
        id=event,
        notice=notice,
        customer=customer,
        subscription=seen.subscription or "",
        invoice=seen.id,
        amount_due=seen.amount_due,
        currency=seen.currency,
        at_s=at_s,
    )


def deletion_notice(event: str, customer: str, subscription: str, status: str, at_s: int) -> NoticeRecord | None:
    """A notice that a subscription is over; None where Stripe does not say so (any more)."""
    if status != "canceled":
        return None
    return NoticeRecord(id=event, notice="subscription_deleted", customer=customer, subscription=subscription, at_s=at_s)
