"""Laws 9 and 10: when a revision is emitted. It never decides what a revision holds, so it may be lost and begun again at any time.

A window is due at wall clock ≥ end + grace. The log's last stable offset at that moment is the barrier; the window closes once all below the
barrier is durable, so a backlog never closes early and a silent customer needs no event. What comes after closing is merged for
`revision_delay` into one revision, at most ten times that.

Rows are slots of the table (`streams/row_store.py`). Most wait for their end and grace, and nobody looks at them singly; what is late, near a
billing edge or under a test clock is looked at one by one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple

import numpy as np

from streams.early import PASSES, early_ms
from streams.marking import Marking
from streams.probing import Slots, each_once
from streams.queues import Ready, Waiting
from streams.row_store import RowStore
from streams.rows import Row, Rows, began_before, revision
from streams.state import PartitionState
from topics.clocks import ClockVersion
from topics.definitions import Definitions, deadline_of
from topics.positions import log_of, offset_of

MERGE_AT_MOST: Final = 10
"""A window that gets late events all the time still shows a new revision after ten delays (SURFACES)."""
IDLE: Final = 0
WAITING: Final = 1
LATE: Final = 2
READY: Final = 3
CLOCKED: Final = 4
"""Where a row stands, its `phase` in the table: waiting for its end and grace, merged, to be emitted, waiting for its customer's test clock."""


class WindowCounts(NamedTuple):
    """Rows whose newest revision was not emitted: `open` wait for their end and grace, `due` are past it; `reopened` of both were emitted before."""

    open: int
    due: int
    reopened: int


