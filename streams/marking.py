"""When the meter says how far it has closed (`topics/closed.py`), for whoever holds back an invoice until nothing of its period is missing.

Law 9's barrier gives the instant: once it has passed, all that the log held then is counted and durable, and what was due is ready. What is ready
or merged at that moment is remembered with its revision; the word is said when each of them was emitted at it or a higher one. Pure.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.probing import Slots
from streams.row_store import RowStore

MARK_EVERY_MS: Final = 300_000
"""Between two words: a fraction of the hour that a draft invoice waits, and 300 small records a day of which compaction keeps one."""


class Marking:
    """The words of one partition. `every_ms` None: nobody wants them."""

    def __init__(self, store: RowStore) -> None:
        self.every_ms: int | None = None
        self._store = store
        self._next_ms = 0
        self._until_ms: int | None = None
        self._left: Slots = np.zeros(0, np.int64)
        self._revisions: Slots = np.zeros((2, 0), np.int64)
        """(generation, through) that each of them had then."""

    def is_due(self, now_ms: int) -> bool:
        """Whether a barrier is wanted although no window waits for one. (A wall clock that was far ahead has left a far time: not waited for.)"""
        if self.every_ms is None or self._until_ms is not None:
            return False
        return not 0 < self._next_ms - now_ms <= self.every_ms

    def passed(self, until_ms: int, pending: Slots) -> None:
        """A barrier of the instant `until_ms` has passed; `pending` are the rows that are ready or merged."""
        if self.is_due(until_ms):
            columns = self._store.columns
            self._until_ms, self._left = until_ms, pending
            self._revisions = np.stack([columns["generation"][pending].astype(np.int64), columns["through"][pending]])

    def let_go(self, slots: Slots) -> None:
        """Rows that are no more: they were emitted as they stood."""
        if len(self._left):
            self._keep(~np.isin(self._left, slots))

    def word(self) -> int | None:
        """The instant that may be said now; None while something of it is not emitted yet."""
        if self._until_ms is None:
            return None
        if len(self._left):
            columns, (generation, through) = self._store.columns, self._revisions
            emitted = columns["emitted_generation"][self._left]
            is_older = columns["emitted_through"][self._left] < through
            self._keep((emitted < generation) | ((emitted == generation) & is_older))
        return None if len(self._left) else self._until_ms

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self._left, self._revisions = self._left[which], self._revisions[:, which]

    def said(self, until_ms: int) -> None:
        """The word stands on the topic, acknowledged."""
        if self._until_ms == until_ms and self.every_ms is not None:
            self._until_ms = None
            self._next_ms = (until_ms // self.every_ms + 1) * self.every_ms
