"""`tidemark explain`: a window as the archive knows it (`sinks/clickhouse/explain.py`), printed for a person or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.cli.output import console, print_json, say, table
from infra.reading import clickhouse, instant
from topics.errors import TidemarkError
from topics.instants import US_PER_MS, format_s, format_us
from topics.quantity import format_scaled

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.clickhouse.explanation import Attempt, ExplainedEvent, Explanation, RefusedEvent, Revision


def explain_window(settings: Settings, customer: str, meter: str, start: str, *, limit: int, as_json: bool = False) -> bool:
    """Prints the window that holds the instant; False where its proof does not hold. Raises TidemarkError where there is no such window.

    `limit`: how many events are listed for a person; JSON has all that were read.
    """
    from sinks.clickhouse.explain import explain

    connection = clickhouse(settings)
    try:
        found = explain(connection, customer, meter, instant(start, "START") // 1_000_000)
    finally:
        connection.close()
    if found is None:
        sentence = f"the archive knows of no window of {customer!r} and meter {meter!r} at {start}"
        raise TidemarkError(f"{sentence}; `tidemark windows --customer {customer}` lists those there are")
    if as_json:
        print_json(explanation_json(found))
    else:
        show(found, limit)
    return found.is_proved


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Everything, with quantities as decimal strings and times as RFC 3339."""
    return {
        "customer": found.customer,
        "meter": found.meter,
        "start": format_s(found.start_s),
        "end": format_s(found.end_s),
        "quantity": found.quantity,
        "events": found.now_events,
        "counted": [_event(event) for event in found.counted],
        "duplicates": [_event(event) for event in found.duplicates],
        "late": [_event(event) for event in found.late],
        "refused": [_refused(event) for event in found.refused],
        "revisions": [_revision(revision) for revision in found.revisions],
        "deliveries": [_attempt(attempt) for attempt in found.attempts],
        "conservation": None
        if found.conservation is None
        else {name: getattr(found.conservation, name) for name in (*found.conservation.__slots__, "residual")},
        "proof": {"holds": found.is_proved, "complete": found.is_complete, "faults": list(found.faults), "notes": list(found.notes)},
    }


def _event(event: ExplainedEvent) -> dict[str, Any]:
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
    }


def _refused(event: RefusedEvent) -> dict[str, Any]:
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


def _revision(revision: Revision) -> dict[str, Any]:
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


def _attempt(attempt: Attempt) -> dict[str, Any]:
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


def _clock(instant_ms: int) -> str:
    return format_us(instant_ms * US_PER_MS).replace("T", " ").rstrip("Z") if instant_ms else ""


def show(found: Explanation, limit: int) -> None:
    """For a person: total, revisions, deliveries, events, what was not taken, proof."""
    say(f"{found.customer} · {found.meter} · {format_s(found.start_s)} … {format_s(found.end_s)}")
    beside = f"{len(found.duplicates)} duplicates, {len(found.late)} late, {len(found.refused)} not taken"
    say(f"total {found.quantity} from {found.now_events} events; {beside}")
    say("")
    table(
        ("revision", "total", "events", "emitted at", "because", "content hash", "recounted"),
        [
            [
                number,
                format_scaled(revision.scaled),
                revision.events,
                _clock(revision.closed_at_ms),
                revision.cause,
                revision.hash[:16] + "…",
                "equal" if revision.is_proved else "DIFFERS",
            ]
            for number, revision in enumerate(found.revisions, 1)
        ],
        right=("revision", "total", "events"),
    )
    if found.attempts:
        say("")
        _show_attempts(found)
    say("")
    _show_events(found, limit)
    say("")
    _show_proof(found)


def _show_attempts(found: Explanation) -> None:
    rows = [
        [
            attempt.cell or "(whole window)",
            f"{attempt.revision}.{attempt.attempt}",
            attempt.units,
            attempt.state + (f" ({attempt.reason})" if attempt.reason else ""),
            _clock(attempt.intent_at_ms),
            _clock(attempt.reported_at_ms),
            attempt.request_id,
        ]
        for attempt in found.attempts
    ]
    table(("cell", "revision.attempt", "units set", "state", "intent at", "answered at", "Stripe's request"), rows, right=("units set",))


def _show_events(found: Explanation, limit: int) -> None:
    marked = [(event.offset, event, "late" if event.is_late and event.verdict == "counted" else "") for event in found.events]
    # What is remarkable is listed before the limit cuts.
    chosen = sorted(sorted(marked, key=lambda one: (one[1].verdict == "counted" and not one[2], one[0]))[:limit], key=lambda one: one[0])
    rows = [
        [event.offset, event.event_id, event.source, _clock(event.occurred_at_us // US_PER_MS), format_scaled(event.scaled), event.verdict, mark]
        for _, event, mark in chosen
    ]
    table(("offset", "event", "source", "occurred at", "quantity", "verdict", ""), rows, right=("offset", "quantity"))
    if len(marked) > len(chosen):
        say(f"… {len(marked) - len(chosen)} more; --limit shows them")
    for event in found.refused[:limit]:
        say(f"not taken: offset {event.offset}: {event.verdict} {event.reason}: {event.sentence}")


def _show_proof(found: Explanation) -> None:
    out = console()
    for note in found.notes:
        say(f"note: {note}")
    if found.conservation is not None:
        kept = found.conservation
        fates = f"{kept.counted} counted + {kept.duplicate} duplicate + {kept.rejected} rejected + {kept.too_late} too late"
        more = f" + {kept.rerouted} rerouted + {kept.control} control + {kept.skipped} skipped"
        say(f"partition {kept.partition}: {kept.next_offset - kept.base} offsets = {fates}{more}; residual {kept.residual}")
    if found.is_proved:
        out.print("[green]proved: every total and hash follows from the raw events in ClickHouse[/green]")
    for fault in found.faults:
        out.print(f"[red]{fault}[/red]")
