"""One window of the archive, taken apart: its proof as `span.py` reads it, and each of its events, which are hashed once more by the reference.

The proof is computed twice from the archive: by the engine and, where all events fit the limit, with `topics/content_hash.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sinks.clickhouse.explanation import Amended, Attempt, Conservation, ExplainedEvent, RefusedEvent, Revision
from sinks.clickhouse.span import Reader, hash_text, query, shown, span
from sinks.clickhouse.span_windows import Span, SpanWindow
from sinks.clickhouse.window_rows import Counted, WindowReader, WindowRows
from topics.content_hash import event_hash
from topics.quantity import format_scaled

__all__ = ["DEFAULT_LIMIT", "Explanation", "Reader", "content_hash", "explain", "query", "shown", "windows_at"]

DEFAULT_LIMIT: Final = 10_000
"""Events that are read one by one; beyond it only the engine's proof stands."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything the archive knows of one window: `window` of `span`. `events` in log order, at most the limit."""

    span: Span
    window: SpanWindow
    events: tuple[ExplainedEvent, ...]

    @property
    def customer(self) -> str:
        """Whose."""
        return self.span.customer

    @property
    def meter(self) -> str:
        """Of what."""
        return self.span.meter

    @property
    def start_s(self) -> int:
        """Where it begins."""
        return self.window.start_s

    @property
    def end_s(self) -> int:
        """Where it ends."""
        return self.window.end_s

    @property
    def now_events(self) -> int:
        """Counted events, whether a revision covers them or not."""
        return self.window.now_events

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """Its totals as emitted, oldest first."""
        return self.window.revisions

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What was sent, oldest first."""
        return self.window.attempts

    @property
    def refused(self) -> tuple[RefusedEvent, ...]:
        """What of the customer was not taken in its time."""
        return self.span.refused

    @property
    def amendments(self) -> tuple[Amended, ...]:
        """What persons said of its events."""
        return self.span.amendments

    @property
    def conservation(self) -> Conservation | None:
        """Law 7 of its partition."""
        return self.span.conservation[0] if self.span.conservation else None

    @property
    def quantity(self) -> str:
        """The sum of the counted events, exact."""
        return format_scaled(self.window.now_scaled)

    @property
    def counted(self) -> tuple[ExplainedEvent, ...]:
        """Events in the total."""
        return tuple(event for event in self.events if event.verdict == "counted")

    @property
    def duplicates(self) -> tuple[ExplainedEvent, ...]:
        """Copies that were not counted again."""
        return tuple(event for event in self.events if event.verdict == "duplicate")

    @property
    def late(self) -> tuple[ExplainedEvent, ...]:
        """Counted events that came after the window was first emitted."""
        return tuple(event for event in self.counted if event.is_late)

    @property
    def is_complete(self) -> bool:
        """Whether every counted event was read one by one."""
        return len(self.counted) == self.now_events

    @property
    def faults(self) -> tuple[str, ...]:
        """What contradicts; empty where the proof holds."""
        found = self.window.faults
        if self.is_complete and self.revisions:
            newest = self.revisions[-1]
            reference = content_hash(self, newest.generation, newest.through_offset)
            if reference != newest.counted_hash:
                found.append(f"the engine computes the hash {newest.counted_hash[:16]}…, the reference {reference[:16]}…")
        return (*found, *self.span.whole_faults)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not finished yet, without being wrong."""
        found: list[str] = []
        newest = self.window.emitted
        if newest is None:
            found.append("the window was not emitted yet")
        elif self.now_events > newest.events:
            found.append(f"{self.now_events - newest.events} newer events are not emitted yet")
        found += self.span.notes
        if not self.is_complete:
            found.append(f"{len(self.counted)} of {self.now_events} counted events are listed; the engine's proof covers all of them")
        return tuple(found)

    @property
    def is_proved(self) -> bool:
        """Whether everything that was emitted follows from the rows."""
        return not self.faults


def windows_at(reader: Reader, customer: str, meter: str, instant_s: int) -> list[tuple[int, int]]:
    """(start_s, end_s) of the windows that hold an instant; more than one only where a period edge was learned late."""
    parameters = {"customer": customer, "meter": meter, "instant_s": instant_s}
    return [(row[0], row[1]) for row in reader.rows(query("window_at"), parameters)]


def explain(reader: WindowReader, customer: str, meter: str, instant_s: int, *, limit: int = DEFAULT_LIMIT) -> Explanation | None:
    """The window of a customer and meter that holds the instant (its start, for example); None where the archive knows of none."""
    windows = windows_at(reader, customer, meter, instant_s)
    if not windows:
        return None
    start_s, end_s = windows[0]
    # Its copies and late ones are among its events.
    found = span(reader, customer, meter, start_s, end_s, until_s=end_s, limit=limit, events=False)
    window = next(window for window in found.windows if (window.start_s, window.end_s) == (start_s, end_s))
    # The newest mark of its partition was read for the conservation already.
    known = {(each.partition, each.generation): each.next_offset for each in found.conservation}
    first = (window.revisions[0].generation, window.revisions[0].through_offset) if window.revisions else None
    # With a copy among them, or one that came too late, the rows are not what is counted; with an amendment (fate control) they may be.
    has_others = any(of_meter for fate, (_, of_meter) in found.fates.items() if fate not in {"counted", "control"})
    counted = None if has_others else Counted(window.now_events, window.now_hash)
    events = WindowRows(reader, known).events(customer, meter, start_s, end_s, limit, counted)
    marked = tuple(replace(event, is_late=first is not None and (event.generation, event.offset) > first) for event in events)
    return Explanation(span=found, window=window, events=marked)


def content_hash(window: Explanation, generation: int, through_offset: int) -> str:
    """The reference hash over the listed counted events up to a revision, 64 hex digits."""
    return hash_text(
        sum(
            event_hash(window.customer, window.meter, event.source, event.event_id, event.occurred_at_us, event.scaled)
            for event in window.counted
            if (event.generation, event.offset) <= (generation, through_offset)
        )
    )
