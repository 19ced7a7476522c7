"""An invoice line as the archive explains it: the windows behind it, what the provider holds of each, and the events counted again.

The provider's own number is an argument: `LineWindows.faults(units)` says where it and the archive disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sinks.clickhouse.bounds import scaled_of
from sinks.clickhouse.explain import Reader, query, shown
from topics.instants import format_s
from topics.quantity import ONE, format_scaled, parse_total


@dataclass(frozen=True, slots=True, kw_only=True)
class LineWindow:
    """One window on the line. `units` is its cell's answer, `delivered` its share of it, `total` the newest revision, `counted` the events anew."""

    start_s: int
    end_s: int
    cell: str
    units: str
    revisions: int
    request_id: str
    reported_at_ms: int
    delivered_scaled: int
    total_scaled: int
    events: int
    hash: str
    counted_scaled: int
    counted_events: int
    counted_hash: str

    @property
    def follows(self) -> bool:
        """Whether the raw events give exactly what was emitted."""
        return (self.total_scaled, self.events, self.hash) == (self.counted_scaled, self.counted_events, self.counted_hash)

    @property
    def is_proved(self) -> bool:
        """Whether they also give exactly what was delivered."""
        return self.follows and self.delivered_scaled == self.counted_scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """A window of the line's period that the provider does not hold as it is now counted."""

    start_s: int
    end_s: int
    state: str
    reason: str
    counted_scaled: int
    delivered_scaled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineWindows:
    """Everything that the archive knows of a line of (customer, meter, item)."""

    customer: str
    meter: str
    windows: tuple[LineWindow, ...]
    open: tuple[OpenWindow, ...]

    @property
    def units(self) -> int:
        """What the provider holds, cell by cell, in whole units as a line shows it; windows that share a cell share its units."""
        return sum(map(parse_total, {window.cell: window.units for window in self.windows}.values())) // ONE

    @property
    def events(self) -> int:
        """Counted events behind it."""
        return sum(window.counted_events for window in self.windows)

    def faults(self, billed: int) -> list[str]:
        """Each contradiction in one sentence; `billed`: what the line says."""
        states = {(window.start_s, window.end_s): window.state for window in self.open}
        found = [f"the line bills {billed} units, the provider answered for {self.units}"] if billed != self.units else []
        for window in self.windows:
            state = states.get((window.start_s, window.end_s))
            delivered, total, counted = map(format_scaled, (window.delivered_scaled, window.total_scaled, window.counted_scaled))
            # Newer events than the newest revision are still under way; anything else that the events do not give is a contradiction.
            if not window.follows and state != "reopened":
                found.append(f"window {format_s(window.start_s)}: {total} was emitted, its events give {counted}")
            # What came after the invoice was final is listed with its difference, and is none.
            elif window.delivered_scaled != window.counted_scaled and state is None:
                found.append(f"window {format_s(window.start_s)}: {delivered} was delivered, its events give {counted}")
        return found


def owners(reader: Reader, item: str) -> list[tuple[str, str]]:
    """(customer, meter) that the item was ever put in force for."""
    return [(shown(row[0]), shown(row[1])) for row in reader.rows(query("line_owner"), {"item": item})]


def line_windows(reader: Reader, customer: str, meter: str, item: str, start_s: int, end_s: int) -> LineWindows:
    """The windows behind a line of an item's service period `[start_s, end_s)`."""
    asked = {"customer": customer, "meter": meter, "item": item, "start_s": start_s, "end_s": end_s}
    windows = tuple(_window(row) for row in reader.rows(query("line_windows"), asked))
    del asked["item"]
    return LineWindows(customer=customer, meter=meter, windows=windows, open=tuple(_open(row) for row in reader.rows(query("line_open"), asked)))


def _window(row: tuple[Any, ...]) -> LineWindow:
    return LineWindow(
        start_s=row[0],
        end_s=row[1],
        cell=shown(row[2]),
        units=shown(row[3]),
        revisions=row[4],
        request_id=shown(row[5]),
        reported_at_ms=row[6],
        delivered_scaled=scaled_of(row[7]),
        total_scaled=scaled_of(row[8]),
        events=row[9],
        hash=shown(row[10]),
        counted_scaled=scaled_of(row[11]),
        counted_events=row[12],
        counted_hash=shown(row[13]),
    )


def _open(row: tuple[Any, ...]) -> OpenWindow:
    start_s, end_s, state, reason, counted, delivered = row
    return OpenWindow(
        start_s=start_s,
        end_s=end_s,
        state=shown(state),
        reason=shown(reason),
        counted_scaled=scaled_of(counted),
        delivered_scaled=scaled_of(delivered),
    )
