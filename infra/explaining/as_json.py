"""What was explained, for programs: quantities and money as decimal strings or integers of the smallest unit, times as RFC 3339. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from topics.instants import US_PER_MS, format_s, format_us
from topics.quantity import format_scaled

if TYPE_CHECKING:
    from infra.explaining.amount import Amounts
    from infra.explaining.line import Explained
    from infra.explaining.period import MeterPeriod, Period
    from sinks.clickhouse.explain import Explanation
    from sinks.clickhouse.explanation import Amended, Attempt, Conservation, ExplainedEvent, RefusedEvent, Revision
    from sinks.clickhouse.line import LineWindow
    from sinks.clickhouse.span_windows import Span, SpanWindow
    from sinks.stripe.line_money import LineMoney
    from sinks.stripe.working import Step, Working

Json = dict[str, Any]
LINE = ("invoice", "status", "id", "units", "amount", "currency")


def explanation_json(found: Explanation) -> Json:
    """A window."""
    return {
        "customer": found.customer,
        "meter": found.meter,
        "start": format_s(found.start_s),
        "end": format_s(found.end_s),
        "quantity": found.quantity,
        "events": found.now_events,
        "hash": found.window.now_hash,
        "state": found.window.state,
        "counted": [event_json(event) for event in found.counted],
        "duplicates": [event_json(event) for event in found.duplicates],
        "late": [event_json(event) for event in found.late],
        "refused": [refused_json(event) for event in found.refused],
        "amendments": [amended_json(each) for each in found.amendments],
        "revisions": [revision_json(revision) for revision in found.revisions],
        "deliveries": [attempt_json(attempt) for attempt in found.attempts],
        "conservation": None if found.conservation is None else conservation_json(found.conservation),
        "proof": {"holds": found.is_proved, "complete": found.is_complete, "faults": list(found.faults), "notes": list(found.notes)},
    }


def line_json(found: Explained) -> Json:
    """An invoice line."""
    line, windows = found.line, found.windows
    names = ("invoice", "status", "id", "item", "price", "start_s", "end_s", "units", "amount", "currency", "subscription", "number", "proration")
    return {
        **{name: getattr(line, name) for name in names},
        "parts": [part._asdict() for part in line.parts],
        "start": format_s(line.start_s),
        "end": format_s(line.end_s),
        "customer": windows.customer,
        "meter": windows.meter,
        "delivered_units": windows.units,
        "events": windows.events,
        "windows": [line_window_json(window) for window in windows.windows],
        "not_on_the_line": [_waiting(window) for window in windows.open],
        "carried": [{"units": units, "adjustment": name, "at": format_s(second)} for units, name, second in found.carried],
        "money": None if found.money is None else money_json(found.money),
        **remarkable_json(windows.span),
        "proof": {"holds": not found.faults, "faults": found.faults, "notes": found.notes},
    }


def period_json(found: Period) -> Json:
    """A customer's period, meter by meter."""
    return {
        "customer": found.customer,
        "from": format_s(found.from_s),
        "to": format_s(found.to_s),
        "meters": [_meter(meter) for meter in found.meters],
        "proof": {"holds": not found.faults, "faults": found.faults, "notes": found.notes},
    }


def _meter(found: MeterPeriod) -> Json:
    windows = found.windows
    return {
        "meter": windows.meter,
        "item": windows.item or None,
        "from": format_s(windows.start_s),
        "to": format_s(windows.end_s),
        "quantity": format_scaled(windows.span.scaled),
        "events": windows.span.events,
        "delivered_units": format_scaled(windows.units_scaled),
        "windows": [window_json(window) for window in windows.span.windows],
        "not_delivered": [_waiting(window) for window in windows.open],
        "line": None if found.line is None else {name: getattr(found.line, name) for name in LINE},
        "money": None if found.money is None else money_json(found.money),
        **remarkable_json(windows.span),
        "proof": {"holds": not found.faults, "faults": found.faults, "notes": found.notes},
    }


def remarkable_json(span: Span) -> Json:
    """How many events are out of the ordinary, and the first of them; every record's fate; the partitions' conservation."""
    return {
        "counts": {"late": span.late_count, "duplicates": span.duplicate_count, "refused": span.refused_count, "amendments": len(span.amendments)},
        "late": [event_json(event) for event in span.late],
        "duplicates": [event_json(event) for event in span.duplicates],
        "refused": [refused_json(event) for event in span.refused],
        "amendments": [amended_json(each) for each in span.amendments],
        "fates": {verdict: records for verdict, (records, _) in span.fates.items()},
        "conservation": [conservation_json(kept) for kept in span.conservation],
    }


def line_window_json(each: LineWindow) -> Json:
    """A window on a line: what the provider holds of it, and its own story."""
    window, answer = each.window, each.answer
    return {
        "start": format_s(each.start_s),
        "end": format_s(each.end_s),
        "cell": answer.cell,
        "units": answer.units,
        "quantity": format_scaled(each.delivered_scaled),
        "events": window.now_events,
        "hash": "" if window.emitted is None else window.emitted.hash,
        "attempts": each.answers,
        "request_id": answer.request_id,
        "reported_at": format_us(answer.reported_at_ms * US_PER_MS),
        "proved": each.is_proved,
        **_story(window),
    }


def window_json(window: SpanWindow) -> Json:
    """A window of a period."""
    return {
        "start": format_s(window.start_s),
        "end": format_s(window.end_s),
        "state": window.state,
        "quantity": format_scaled(window.now_scaled),
        "events": window.now_events,
        "hash": window.now_hash,
        "delivered": format_scaled(window.delivered_scaled),
        "proved": window.is_proved,
        **_story(window),
    }


