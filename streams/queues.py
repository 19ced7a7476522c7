"""Where rows stand that have something to emit: those that wait for their close time, and those that are ready. Slots in plain arrays.

An entry counts only while the row's `phase` in the table says that it stands here: leaving is a write into the table and no search in an array.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from streams.probing import Slots, each_once
from streams.room import Numbers
from streams.row_store import RowStore

PART: Final = 4096
"""Slots looked at together: an emission takes a few thousand rows, and what is behind them is left alone."""


class Waiting:
    """Rows by the time at which they close, four bytes each."""

    def __init__(self, store: RowStore, phase: int, times_of: Callable[[Slots], Slots]) -> None:
        """`times_of` says when rows close now, of rows that wait."""
        self._store = store
        self._phase = phase
        self._times_of = times_of
        self._by_time: dict[int, Numbers] = {}
        self._counts: dict[int, int] = {}
        self._times: list[int] = []

    def add(self, slots: Slots, close_ms: Slots) -> None:
        """Rows that wait nowhere yet."""
        for at_ms in np.unique(close_ms).tolist():
            part = slots[close_ms == at_ms]
            if at_ms not in self._by_time:
                self._by_time[at_ms] = Numbers()
                heapq.heappush(self._times, at_ms)
            self._by_time[at_ms].add(part)
            self._counts[at_ms] = self._counts.get(at_ms, 0) + len(part)
        self._store.columns["phase"][slots] = self._phase

    def remove(self, close_ms: int) -> None:
        """One waits no longer; whoever calls says in its phase where it stands now."""
        self._counts[close_ms] -= 1
        if not self._counts[close_ms]:
            del self._counts[close_ms]

    def clear(self) -> Slots:
        """Nobody waits any more; returns those who did."""
        slots = self.slots()
        self._store.columns["phase"][slots] = 0
        self._by_time.clear()
        self._counts.clear()
        self._times.clear()
        return slots

    def slots(self) -> Slots:
        """All that wait."""
        parts = [self._at(at_ms) for at_ms in self._by_time]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _at(self, at_ms: int) -> Slots:
        slots = self._by_time[at_ms].all()
        slots = slots[self._store.columns["phase"][slots] == self._phase]
        # One that left, or another row in its slot, may wait for another time now; or for this one again, and then it stands here twice.
        slots = slots[self._times_of(slots) == at_ms]
        return slots if len(slots) == self._counts.get(at_ms, 0) else each_once([slots])

    def pop_until(self, until_ms: int) -> Iterator[tuple[int, Slots]]:
        """Close times that have come, each with its rows; they wait no longer."""
        while self._times and self._times[0] <= until_ms:
            at_ms = heapq.heappop(self._times)
            slots = self._at(at_ms)
            del self._by_time[at_ms]
            self._counts.pop(at_ms, None)
            yield at_ms, slots

    def is_due(self, now_ms: int) -> bool:
        """Whether a close time has come, perhaps one whose rows have all left."""
        return bool(self._times) and self._times[0] <= now_ms

    def times(self) -> dict[int, int]:
        """How many wait for each time."""
        return self._counts


class Ready:
    """Rows to be emitted, in the order in which they became ready, each part with the time since when it is due."""

    def __init__(self, store: RowStore, phase: int) -> None:
        self._store = store
        self._phase = phase
        self._parts: list[tuple[int, Slots]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, slots: Slots, due_ms: int) -> None:
        """More of them, behind the others."""
        self._store.columns["phase"][slots] = self._phase
        self._count += len(slots)
        for at in range(0, len(slots), PART):
            part = slots[at : at + PART].astype(np.int64)
            last = self._parts[-1] if self._parts else None
            if last is not None and last[0] == due_ms and len(last[1]) + len(part) <= PART:
                self._parts[-1] = (due_ms, np.append(last[1], part))
            else:
                self._parts.append((due_ms, part))

    def parts(self) -> Iterator[Slots]:
        """All of them, in portions."""
        for _, part in self._parts:
            yield part

    def slots(self) -> Slots:
        """All of them."""
        return np.concatenate([part for _, part in self._parts]) if self._parts else np.zeros(0, np.int64)

    def remove(self, slots: Slots) -> None:
        """These are ready no longer, each once."""
        phase = self._store.columns["phase"]
        left = slots[phase[slots] == self._phase]
        phase[left] = 0
        self._count -= len(left)
        kept, gone = list[tuple[int, Slots]](), len(left)
        for at, (due_ms, part) in enumerate(self._parts):
            if not gone:
                kept += self._parts[at:]
                break
            rest = part[phase[part] == self._phase]
            gone -= len(part) - len(rest)
            if len(rest):
                kept.append((due_ms, rest))
        self._parts = kept

    def oldest_ms(self) -> int | None:
        """Since when the first of them is due."""
        return self._parts[0][0] if self._parts else None
