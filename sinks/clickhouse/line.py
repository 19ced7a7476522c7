"""An invoice line as the archive explains it: the windows behind it, what the provider holds of each, and the events counted again.

The provider's own number is an argument: `LineWindows.faults(units)` says where it and the archive disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sinks.clickhouse.explanation import Attempt
from sinks.clickhouse.span import LONGEST_WINDOW_S, Reader, query, shown, span
from sinks.clickhouse.span_windows import Span, SpanWindow
from topics.instants import format_s
from topics.quantity import ONE, format_scaled, parse_total


@dataclass(frozen=True, kw_only=True)
class LineWindow:
    """One window on the line: `answer` is the newest definite answer for its item in the line's period, `answers` how many there are."""

    window: SpanWindow
    answer: Attempt
    answers: int

    @property
    def start_s(self) -> int:
        """Where it begins."""
        return self.window.start_s

    @property
    def end_s(self) -> int:
        """Where it ends."""
        return self.window.end_s

    @property
    def delivered_scaled(self) -> int:
        """Its share of what the provider holds in its cell, × 10¹²."""
        return self.answer.window_scaled

    @property
    def follows(self) -> bool:
        """Whether the raw events give exactly what was emitted, and nothing newer waits."""
        return self.window.follows and self.window.emitted is not None and self.window.emitted.scaled == self.window.now_scaled

    @property
    def is_proved(self) -> bool:
        """Whether they also give exactly what was delivered."""
        return self.follows and self.delivered_scaled == self.window.now_scaled


@dataclass(frozen=True, kw_only=True)
class LineWindows:
    """Everything that the archive knows of a line of an item's service period `[start_s, end_s)`; of any item where that is empty."""

    span: Span
    item: str
    start_s: int
    end_s: int
    earlier: tuple[SpanWindow, ...] = ()
    """Windows that begin before the period and are billed in it: whole when its edge was learned."""

    @property
    def customer(self) -> str:
        """Whose usage."""
        return self.span.customer

    @property
    def meter(self) -> str:
        """Of what."""
        return self.span.meter

    @cached_property
    def windows(self) -> tuple[LineWindow, ...]:
        """The windows on the line, by time."""
        found = []
        for window in (*self.earlier, *self.span.windows):
            answers = [attempt for attempt in window.attempts if attempt.is_answered and self._is_billed(attempt)]
            if answers:
                found.append(LineWindow(window=window, answer=max(answers, key=lambda each: each.log_offset), answers=len(answers)))
        return tuple(found)

    def _is_billed(self, attempt: Attempt) -> bool:
        return not self.item or (attempt.item == self.item and self.start_s <= attempt.second_s < self.end_s)

    @property
    def open(self) -> tuple[SpanWindow, ...]:
        """Windows of the line's period that the provider does not hold as they are now counted."""
        return tuple(window for window in self.span.waiting if self.start_s <= window.start_s < self.end_s)

    @cached_property
    def units_scaled(self) -> int:
        """What the provider holds, cell by cell, × 10¹²; windows that share a cell share its units."""
        return sum(map(parse_total, {window.answer.cell: window.answer.units for window in self.windows}.values()))

    @property
    def units(self) -> int:
        """The same in whole units, as a line shows it."""
        return self.units_scaled // ONE

    @property
    def events(self) -> int:
        """Counted events behind it."""
        return sum(window.window.now_events for window in self.windows)

    def faults(self, billed: int) -> list[str]:
        """Each contradiction in one sentence; `billed`: what the line says, which is 0 where a period's usage is negative (Stripe, meter events)."""
        found = [f"the line bills {billed} units, the provider answered for {self.units}"] if billed != max(self.units, 0) else []
        waiting = {(window.start_s, window.end_s) for window in self.open}
        for each in self.windows:
            window = each.window
            emitted = 0 if window.emitted is None else window.emitted.scaled
            delivered, total, counted = map(format_scaled, (each.delivered_scaled, emitted, window.now_scaled))
            start = format_s(window.start_s)
            # Newer events than the newest revision are still under way; anything else that the events do not give is a contradiction.
            if not window.follows or (emitted != window.now_scaled and window.state != "reopened"):
                found.append(self._contradiction(start, window, total, counted))
            # What came after the invoice was final is listed with its difference, and is none.
            elif each.delivered_scaled != window.now_scaled and (window.start_s, window.end_s) not in waiting:
                found.append(f"window {start}: {delivered} was delivered, its events give {counted}")
        return found

    def _contradiction(self, start: str, window: SpanWindow, total: str, counted: str) -> str:
        """In one sentence; where the sums agree it is an older revision, or another event in the place of the right one."""
        if total != counted:
            return f"window {start}: {total} was emitted, its events give {counted}"
        return f"window {start}: " + "; ".join(window.faults)


def owners(reader: Reader, item: str) -> list[tuple[str, str]]:
    """(customer, meter) that the item was ever put in force for."""
    return [(shown(row[0]), shown(row[1])) for row in reader.rows(query("line_owner"), {"item": item})]


def line_windows(reader: Reader, customer: str, meter: str, item: str, start_s: int, end_s: int, *, limit: int = 0) -> LineWindows:
    """The windows behind a line of an item's service period `[start_s, end_s)`; `limit`: how many events of each kind are listed."""
    found = span(reader, customer, meter, start_s, end_s, limit=limit)
    asked = {"customer": customer, "meter": meter, "item": item, "from_s": start_s - LONGEST_WINDOW_S, "start_s": start_s, "end_s": end_s}
    straddling = {(row[0], row[1]) for row in reader.rows(query("line_straddling"), asked)}
    earlier: tuple[SpanWindow, ...] = ()
    if straddling:
        before = span(reader, customer, meter, min(start for start, _ in straddling), start_s)
        earlier = tuple(window for window in before.windows if (window.start_s, window.end_s) in straddling)
    return LineWindows(span=found, item=item, start_s=start_s, end_s=end_s, earlier=earlier)