def _story(window: SpanWindow) -> Json:
    return {
        "late": window.late,
        "revisions": [revision_json(revision) for revision in window.revisions],
        "deliveries": [attempt_json(attempt) for attempt in window.attempts],
    }


def _waiting(window: SpanWindow) -> Json:
    return {
        "start": format_s(window.start_s),
        "end": format_s(window.end_s),
        "state": window.state,
        "reason": window.reason,
        "counted": format_scaled(window.now_scaled),
        "delivered": format_scaled(window.delivered_scaled),
    }


def money_json(found: LineMoney) -> Json:
    """What units come to, beside what Stripe says; `amount` and `stripe` in the currency's smallest unit."""
    return {
        "verdict": found.verdict,
        "amount": None if found.working is None else found.working.amount,
        "stripe": found.billed,
        "named": list(found.named),
        "working": None if found.working is None else _working(found.working),
    }


def _working(found: Working) -> Json:
    return {
        "price": found.price,
        "currency": found.currency,
        "scheme": found.scheme,
        "units": decimal(found.units),
        "priced": decimal(found.priced),
        "divide_by": found.divide_by,
        "round": found.round,
        "rounding": "each step, halves away from zero" if found.is_by_step else "once, halves away from zero",
        "steps": [_step(step) for step in found.steps],
        "exact": decimal(found.exact),
    }


def _step(step: Step) -> Json:
    numbers = {name: decimal(getattr(step, name)) for name in ("units", "unit", "flat", "exact")}
    return {**numbers, "amount": step.amount, "tier": step.number, "up_to": step.up_to}


def decimal(value: Fraction) -> str:
    """All its digits; a fraction where no decimal says it."""
    for places in range(25):
        scaled = value * 10**places
        if scaled.denominator == 1:
            whole, rest = divmod(abs(int(scaled)), 10**places)
            return f"{'-' if value < 0 else ''}{whole}" + (f".{rest:0{places}}" if places else "")
    return f"{value.numerator}/{value.denominator}"


def event_json(event: ExplainedEvent) -> Json:
    """One event."""
    return {
        "event_id": event.event_id,
        "source": event.source,
        "quantity": format_scaled(event.scaled),
        "occurred_at": format_us(event.occurred_at_us),
        "received_at": format_us(event.received_at_ms * US_PER_MS),
        "partition": event.partition,
        "offset": event.offset,
        "generation": event.generation,
        "verdict": event.verdict,
        "late": event.is_late,
        "window": format_s(event.start_s),
    }


def refused_json(event: RefusedEvent) -> Json:
    """One event that was not taken."""
    return {
        "event_id": event.event_id,
        "verdict": event.verdict,
        "reason": event.reason,
        "sentence": event.sentence,
        "occurred_at": format_us(event.occurred_at_us) if event.occurred_at_us else None,
        "received_at": format_us(event.received_at_ms * US_PER_MS),
        "partition": event.partition,
        "offset": event.offset,
        "generation": event.generation,
    }


def amended_json(each: Amended) -> Json:
    """What a person said of an event."""
    of = {"source": each.of_source, "event_id": each.of_id, "generation": each.of_generation, "offset": each.of_offset}
    return {
        "kind": each.kind,
        "who": each.who,
        "reason": each.reason,
        "of": of if each.of_offset >= 0 else None,
        "quantity": format_scaled(each.scaled),
        "window": format_s(each.start_s),
        "received_at": format_us(each.received_at_ms * US_PER_MS),
        "partition": each.partition,
        "offset": each.offset,
        "generation": each.generation,
    }


def revision_json(revision: Revision) -> Json:
    """A total as emitted, and recounted."""
    return {
        "generation": revision.generation,
        "through_offset": revision.through_offset,
        "first_offset": revision.first_offset,
        "quantity": format_scaled(revision.scaled),
        "events": revision.events,
        "closed_at": format_us(revision.closed_at_ms * US_PER_MS),
        "cause": revision.cause,
        "hash": revision.hash,
        "recounted": {
            "quantity": format_scaled(revision.counted_scaled),
            "events": revision.counted_events,
            "hash": revision.counted_hash,
        },
        "proved": revision.is_proved,
    }


def attempt_json(attempt: Attempt) -> Json:
    """An attempt to deliver."""
    return {
        "kind": attempt.kind,
        "provider": attempt.provider,
        "account": attempt.account,
        "cell": attempt.cell,
        "revision": attempt.revision,
        "attempt": attempt.attempt,
        "through_offset": attempt.through_offset,
        "generation": attempt.generation,
        "window_quantity": format_scaled(attempt.window_scaled),
        "quantity": format_scaled(attempt.scaled),
        "units": attempt.units,
        "state": attempt.state,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "sentence": attempt.sentence,
        "idempotency_key": attempt.idempotency_key,
        "http_status": attempt.http_status or None,
        "request_id": attempt.request_id or None,
        "intent_at": format_us(attempt.intent_at_ms * US_PER_MS) if attempt.intent_at_ms else None,
        "reported_at": format_us(attempt.reported_at_ms * US_PER_MS) if attempt.reported_at_ms else None,
    }


def conservation_json(kept: Conservation) -> Json:
    """Law 7 of a partition."""
    return {name: getattr(kept, name) for name in (*kept.__slots__, "residual")}


def amounts_json(found: Amounts) -> Json:
    """Lines found by their amount, and what comes nearest where there is none."""
    return {
        "customer": found.customer,
        "looked_at": found.looked_at,
        "matches": [line_json(each) for each in found.matches],
        "nearest": [{**{name: getattr(line, name) for name in (*LINE, "number")}, "but": why} for line, why in found.nearest],
    }
