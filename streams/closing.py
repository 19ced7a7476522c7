"""Laws 9 and 10: when a revision is emitted. It never decides what a revision holds, so it may be lost and begun again at any time.

A window is due at wall clock ≥ end + grace. The log's last stable offset at that moment is the barrier; the window closes once all below the
barrier is durable, so a backlog never closes early and a silent customer needs no event. What comes after closing is merged for
`revision_delay` into one revision, at most ten times that.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Final, NamedTuple

from streams.early import PASSES, early_ms
from streams.marking import Marking
from streams.rows import Row, began_before, revision
from streams.state import PartitionState
from topics.clocks import ClockVersion
from topics.definitions import Definitions, deadline_of
from topics.positions import log_of, offset_of

MERGE_AT_MOST: Final = 10
"""A window that gets late events all the time still shows a new revision after ten delays (SURFACES)."""


class WindowCounts(NamedTuple):
    """Rows whose newest revision was not emitted: `open` wait for their end and grace, `due` are past it; `reopened` of both were emitted before."""

    open: int
    due: int
    reopened: int


class Closing:
    """What one partition has still to emit. Time is an argument, in milliseconds of the wall clock.

    A row stands in at most one of `waiting`, `late` and `ready`; `touched` are rows to be sorted into them at the next tick. A row of the first two
    that a billing edge would overtake also stands in `early`.
    """

    def __init__(self) -> None:
        self.closed_until_ms = -1
        self.asked_at_ms = -1
        self.barrier: tuple[int, int] | None = None
        """(wall clock when it was asked for, last stable offset after that)."""
        self.touched: dict[int, Row] = {}
        self.waiting: dict[int, dict[int, Row]] = {}
        self._times: list[int] = []
        self.early: dict[int, tuple[Row, int]] = {}
        """With the time of the row's next emission before a billing edge."""
        self._turns = count()
        self._early_times: list[tuple[int, int, int]] = []
        """(time, turn, key of `early`): rows of one time go in the order in which they were planned, not in that of memory. An entry whose row has
        another time by now says nothing."""
        self.by_clock: dict[str, dict[int, Row]] = {}
        """By customer: rows that wait for its test clock to pass their end and grace, not for the wall clock."""
        self.late: dict[int, tuple[Row, int]] = {}
        """With the time of the last change; in its order, as `_since` is in that of the first change, so that a tick looks at the ripe ones only."""
        self._since: dict[int, tuple[Row, int]] = {}
        self.ready: dict[int, Row] = {}
        self._again: dict[int, Row] = {}
        """Rows of `late` and `ready` that were emitted before."""
        self._hot: dict[int, Row] = {}
        self._due_ms: dict[int, int] = {}
        """Since when each row of `ready` is due; in order of their becoming ready."""
        self._delay_ms = 0
        self._copies: dict[int, Row] = {}
        """A ready row that changes faster than flushes make it durable, as it stood when a flush began."""
        self._stirred: set[str] = set()
        """Customers whose clock spoke since the last tick."""
        self.close_offset = -1
        self.marking = Marking()
        self._graces: dict[str, int] = {}
        self._definitions = Definitions()
        self._version = -1

    def touch(self, rows: list[Row]) -> None:
        """Rows that changed, or were recovered with a revision that was never emitted."""
        for row in rows:
            self.touched[id(row)] = row

    def tick(self, state: PartitionState, durable_offset: int, now_ms: int, last_stable_offset: int | None) -> bool:
        """Sort what changed, take or pass the barrier. True: the next tick wants the last stable offset, asked after this call."""
        if now_ms < self.closed_until_ms:
            # The wall clock was ahead and is right again: what it had closed until then is no reason to close the rest early.
            self.closed_until_ms, self.asked_at_ms, self.barrier = now_ms, -1, None
        self._definitions = state.definitions
        self._read_graces(state)
        self._look_again(state, now_ms)
        self._sort(state, now_ms)
        if self.barrier is None and last_stable_offset is not None and self.asked_at_ms >= 0:
            # The offset was asked for after that tick, so all that was in the log at that moment lies below it.
            self.barrier = (self.asked_at_ms, last_stable_offset)
        passed_ms: int | None = None
        if self.barrier is not None and durable_offset >= self.barrier[1]:
            passed_ms = self.barrier[0]
            self.closed_until_ms = max(self.closed_until_ms, passed_ms)
            self.barrier = None
        self._ripen(state, now_ms)
        if passed_ms is not None:
            self.marking.passed(passed_ms, [*self.ready.values(), *(row for row, _ in self.late.values())])
        wants = self.barrier is None and ((bool(self._times) and self._times[0] <= now_ms) or self.marking.is_due(now_ms))
        self.asked_at_ms = now_ms if wants else -1
        return wants

    def _read_graces(self, state: PartitionState) -> None:
        """A new grace moves what waits already: it is sorted anew, so that no row waits in two places."""
        if self._version == state.definitions.version:
            return
        self._version = state.definitions.version
        graces = {slug: versions[-1].meter.grace_ms for slug, versions in state.definitions.meters.items()}
        if graces != self._graces:
            self._graces = graces
            for rows in self.waiting.values():
                self.touched |= rows
            for rows in self.by_clock.values():
                self.touched |= rows
            self.waiting.clear()
            self.by_clock.clear()
            self._times.clear()

    def _look_again(self, state: PartitionState, now_ms: int) -> None:
        """A new item may bring a billing edge to windows that wait already."""
        for customer_meter in state.rebound:
            for row in state.rows.by_meter.get(customer_meter, {}).values():
                if id(row) in self.waiting.get(self._close_ms(row), ()):
                    self._meets_edge(state, row, now_ms)
        # A clock that spoke, or a binding that names another one: all that waits of theirs is sorted anew, by the time that is theirs now.
        customers = {customer for customer, _ in state.rebound if customer in state.definitions.clocks} | set(state.clocked)
        state.rebound.clear()
        state.clocked.clear()
        for customer in customers:
            self.touched |= self.by_clock.pop(customer, {})
            for row in state.rows.of_customer(customer, state.definitions.meters):
                if self.waiting.get(self._close_ms(row), {}).pop(id(row), None) is not None or id(row) in self.late:
                    self.touched[id(row)] = row
        self._stirred = customers

    def _sort(self, state: PartitionState, now_ms: int) -> None:
        self._delay_ms = state.definitions.timing.revision_delay_ms
        for key, row in self.touched.items():
            if key in self.ready or not row.pending:
                continue
            if row.emitted >= 0:
                self._again[key] = row
            close_ms = self._close_ms(row)
            clock = state.definitions.clock_of(row.window.customer) if state.definitions.clocks else None
            if clock is not None:
                self._sort_by_clock(key, row, clock, now_ms)
                continue
            if key in self.waiting.get(close_ms, ()):
                continue
            if close_ms <= self.closed_until_ms or key in self.late or (not self._meets_edge(state, row, now_ms) and row.emitted >= 0):
                if self.late.pop(key, None) is None:
                    self._meets_edge(state, row, now_ms, now_ms + MERGE_AT_MOST * self._delay_ms)
                self.late[key] = (row, now_ms)
                self._since.setdefault(key, (row, now_ms))
                continue
            if close_ms not in self.waiting:
                self.waiting[close_ms] = {}
                heapq.heappush(self._times, close_ms)
            self.waiting[close_ms][key] = row
        self.touched.clear()

    def _sort_by_clock(self, key: int, row: Row, clock: ClockVersion, now_ms: int) -> None:
        """A row whose customer lives by a test clock is closed by it: all that came before its word is folded, so no barrier is needed.

        A clock jumps. Once it is near the edge of the row's period, or past it, what waits goes out with its word, and what comes then is merged.
        """
        window, clock_ms = row.window, clock.now_s * 1000
        versions = self._definitions.items.get((window.customer, window.meter), [])
        is_over = self._close_ms(row) <= clock_ms
        if not is_over:
            near_s = (clock_ms + PASSES[0].before_ms) // 1000
            deadline_s = deadline_of(versions, window, near_s)
            is_near = deadline_s is not None and deadline_s <= near_s
            if not is_near and key not in self.late:
                self.by_clock.setdefault(window.customer, {})[key] = row
                return
        if window.customer in self._stirred or (is_over and row.emitted < 0 and key not in self.late):
            self._release([key], now_ms)
            self.ready[key] = row
            self._due_ms[key] = now_ms
            return
        self.late.pop(key, None)
        self.late[key] = (row, now_ms)
        self._since.setdefault(key, (row, now_ms))

    def _meets_edge(self, state: PartitionState, row: Row, now_ms: int, leaves_ms: int | None = None) -> bool:
        """True where a billing edge may come before the row is emitted anyway, at `leaves_ms` (None: it waits for its end and grace): then it
        waits, whatever was emitted of it. Plans its next early emission: also a window that ends before the edge may close only after it."""
        leaves_ms = self._close_ms(row) if leaves_ms is None else leaves_ms
        versions = state.definitions.items.get((row.window.customer, row.window.meter))
        if not versions or now_ms >= leaves_ms:
            return False
        deadline_s = deadline_of(versions, row.window, (leaves_ms + PASSES[0].before_ms) // 1000)
        if deadline_s is None:
            return False
        at_ms = early_ms(row.window.customer, deadline_s, now_ms, was_emitted=row.emitted >= 0)
        if at_ms is not None and at_ms < leaves_ms and self.early.get(id(row), (row, -1))[1] != at_ms:
            self.early[id(row)] = (row, at_ms)
            heapq.heappush(self._early_times, (at_ms, next(self._turns), id(row)))
        return True

    def _close_ms(self, row: Row) -> int:
        return row.window.end_s * 1000 + self._graces.get(row.window.meter, 0)

    def _ripen(self, state: PartitionState, now_ms: int) -> None:
        while self._times and self._times[0] <= self.closed_until_ms:
            close_ms = heapq.heappop(self._times)
            rows = self.waiting.pop(close_ms)
            self.ready |= rows
            self._due_ms |= dict.fromkeys(rows, close_ms)
        self._ripen_early(now_ms)
        delay_ms = self._delay_ms
        self._release(_ripe(self.late, now_ms, delay_ms) + _ripe(self._since, now_ms, MERGE_AT_MOST * delay_ms), now_ms)
        if state.clocks.close_offset > self.close_offset:
            self.close_offset = state.clocks.close_offset
            self._close_now(revision(state.generation, self.close_offset), now_ms)
        self._carry_out(state, now_ms)

    def _carry_out(self, state: PartitionState, now_ms: int) -> None:
        """`tidemark.flush`: what a customer used before it, in windows that start before its instant, is emitted as it stands.

        After a recovery flushes are looked at again: what was emitted since is left alone, what changed since goes out once more, harmlessly.
        """
        for flush in state.flushes:
            asked = revision(log_of(flush.offset), offset_of(flush.offset))
            for row in state.rows.of_customer(flush.customer, state.definitions.meters):
                if row.window.start_s < flush.until_s and began_before(row, asked) and row.emitted < asked:
                    self._emit_now(id(row), row, now_ms)
        state.flushes.clear()

    def _emit_now(self, key: int, row: Row, now_ms: int) -> None:
        """A row that waits, or is merged, does so no longer."""
        held = self.waiting.get(self._close_ms(row), {}).pop(key, None)
        if held is not None or self.by_clock.get(row.window.customer, {}).pop(key, None) is not None:
            self.ready[key] = row
            self._due_ms[key] = now_ms
        self._release([key], now_ms)

    def _ripen_early(self, now_ms: int) -> None:
        """Rows whose time before an edge has come leave `waiting` and `late` as they stand; they come back with their next event."""
        while self._early_times and self._early_times[0][0] <= now_ms:
            at_ms, _, key = heapq.heappop(self._early_times)
            row, planned_ms = self.early.get(key, (None, -1))
            if row is None or planned_ms != at_ms:
                continue
            del self.early[key]
            self._emit_now(key, row, at_ms)

    def _release(self, keys: list[int], now_ms: int) -> None:
        """Late rows that need not wait longer."""
        for key in keys:
            if key in self.late:
                self.ready[key] = self.late.pop(key)[0]
                self._due_ms[key] = now_ms
                del self._since[key]

    def _close_now(self, asked: int, now_ms: int) -> None:
        """`tidemark.close`: everything that began before it is emitted as it stands."""
        for rows in (*self.waiting.values(), *self.by_clock.values()):
            chosen = {key: row for key, row in rows.items() if began_before(row, asked)}
            self.ready |= chosen
            self._due_ms |= dict.fromkeys(chosen, now_ms)
            for key in chosen:
                del rows[key]
        self._release([key for key, (row, _) in self.late.items() if began_before(row, asked)], now_ms)

    def due(self, durable_rev: int, limit: int) -> list[tuple[Row, Row]]:
        """Rows to emit now, each with the value to emit: durable (`rev` < `durable_rev`), of a row that never rests its copy at a flush."""
        found: list[tuple[Row, Row]] = []
        for key, row in self.ready.items():
            value = row if row.rev < durable_rev else self._copies.get(key, row)
            if value.rev < durable_rev and value.rev > row.emitted:
                found.append((row, value))
                if len(found) >= limit:
                    break
            else:
                self._hot[key] = row
        return found

    def flush_begins(self) -> None:
        """Copy the ready rows that were not durable when they were due: when this flush is acknowledged, their copies are."""
        for key, row in self._hot.items():
            if key in self.ready:
                self._copies[key] = row.copy()
        self._hot.clear()

    def emitted(self, row: Row) -> None:
        """A revision of the row stands on `usage.windows`; where a newer one came meanwhile it is touched again."""
        for held in (self.ready, self._again, self._copies):
            held.pop(id(row), None)
        self._due_ms.pop(id(row), None)
        if row.pending:
            self.touched[id(row)] = row

    def oldest_due_ms(self, now_ms: int) -> int | None:
        """Since when the row that is due longest waits to be emitted; None where none is due. Rows that are still merged are not due."""
        found = [close_ms for close_ms, rows in self.waiting.items() if rows and close_ms <= now_ms]
        found += [next(iter(self._due_ms.values()))] if self._due_ms else []
        found += [at_ms + self._delay_ms for _, at_ms in list(self.late.values())[:1] if at_ms + self._delay_ms <= now_ms]
        return min(found, default=None)

    def counts(self, now_ms: int) -> WindowCounts:
        """Each row that has something to emit, once. Asked by every look at the status, so it walks only what changed since the last tick."""
        still_open = sum(len(rows) for close_ms, rows in self.waiting.items() if close_ms > now_ms) + sum(map(len, self.by_clock.values()))
        due = sum(len(rows) for close_ms, rows in self.waiting.items() if close_ms <= now_ms) + len(self.late) + len(self.ready)
        reopened = len(self._again)
        for key, row in self.touched.items():
            close_ms = self._close_ms(row)
            if not row.pending or key in self.ready or key in self.late or key in self.waiting.get(close_ms, ()):
                continue
            if key in self.by_clock.get(row.window.customer, ()):
                continue
            reopened += row.emitted >= 0
            clock = self._definitions.clock_of(row.window.customer) if self._definitions.clocks else None
            if row.emitted >= 0 or close_ms <= (now_ms if clock is None else clock.now_s * 1000):
                due += 1
            else:
                still_open += 1
        return WindowCounts(still_open, due, reopened)


def _ripe(held: dict[int, tuple[Row, int]], now_ms: int, delay_ms: int) -> list[int]:
    """Keys, from the front, whose time is `delay_ms` ago; or ahead, where the wall clock went back: none waits for it to come again."""
    found: list[int] = []
    for key, (_, at_ms) in held.items():
        if 0 <= now_ms - at_ms < delay_ms:
            break
        found.append(key)
    return found
