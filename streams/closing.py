"""Laws 9 and 10: when a revision is emitted. It never decides what a revision holds, so it may be lost and begun again at any time.

A window is due at wall clock ≥ end + grace. The log's last stable offset at that moment is the barrier; the window closes once all below the
barrier is durable, so a backlog never closes early and a silent customer needs no event. What comes after closing is merged for
`revision_delay` into one revision, at most ten times that.
"""

from __future__ import annotations

import heapq
from typing import Final, NamedTuple

from streams.rows import Row
from streams.state import PartitionState

MERGE_AT_MOST: Final = 10
"""A window that gets late events all the time still shows a new revision after ten delays (SURFACES)."""


class WindowCounts(NamedTuple):
    """Rows whose newest revision was not emitted: `open` wait for their end and grace, `due` are past it; `reopened` of both were emitted before."""

    open: int
    due: int
    reopened: int


class Closing:
    """What one partition has still to emit. Time is an argument, in milliseconds of the wall clock."""

    def __init__(self) -> None:
        self.closed_until_ms = -1
        self.asked_at_ms = -1
        self.barrier: tuple[int, int] | None = None
        """(wall clock when it was asked for, last stable offset after that)."""
        self.touched: dict[int, Row] = {}
        self.waiting: dict[int, dict[int, Row]] = {}
        self._times: list[int] = []
        self.late: dict[int, tuple[Row, int, int]] = {}
        self.ready: dict[int, Row] = {}
        self.close_offset = -1

    def touch(self, rows: list[Row]) -> None:
        """Rows that changed, or were recovered with a revision that was never emitted."""
        for row in rows:
            self.touched[id(row)] = row

    def tick(self, state: PartitionState, durable_offset: int, now_ms: int, last_stable_offset: int | None) -> bool:
        """Sort what changed, take or pass the barrier. True: the next tick wants the last stable offset, asked after this call."""
        self._sort(state, now_ms)
        if self.barrier is None and last_stable_offset is not None and self.asked_at_ms >= 0:
            # The offset was asked for after that tick, so all that was in the log at that moment lies below it.
            self.barrier = (self.asked_at_ms, last_stable_offset)
        if self.barrier is not None and durable_offset >= self.barrier[1]:
            self.closed_until_ms = max(self.closed_until_ms, self.barrier[0])
            self.barrier = None
        self._ripen(state, now_ms)
        wants = self.barrier is None and bool(self._times) and self._times[0] <= now_ms
        self.asked_at_ms = now_ms if wants else -1
        return wants

    def _sort(self, state: PartitionState, now_ms: int) -> None:
        for key, row in self.touched.items():
            if key in self.ready or not row.pending:
                continue
            close_ms = self._close_ms(state, row)
            if row.emitted >= 0 or close_ms <= self.closed_until_ms:
                first_ms = self.late[key][1] if key in self.late else now_ms
                self.late[key] = (row, first_ms, now_ms)
            else:
                if close_ms not in self.waiting:
                    self.waiting[close_ms] = {}
                    heapq.heappush(self._times, close_ms)
                self.waiting[close_ms][key] = row
        self.touched.clear()

    @staticmethod
    def _close_ms(state: PartitionState, row: Row) -> int:
        versions = state.definitions.meters.get(row.window.meter)
        return row.window.end_s * 1000 + (versions[-1].meter.grace_ms if versions else 0)

    def _ripen(self, state: PartitionState, now_ms: int) -> None:
        while self._times and self._times[0] <= self.closed_until_ms:
            self.ready |= self.waiting.pop(heapq.heappop(self._times))
        delay_ms = state.definitions.timing.revision_delay_ms
        for key, (row, first_ms, last_ms) in list(self.late.items()):
            if now_ms - last_ms >= delay_ms or now_ms - first_ms >= MERGE_AT_MOST * delay_ms:
                self.ready[key] = row
                del self.late[key]
        if state.clocks.close_offset > self.close_offset:
            self.close_offset = state.clocks.close_offset
            self._close_now(self.close_offset)

    def _close_now(self, offset: int) -> None:
        """`tidemark.close`: everything that began before it is emitted as it stands."""
        for rows in self.waiting.values():
            chosen = {key: row for key, row in rows.items() if row.first_offset < offset}
            self.ready |= chosen
            for key in chosen:
                del rows[key]
        chosen = {key: row for key, (row, _, _) in self.late.items() if row.first_offset < offset}
        self.ready |= chosen
        for key in chosen:
            del self.late[key]

    def due(self, durable_rev: int, limit: int) -> list[Row]:
        """Rows to emit now: ready, and durable as they stand (`rev` < `durable_rev`)."""
        found: list[Row] = []
        for key in [key for key, row in self.ready.items() if not row.pending]:
            del self.ready[key]
        for row in self.ready.values():
            if row.rev < durable_rev:
                found.append(row)
                if len(found) >= limit:
                    break
        return found

    def emitted(self, row: Row) -> None:
        """The row's newest revision stands on `usage.windows`, or a newer one came meanwhile and is touched again."""
        self.ready.pop(id(row), None)
        if row.pending:
            self.touched[id(row)] = row

    def counts(self, state: PartitionState, now_ms: int) -> WindowCounts:
        """Each row that has something to emit, once."""
        waiting = [(close_ms, row) for close_ms, rows in self.waiting.items() for row in rows.values()]
        due = [row for close_ms, row in waiting if close_ms <= now_ms]
        still_open = [row for close_ms, row in waiting if close_ms > now_ms]
        due += list(self.ready.values()) + [row for row, _, _ in self.late.values()]
        sorted_keys = {id(row) for row in due} | {id(row) for row in still_open}
        for key, row in self.touched.items():
            if key not in sorted_keys and row.pending:
                (due if row.emitted >= 0 or self._close_ms(state, row) <= now_ms else still_open).append(row)
        reopened = sum(1 for row in due + still_open if row.emitted >= 0)
        return WindowCounts(len(still_open), len(due), reopened)
