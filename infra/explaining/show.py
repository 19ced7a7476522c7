"""What was explained, for a terminal: the total first, then what is out of the ordinary, then the rest, and the verdict last, where the eye is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from infra.cli.output import console, say, table
from infra.explaining.words import clock, clock_us, exact_money, money, number, stretch, visible
from topics.instants import format_s
from topics.quantity import format_scaled

if TYPE_CHECKING:
    from sinks.clickhouse.explain import Explanation
    from sinks.clickhouse.explanation import Amended, Attempt, ExplainedEvent, RefusedEvent, Revision
    from sinks.clickhouse.span_windows import Span, SpanWindow
    from sinks.stripe.line_money import LineMoney
    from sinks.stripe.working import Step, Working


def show_window(found: Explanation, limit: int) -> None:
    """A window: total, revisions, deliveries, events, what was not taken, proof."""
    say(f"{visible(found.customer)} · {visible(found.meter)} · {format_s(found.start_s)} … {format_s(found.end_s)}")
    beside = f"{len(found.duplicates)} duplicates, {len(found.late)} late, {found.span.refused_count} not taken"
    amended = f", {len(found.amendments)} amendments" if found.amendments else ""
    say(f"total {found.quantity} from {found.now_events} events; {beside}{amended}")
    say("")
    show_revisions(found.revisions)
    if found.attempts:
        say("")
        show_attempts(found.attempts)
    say("")
    _show_events(found, limit)
    show_amendments(found.amendments)
    show_refused(found.refused[:limit])
    say("")
    show_conservation(found.span)
    show_verdict(found.faults, found.notes, "every total and hash follows from the raw events in ClickHouse")


def show_revisions(revisions: Sequence[Revision]) -> None:
    """Totals as emitted, and recounted."""
    rows = [
        [
            place,
            format_scaled(revision.scaled),
            revision.events,
            clock(revision.closed_at_ms),
            visible(revision.cause),
            revision.hash[:16] + "…",
            "equal" if revision.is_proved else "DIFFERS",
        ]
        for place, revision in enumerate(revisions, 1)
    ]
    columns = ("revision", "total", "events", "emitted at", "because", "content hash", "recounted")
    table(columns, rows, right=columns[:3])


def show_attempts(attempts: Iterable[Attempt]) -> None:
    """What was sent when, and what came back."""
    rows = [
        [
            visible(attempt.cell) or "(whole window)",
            f"{attempt.revision}.{attempt.attempt}",
            attempt.units,
            attempt.state + (f" ({attempt.reason})" if attempt.reason else ""),
            clock(attempt.intent_at_ms),
            clock(attempt.reported_at_ms),
            visible(attempt.request_id),
        ]
        for attempt in attempts
    ]
    table(("cell", "revision.attempt", "units set", "state", "intent at", "answered at", "Stripe's request"), rows, right=("units set",))


def _show_events(found: Explanation, limit: int) -> None:
    marked = [(event, _mark(event, found.amendments)) for event in found.events]
    # What is remarkable is listed before the limit cuts.
    chosen = sorted(marked, key=lambda one: (one[0].verdict == "counted" and not one[1], one[0].offset))[:limit]
    show_events(sorted(chosen, key=lambda one: (one[0].generation, one[0].offset)))
    if len(marked) > len(chosen):
        say(f"… {len(marked) - len(chosen)} more; --limit shows them")


def _mark(event: ExplainedEvent, amendments: Iterable[Amended]) -> str:
    marks = [f"amended: {each.kind}" for each in amendments if each.is_of(event)]
    if event.type == "tidemark.amend":
        return "amendment"
    return ", ".join((["late"] if event.is_late and event.verdict == "counted" else []) + marks)


def show_events(marked: Iterable[tuple[ExplainedEvent, str]]) -> None:
    """Events with a mark each."""
    rows = [
        [
            event.offset,
            visible(event.event_id),
            visible(event.source),
            clock_us(event.occurred_at_us),
            format_scaled(event.scaled),
            event.verdict,
            mark,
        ]
        for event, mark in marked
    ]
    table(("offset", "event", "source", "occurred at", "quantity", "verdict", ""), rows, right=("offset", "quantity"))


def show_amendments(amendments: Iterable[Amended]) -> None:
    """Who amended what, when and why; the event itself stays as it was."""
    for each in amendments:
        of = f"event {visible(each.of_id)!r} at offset {each.of_offset}" if each.of_offset >= 0 else "the window"
        who, change = visible(each.who) or "nobody named", format_scaled(each.scaled)
        say(f"amended: {of}: {each.kind} by {who} at {clock(each.received_at_ms)}, {change}: {visible(each.reason)}")


def show_refused(refused: Iterable[RefusedEvent]) -> None:
    """What was not taken."""
    for event in refused:
        say(f"not taken: offset {event.offset}: {event.verdict} {event.reason}: {visible(event.sentence)}")


def show_remarkable(span: Span, limit: int) -> None:
    """Events of a span that are out of the ordinary: their numbers, and the first of each kind."""
    counted = ((span.late_count, "late"), (span.duplicate_count, "duplicates, not counted again"), (span.refused_count, "not taken"))
    said = [f"{count:,} {what}" for count, what in counted if count]
    said += [f"{len(span.amendments):,} amendments"] if span.amendments else []
    if not said:
        return
    say("")
    say("out of the ordinary: " + ", ".join(said))
    few = max(1, limit // 5)
    marked = [(event, "late") for event in span.late[:few]] + [(event, "") for event in span.duplicates[:few]]
    if marked:
        show_events(marked)
    show_amendments(span.amendments)
    show_refused(span.refused[:few])


def show_waiting(windows: Sequence[SpanWindow], what: str, limit: int) -> None:
    """Windows of which the provider does not hold what is counted."""
    for window in windows[:limit]:
        why = f"{window.state} {window.reason}".strip()
        counted, delivered = format_scaled(window.now_scaled), format_scaled(window.delivered_scaled)
        say(f"{what}: window {format_s(window.start_s)} counts {counted}, Stripe holds {delivered} ({why})")
    if len(windows) > limit:
        say(f"… {len(windows) - limit} more windows like that; --limit shows them")


def show_money(found: LineMoney) -> None:
    """How units become money, each step with its rounding."""
    working = found.working
    if working is not None:
        rows = [_step_row(working, step) for step in working.steps]
        columns = ("priced by", "units", "each", "flat", "exactly", "rounded")
        table(columns, rows, right=columns[1:])
        say(sentence_of(found))
    for name in found.named:
        say(f"not recomputed: {name}")


def _step_row(working: Working, step: Step) -> list[object]:
    currency = working.currency
    rounded = money(step.amount, currency) if working.is_by_step or len(working.steps) == 1 else ""
    flat = exact_money(step.flat, currency) if step.flat else ""
    return [step_name(working, step), number(step.units), exact_money(step.unit, currency), flat, exact_money(step.exact, currency), rounded]


def step_name(working: Working, step: Step) -> str:
    """What a step is: the unit price, packages, or a tier with its bounds."""
    if working.scheme == "packages":
        return f"packages of {working.divide_by:,}, begun ones {'paid' if working.round == 'up' else 'not paid'}"
    if step.number is None:
        return "price of a unit"
    end = "and more" if step.up_to is None else f"to {step.up_to:,}"
    free = ", free" if step.is_free else ""
    how = "all units at " if working.scheme == "volume" else ""
    return f"{how}tier {step.number}: above {number(step.above)} {end}{free}"


def sentence_of(found: LineMoney) -> str:
    """The amount, how it was rounded, and Stripe's beside it."""
    working = found.working
    if working is None:
        return ""
    how = "each line rounded" if working.is_by_step and len(working.steps) > 1 else "rounded once"
    ours = f"{number(working.units)} units come to {money(working.amount, working.currency)} ({how}, halves away from zero)"
    if found.billed is None:
        return ours
    theirs = money(found.billed, working.currency)
    said = {"equal": "the same as Stripe's", "differs": f"Stripe says {theirs}", "not_compared": f"Stripe says {theirs}, for another reason"}
    return f"{ours}: {said[found.verdict]}"


def show_conservation(span: Span) -> None:
    """Law 7 of each partition."""
    for kept in span.conservation:
        fates = f"{kept.counted} counted + {kept.duplicate} duplicate + {kept.rejected} rejected + {kept.too_late} too late"
        more = f" + {kept.rerouted} rerouted + {kept.control} control + {kept.skipped} skipped"
        say(f"partition {kept.partition}: {kept.next_offset - kept.base} offsets = {fates}{more}; residual {kept.residual}")


def show_verdict(faults: Sequence[str], notes: Sequence[str], proved: str) -> None:
    """What is under way, what contradicts, or that nothing does."""
    from rich.text import Text

    for note in notes:
        say(f"note: {note}")
    out = console()
    for fault in faults:
        out.print(Text(visible(fault), style="red"))
    if not faults:
        out.print(Text(f"proved: {proved}", style="green"))


def shown_window(window: SpanWindow) -> str:
    """Its bounds."""
    return stretch(window.start_s, window.end_s)