class Closing:
    """What one partition has still to emit. Time is an argument, in milliseconds of the wall clock.

    A row stands in at most one of `waiting`, `late`, `by_clock` and `ready`; `touched` are rows to be sorted into them at the next tick. A row of
    the first two that a billing edge would overtake also stands in `early`.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._store: RowStore = rows.store
        self.closed_until_ms = -1
        self.asked_at_ms = -1
        self.barrier: tuple[int, int] | None = None
        """(wall clock when it was asked for, last stable offset after that)."""
        self._touched: list[Slots] = []
        self.waiting = Waiting(self._store, WAITING, self._times_of)
        self.early: dict[int, int] = {}
        """With the time of the row's next emission before a billing edge."""
        self._turns = count()
        self._early_times: list[tuple[int, int, int]] = []
        """(time, turn, slot): rows of one time go in the order in which they were planned. An entry whose row has another time says nothing."""
        self.by_clock: dict[str, dict[int, None]] = {}
        """By customer: rows that wait for its test clock to pass their end and grace, not for the wall clock."""
        self.late: dict[int, int] = {}
        """With the time of the last change; in its order, as `_since` is in that of the first change, so that a tick looks at the ripe ones only."""
        self._since: dict[int, int] = {}
        self.ready = Ready(self._store, READY)
        self._again: set[int] = set()
        """Rows that have something to emit and were emitted before."""
        self._hot: set[int] = set()
        self._delay_ms = 0
        self._copies: dict[int, Row] = {}
        """A ready row that changes faster than flushes make it durable, as it stood when a flush began."""
        self._stirred: set[str] = set()
        """Customers whose clock spoke since the last tick."""
        self.close_offset = -1
        self.marking = Marking(self._store)
        self._graces: dict[str, int] = {}
        self._grace_ms: Slots = np.zeros(0, np.int64)
        """The same by number of the meter."""
        self._definitions = Definitions()
        self._version = -1

    def touch(self, slots: Slots) -> None:
        """Rows that changed, or were recovered with a revision that was never emitted."""
        if len(slots):
            self._touched.append(slots.astype(np.int32))

    def let_go(self, slots: Slots) -> None:
        """Rows that are no more: their slots will be other rows'."""
        self.marking.let_go(slots)
        for slot in slots.tolist() if self.early or self._again else ():
            self.early.pop(slot, None)
            self._again.discard(slot)

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
        if passed_ms is not None and self.marking.is_due(passed_ms):
            self.marking.passed(passed_ms, np.append(self.ready.slots(), np.array(list(self.late), np.int64)))
        wants = self.barrier is None and (self.waiting.is_due(now_ms) or self.marking.is_due(now_ms))
        self.asked_at_ms = now_ms if wants else -1
        return wants

    def _read_graces(self, state: PartitionState) -> None:
        """A new grace moves what waits already: it is sorted anew, so that no row waits in two places."""
        if self._version != state.definitions.version:
            self._version = state.definitions.version
            graces = {slug: versions[-1].meter.grace_ms for slug, versions in state.definitions.meters.items()}
            if graces != self._graces:
                self.touch(self.waiting.clear())
                self._graces, self._grace_ms = graces, np.zeros(0, np.int64)
                for customer in list(self.by_clock):
                    self._unclock(customer)
        meters = self._store.meters
        if len(self._grace_ms) < meters.count:
            names = [meters.name(number) for number in range(meters.count)]
            self._grace_ms = np.array([self._graces.get(name, 0) for name in names], np.int64)

    def _unclock(self, customer: str) -> None:
        slots = np.array(list(self.by_clock.pop(customer, ())), np.int64)
        self._store.columns["phase"][slots] = IDLE
        self.touch(slots)

    def _look_again(self, state: PartitionState, now_ms: int) -> None:
        """A new item may bring a billing edge to windows that wait already."""
        phase = self._store.columns["phase"]
        for customer, meter in state.rebound:
            for row in self.rows.of_meter(customer, meter):
                if phase[row.slot] == WAITING:
                    self._meets_edge(state, row, now_ms)
        # A clock that spoke, or a binding that names another one: all that waits of theirs is sorted anew, by the time that is theirs now.
        customers = {customer for customer, _ in state.rebound if customer in state.definitions.clocks} | set(state.clocked)
        state.rebound.clear()
        state.clocked.clear()
        for customer in customers:
            self._unclock(customer)
            for row in self.rows.of_customer(customer, state.definitions.meters):
                if phase[row.slot] == WAITING:
                    self._leave(row.slot)
                elif phase[row.slot] != LATE:
                    continue
                self.touch(np.array([row.slot]))
        self._stirred = customers

    def _sort(self, state: PartitionState, now_ms: int) -> None:
        self._delay_ms = state.definitions.timing.revision_delay_ms
        if not self._touched:
            return
        slots, self._touched = each_once(self._touched), []
        columns = self._store.columns
        slots = slots[(columns["phase"][slots] != READY) & self._store.is_pending(slots)]
        close_ms = self._times_of(slots)
        usual = columns["emitted_generation"][slots] < 0
        if state.definitions.clocks:
            clocked = self._store.customers.find_all(state.definitions.clocks)
            usual &= ~np.isin(columns["customer"][slots], clocked)
        begins = usual & (columns["phase"][slots] == IDLE) & (close_ms > self.closed_until_ms)
        waits = usual & (columns["phase"][slots] == WAITING)
        if begins.any():
            self.waiting.add(slots[begins], close_ms[begins])
        if state.definitions.items:
            self._meet_edges(state, slots[begins], now_ms)
        for row in self.rows.rows(slots[~(begins | waits)].tolist()):
            self._sort_one(state, row, now_ms)

    def _times_of(self, slots: Slots) -> Slots:
        """End and grace of rows whose meters a tick has seen."""
        columns = self._store.columns
        return np.asarray(columns["end_s"][slots] * 1000 + self._grace_ms[columns["meter"][slots]])

    def _meet_edges(self, state: PartitionState, slots: Slots, now_ms: int) -> None:
        """Rows that begin to wait, of customers whose billing period may end before they are emitted."""
        for row in self.rows.rows(slots.tolist()):
            if (row.window.customer, row.window.meter) in state.definitions.items:
                self._meets_edge(state, row, now_ms)

    def _sort_one(self, state: PartitionState, row: Row, now_ms: int) -> None:
        slot, phase = row.slot, self._store.columns["phase"]
        if row.emitted >= 0:
            self._again.add(slot)
        close_ms = self._close_ms(row)
        clock = state.definitions.clock_of(row.window.customer) if state.definitions.clocks else None
        if clock is not None:
            self._sort_by_clock(row, clock, now_ms)
            return
        if phase[slot] == WAITING:
            return
        is_late = close_ms <= self.closed_until_ms or phase[slot] == LATE
        if is_late or (not self._meets_edge(state, row, now_ms) and row.emitted >= 0):
            if phase[slot] != LATE:
                self._meets_edge(state, row, now_ms, now_ms + MERGE_AT_MOST * self._delay_ms)
            self._merge(slot, now_ms)
            return
        self.waiting.add(np.array([slot]), np.array([close_ms]))

    def _merge(self, slot: int, now_ms: int) -> None:
        """It changed after it was closed: it waits for what else may come."""
        self._leave(slot)
        self.late[slot] = now_ms
        self._since.setdefault(slot, now_ms)
        self._store.columns["phase"][slot] = LATE

    def _sort_by_clock(self, row: Row, clock: ClockVersion, now_ms: int) -> None:
        """A row whose customer lives by a test clock is closed by it: all that came before its word is folded, so no barrier is needed.

        A clock jumps. Once it is near the edge of the row's period, or past it, what waits goes out with its word, and what comes then is merged.
        """
        window, clock_ms, phase = row.window, clock.now_s * 1000, self._store.columns["phase"]
        versions = self._definitions.items.get((window.customer, window.meter), [])
        is_over, is_late = self._close_ms(row) <= clock_ms, phase[row.slot] == LATE
        if not is_over:
            near_s = (clock_ms + PASSES[0].before_ms) // 1000
            deadline_s = deadline_of(versions, window, near_s)
            is_near = deadline_s is not None and deadline_s <= near_s
            if not is_near and not is_late:
                self._leave(row.slot)
                self.by_clock.setdefault(window.customer, {})[row.slot] = None
                phase[row.slot] = CLOCKED
                return
        if window.customer in self._stirred or (is_over and row.emitted < 0 and not is_late):
            self._make_ready(row.slot, now_ms)
            return
        self._merge(row.slot, now_ms)

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
        if at_ms is not None and at_ms < leaves_ms and self.early.get(row.slot, -1) != at_ms:
            self.early[row.slot] = at_ms
            heapq.heappush(self._early_times, (at_ms, next(self._turns), row.slot))
        return True

    def _close_ms(self, row: Row) -> int:
        return row.window.end_s * 1000 + self._graces.get(row.window.meter, 0)

    def _ripen(self, state: PartitionState, now_ms: int) -> None:
        for close_ms, slots in self.waiting.pop_until(self.closed_until_ms):
            self.ready.add(slots, close_ms)
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
            for row in self.rows.of_customer(flush.customer, state.definitions.meters):
                if row.window.start_s < flush.until_s and began_before(row, asked) and row.emitted < asked:
                    self._emit_now(row.slot, now_ms)
        state.flushes.clear()

    def _emit_now(self, slot: int, now_ms: int) -> None:
        """A row that waits, or is merged, does so no longer."""
        if self._store.columns["phase"][slot] in {WAITING, CLOCKED, LATE}:
            self._make_ready(slot, now_ms)

    def _make_ready(self, slot: int, now_ms: int) -> None:
        """Wherever it waits: it is due since now."""
        self._leave(slot)
        self._since.pop(slot, None)
        self.ready.add(np.array([slot]), now_ms)

    def _leave(self, slot: int) -> None:
        """It stands nowhere now."""
        phase, row = self._store.columns["phase"], self.rows.row(slot)
        if phase[slot] == WAITING:
            self.waiting.remove(self._close_ms(row))
        elif phase[slot] == CLOCKED:
            self.by_clock[row.window.customer].pop(slot)
        elif phase[slot] == LATE:
            del self.late[slot]
        phase[slot] = IDLE

    def _ripen_early(self, now_ms: int) -> None:
        """Rows whose time before an edge has come leave `waiting` and `late` as they stand; they come back with their next event."""
        while self._early_times and self._early_times[0][0] <= now_ms:
            at_ms, _, slot = heapq.heappop(self._early_times)
            if self.early.get(slot, -1) == at_ms:
                del self.early[slot]
                self._emit_now(slot, at_ms)

    def _release(self, slots: Iterable[int], now_ms: int) -> None:
        """Late rows that need not wait longer."""
        for slot in slots:
            if slot in self.late:
                self._make_ready(slot, now_ms)

    def _close_now(self, asked: int, now_ms: int) -> None:
        """`tidemark.close`: everything that began before it is emitted as it stands."""
        slots = [*self.waiting.slots().tolist(), *(slot for held in self.by_clock.values() for slot in held), *self.late]
        for row in self.rows.rows(slots):
            if began_before(row, asked):
                self._make_ready(row.slot, now_ms)

    def due(self, durable_rev: int, limit: int) -> list[tuple[Row, Row]]:
        """Rows to emit now, each with the value to emit: durable (`rev` < `durable_rev`), of a row that never rests its copy at a flush."""
        found: list[tuple[Row, Row]] = []
        for part in self.ready.parts():
            settled = self._store.is_below(part, durable_rev) & self._store.is_pending(part)
            for row, is_settled in zip(self.rows.rows(part.tolist()), settled.tolist(), strict=True):
                value = row if is_settled else self._copies.get(row.slot)
                if value is not None and (is_settled or row.emitted < value.rev < durable_rev):
                    found.append((row, value))
                else:
                    self._hot.add(row.slot)
            if len(found) >= limit:
                break
        return found[:limit]

    def flush_begins(self) -> None:
        """Copy the ready rows that were not durable when they were due: when this flush is acknowledged, their copies are."""
        for slot in sorted(self._hot):
            if self._store.columns["phase"][slot] == READY:
                self._copies[slot] = self.rows.row(slot).copy()
        self._hot.clear()

    def emitted(self, slots: Slots) -> None:
        """Revisions of these rows stand on `usage.windows`; where a newer one came meanwhile the row is touched again."""
        for slot in slots.tolist() if self._again or self._copies else ():
            self._again.discard(slot)
            self._copies.pop(slot, None)
        self.ready.remove(slots)
        self.touch(slots[self._store.is_pending(slots)])

    def oldest_due_ms(self, now_ms: int) -> int | None:
        """Since when the row that is due longest waits to be emitted; None where none is due. Rows that are still merged are not due."""
        found = [close_ms for close_ms in self.waiting.times() if close_ms <= now_ms]
        if (ready_ms := self.ready.oldest_ms()) is not None:
            found.append(ready_ms)
        found += [at_ms + self._delay_ms for at_ms in list(self.late.values())[:1] if at_ms + self._delay_ms <= now_ms]
        return min(found, default=None)

    def counts(self, now_ms: int) -> WindowCounts:
        """Each row that has something to emit, once. Asked by every look at the status, so it walks only what changed since the last tick."""
        past = sum(number for close_ms, number in self.waiting.times().items() if close_ms <= now_ms)
        still_open = sum(self.waiting.times().values()) - past + sum(map(len, self.by_clock.values()))
        due, reopened = past + len(self.late) + len(self.ready), len(self._again)
        if not self._touched:
            return WindowCounts(still_open, due, reopened)
        slots, columns = each_once(self._touched), self._store.columns
        for row in self.rows.rows(slots[(columns["phase"][slots] == IDLE) & self._store.is_pending(slots)].tolist()):
            reopened += row.emitted >= 0 and row.slot not in self._again
            clock = self._definitions.clock_of(row.window.customer) if self._definitions.clocks else None
            if row.emitted >= 0 or self._close_ms(row) <= (now_ms if clock is None else clock.now_s * 1000):
                due += 1
            else:
                still_open += 1
        return WindowCounts(still_open, due, reopened)


def _ripe(held: dict[int, int], now_ms: int, delay_ms: int) -> list[int]:
    """Slots, from the front, whose time is `delay_ms` ago; or ahead, where the wall clock went back: none waits for it to come again."""
    found: list[int] = []
    for slot, at_ms in held.items():
        if 0 <= now_ms - at_ms < delay_ms:
            break
        found.append(slot)
    return found
