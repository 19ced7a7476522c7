"""The rows of one partition: one a window, its sum through one event, and where the changelog holds it.

Law 2 and 3: `rev` is (generation, through_offset) as one integer, the fence of the row and the name of its total.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from topics.errors import CorruptState
from topics.windows import Window

NEVER = -1


def revision(generation: int, offset: int) -> int:
    """(generation, offset) as one integer that orders like the pair; offsets are below 2⁶³."""
    return (generation << 64) | offset


def split_revision(rev: int) -> tuple[int, int]:
    """The pair of a revision."""
    return rev >> 64, rev & ((1 << 64) - 1)


class Row:
    """One window's state. `scaled` × 10⁻¹² units; `content_hash` may exceed 2²⁵⁶ until it is written; `emitted` is a revision or NEVER."""

    __slots__ = ("content_hash", "emitted", "events", "first_offset", "mark", "own", "rev", "scaled", "segment", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.scaled = 0
        self.events = 0
        self.first_offset = -1
        self.rev = NEVER
        self.emitted = NEVER
        self.content_hash = 0
        self.segment: int = -1
        """Number of the changelog segment that holds its latest written value; −1: none yet."""
        self.own = False
        """True where it becomes final by its customer's test clock, not by the log's now."""
        self.mark = 0
        """Step in which it was last changed, so that a batch lists each changed row once."""

    def copy(self) -> Row:
        """Its total as it stands now, to be emitted later; no live row."""
        found = Row(self.window)
        found.scaled, found.events, found.content_hash = self.scaled, self.events, self.content_hash
        found.first_offset, found.rev = self.first_offset, self.rev
        return found

    @property
    def through_offset(self) -> int:
        """Offset of the last event in it."""
        return split_revision(self.rev)[1]

    @property
    def pending(self) -> bool:
        """True where the newest revision was never emitted."""
        return self.rev > self.emitted


def began_before(row: Row, rev: int) -> bool:
    """True where the row's first event lies before the place that `rev` names. `first_offset` does not say in which log that event lay: a row
    without an event of this log, or whose first offset is above its last, began in an earlier one."""
    generation, offset = split_revision(rev)
    return row.first_offset < offset or row.rev < revision(generation, 0) or row.first_offset > row.through_offset


class Ends:
    """Rows by their end, the earliest first."""

    def __init__(self) -> None:
        self.by_end: dict[int, list[Row]] = {}
        self._ends: list[int] = []

    def add(self, row: Row) -> None:
        """One more."""
        end_s = row.window.end_s
        if end_s not in self.by_end:
            self.by_end[end_s] = []
            heapq.heappush(self._ends, end_s)
        self.by_end[end_s].append(row)

    def first_end(self) -> int | None:
        """The earliest end."""
        return self._ends[0] if self._ends else None

    def remove_first_end(self) -> list[Row]:
        """Take out all rows that end first."""
        return self.by_end.pop(heapq.heappop(self._ends))


class Rows:
    """All live rows of a partition, by (customer, meter) and start, and by end for retiring."""

    def __init__(self) -> None:
        self.by_meter: dict[tuple[str, str], dict[int, Row]] = {}
        self.ends = Ends()
        self.own: dict[str, Ends] = {}
        """Of customers with a test clock, the rows that it makes final."""
        self.count = 0

    def get(self, window: Window) -> Row | None:
        """The live row of exactly this window."""
        row = self.by_meter.get((window.customer, window.meter), {}).get(window.start_s)
        return row if row is not None and row.window.end_s == window.end_s else None

    def add(self, row: Row) -> None:
        """Register a row that took its first event, or was recovered."""
        window = row.window
        rows = self.by_meter.setdefault((window.customer, window.meter), {})
        if window.start_s in rows:
            raise CorruptState(f"{window} and {rows[window.start_s].window} begin at one instant; do not bill from this state, report it")
        rows[window.start_s] = row
        (self.own.setdefault(window.customer, Ends()) if row.own else self.ends).add(row)
        self.count += 1

    def make_own(self, rows: Iterable[Row]) -> None:
        """These become final by their customer's test clock from now on."""
        for row in rows:
            row.own = True
            self.ends.by_end[row.window.end_s].remove(row)
            self.own.setdefault(row.window.customer, Ends()).add(row)

    def across(self, customer: str, meter: str, instant_s: int) -> Row | None:
        """The live row that holds the instant strictly inside, if any (law 8: such a row stays whole)."""
        rows = self.by_meter.get((customer, meter))
        if rows:
            for row in rows.values():
                if row.window.start_s < instant_s < row.window.end_s:
                    return row
        return None

    def of_customer(self, customer: str, meters: Iterable[str]) -> list[Row]:
        """A customer's live rows, of these meters."""
        return [row for slug in meters for row in self.by_meter.get((customer, slug), {}).values()]

    def remove_first_end(self, ends: Ends) -> list[Row]:
        """Let go of all rows that end first."""
        rows = ends.remove_first_end()
        for row in rows:
            key = (row.window.customer, row.window.meter)
            starts = self.by_meter[key]
            del starts[row.window.start_s]
            if not starts:
                del self.by_meter[key]
        self.count -= len(rows)
        return rows

    def all(self) -> list[Row]:
        """Every live row."""
        return [row for rows in self.by_meter.values() for row in rows.values()]
