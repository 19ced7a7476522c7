"""When the meter says how far it has closed (`topics/closed.py`), for whoever holds back an invoice until nothing of its period is missing.

Law 9's barrier gives the instant: once it has passed, all that the log held then is counted and durable, and what was due is ready. What is ready
or merged at that moment is remembered with its revision; the word is said when each of them was emitted at it or a higher one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streams.rows import Row

MARK_EVERY_MS: Final = 300_000
"""Between two words: a fraction of the hour that a draft invoice waits, and 300 small records a day of which compaction keeps one."""


class Marking:
    """The words of one partition. `every_ms` None: nobody wants them."""

    def __init__(self) -> None:
        self.every_ms: int | None = None
        self._next_ms = 0
        self._until_ms: int | None = None
        self._left: dict[int, tuple[Row, int]] = {}

    def is_due(self, now_ms: int) -> bool:
        """Whether a barrier is wanted although no window waits for one. (A wall clock that was far ahead has left a far time: not waited for.)"""
        if self.every_ms is None or self._until_ms is not None:
            return False
        return not 0 < self._next_ms - now_ms <= self.every_ms

    def passed(self, until_ms: int, pending: Iterable[Row]) -> None:
        """A barrier of the instant `until_ms` has passed; `pending` are the rows that are ready or merged."""
        if self.is_due(until_ms):
            self._until_ms = until_ms
            self._left = {id(row): (row, row.rev) for row in pending}

    def word(self) -> int | None:
        """The instant that may be said now; None while something of it is not emitted yet."""
        if self._until_ms is None:
            return None
        self._left = {key: (row, rev) for key, (row, rev) in self._left.items() if row.emitted < rev}
        return None if self._left else self._until_ms

    def said(self, until_ms: int) -> None:
        """The word stands on the topic, acknowledged."""
        if self._until_ms == until_ms and self.every_ms is not None:
            self._until_ms = None
            self._next_ms = (until_ms // self.every_ms + 1) * self.every_ms
