"""Events on the page: what is out of the ordinary first, and of one window all of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from infra.explaining.markup import Child, Markup, code, table, tag, time
from infra.explaining.words import clock, clock_us, quantity, stretch

if TYPE_CHECKING:
    from sinks.clickhouse.explain import Explanation
    from sinks.clickhouse.explanation import Amended, ExplainedEvent
    from sinks.clickhouse.span_windows import Span

EVENTS_SHOWN: Final = 2000
"""Of a window; a page of more is read by nobody, and the file of evidence has them all."""
FEW: Final = 20
"""Of a kind that is out of the ordinary: enough to see what sort of events they are; how many there are is always said."""
_COLUMNS: Final = (("offset", True), ("event", False), ("source", False), ("occurred at", False), ("received at", False), ("quantity", True))


def section(span: Span) -> Markup | None:
    """Late events, copies, amendments and what was not taken: how many, and the first of each."""
    parts: list[Child] = [amendments(span)]
    if span.late_count:
        said = "They came after their window was first emitted; it was emitted again with the corrected total"
        parts += _listed("Late", span.late_count, span.late, said)
    if span.duplicate_count:
        said = "Copies of an event (same customer, source and id) that had been counted; they were not counted again"
        parts += _listed("Duplicates", span.duplicate_count, span.duplicates, said)
    parts.append(refused(span))
    shown = [part for part in parts if part is not None]
    if not shown:
        shown = [tag("p", "Nothing: no event came late or twice, none was amended, and none was refused.")]
    return tag("section", tag("h2", "Out of the ordinary"), shown)


def beside(span: Span) -> Markup | None:
    """Amendments and what was not taken, for a window whose events are all listed."""
    parts = [part for part in (amendments(span), refused(span)) if part is not None]
    return tag("section", tag("h2", "Out of the ordinary"), parts) if parts else None


def _listed(name: str, count: int, events: Sequence[ExplainedEvent], said: str) -> list[Child]:
    shown = events[:FEW]
    caption = said + (f" (the first {len(shown):,} are listed)" if len(shown) < count else "")
    rows = [[*_cells(event), time(stretch(event.start_s, event.start_s)[:19])] for event in shown]
    return [tag("h3", f"{name}: {count:,}"), table(caption, [*_COLUMNS, ("window", False)], rows)]


def _cells(event: ExplainedEvent) -> list[Child]:
    times = (time(clock_us(event.occurred_at_us)), time(clock(event.received_at_ms)))
    return [event.offset, code(event.event_id), code(event.source), *times, quantity(event.scaled)]


def amendments(span: Span) -> Markup | None:
    """Who amended what, when and why; the event itself is listed as it was."""
    if not span.amendments:
        return None
    columns = [("offset", True), ("said at", False), ("by", False), ("kind", False), ("of event", False), ("change", True), ("reason", False)]
    rows = [_amendment(each) for each in span.amendments]
    caption = "A correction is a record of its own in the log; what it corrects stays, and counts together with it"
    return tag("div", tag("h3", f"Amendments: {len(span.amendments):,}"), table(caption, columns, rows))


def _amendment(each: Amended) -> list[Child]:
    of: Child = [code(each.of_id), f" (offset {each.of_offset})"] if each.of_offset >= 0 else "the whole window"
    return [each.offset, time(clock(each.received_at_ms)), each.who, each.kind, of, quantity(each.scaled), each.reason]


def refused(span: Span) -> Markup | None:
    """What of the customer was not taken in this time."""
    if not span.refused_count:
        return None
    columns = [("offset", True), ("verdict", False), ("reason", False), ("sentence", False), ("event", False), ("received at", False)]
    rows: list[list[Child]] = [
        [event.offset, event.verdict, event.reason, event.sentence, code(event.event_id), time(clock(event.received_at_ms))]
        for event in span.refused[:FEW]
    ]
    more = f" (the first {len(rows):,} are listed)" if len(rows) < span.refused_count else ""
    caption = f"Records of this customer in this time that no meter could count, kept byte for byte{more}"
    return tag("div", tag("h3", f"Not taken: {span.refused_count:,}"), table(caption, columns, rows))


def events(found: Explanation) -> Markup:
    """Every event of a window, in the order of the log."""
    chosen = _chosen(found)
    columns = [*_COLUMNS, ("verdict", False)]
    rows = [[*_cells(event), _verdict(event, found.amendments)] for event in chosen]
    left = found.now_events + len(found.duplicates) - len(chosen)
    caption = "Every event that selects the meter in this window, in the order of the log"
    if left > 0:
        caption = f"{len(chosen):,} events, with all that are out of the ordinary; {left:,} more were counted and hashed and are not listed here"
    total: list[Child] = ["counted", f"{found.now_events:,} events", "", "", "", quantity(found.window.now_scaled), ""]
    return tag("section", tag("h2", "Events"), table(caption, columns, rows, foot=total))


def _chosen(found: Explanation) -> list[ExplainedEvent]:
    if len(found.events) <= EVENTS_SHOWN:
        return list(found.events)
    first = sorted(found.events, key=lambda event: (event.verdict == "counted" and not event.is_late, event.generation, event.offset))
    return sorted(first[:EVENTS_SHOWN], key=lambda event: (event.generation, event.offset))


def _verdict(event: ExplainedEvent, amended: Iterable[Amended]) -> Child:
    marks = [f"amended: {each.kind}" for each in amended if each.is_of(event)]
    if event.type == "tidemark.amend":
        return tag("span", "amendment", class_="mark")
    if event.is_late and event.verdict == "counted":
        marks.insert(0, "late")
    if event.verdict == "duplicate":
        return tag("span", "duplicate, not counted", class_="mark")
    return [event.verdict, [[" ", tag("span", mark, class_="mark")] for mark in marks]]
