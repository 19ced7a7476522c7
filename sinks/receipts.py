"""Law 13, the delivery of one partition as a pure machine: totals, definitions and outcomes in; receipts, calls and an offset out.

The shell (sinks/stripe/agent_driver.py) does what it is told, in this order, and tells what came of it:
    next_write → written      one transaction of receipts: answers, intents, parked windows
    next_calls → answered     calls of durable intents only, each within 60 s of its intent's commit
    committable               how far the source may be committed
A simulation drives the very same machine with a fake log, a fake Stripe and a clock that is a number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sinks.calls import HAND_OUT_WITHIN_MS, Call, ReadBack, is_old, not_after_ms, readable_at_ms
from sinks.cell_state import CellState, LaneKey
from sinks.cells import Unplaced, cell_of
from sinks.coverage import Coverage
from sinks.outcomes import Confirmed, Outcome, RetryAfter, TooLate
from sinks.parked import Parked
from sinks.readback import Summary, verdicts_of
from sinks.retry import delay_ms
from sinks.schedule import Schedule
from sinks.tally import Tally
from topics.bindings import ItemVersion, Release
from topics.definitions import Definition, Definitions
from topics.receipt import CellReceipt, Receipt, WindowPart, cell_key, parked_key
from topics.window_total import WindowTotal
from topics.windows import Window, window_key

WRITE_LIMIT: Final = 100
"""Receipts in a transaction: one costs 22 ms whether it holds 1 or 100; more would make the first of them wait for the last."""


class Write(NamedTuple):
    """One transaction: (key, receipt) in order."""

    records: tuple[tuple[bytes, Receipt], ...]


class Deliveries:
    """Everything this worker knows of one partition's deliveries. No awaits, no clock: `now_ms` is an argument and never falls."""

    def __init__(self, partition: int, account: str, next_offset: int) -> None:
        self.partition = partition
        self.account = account
        self.coverage = Coverage(next_offset)
        self.tally = Tally()
        self._schedule = Schedule(f"{account}|{partition}")
        self.breaker = self._schedule.breaker
        self._definitions = Definitions()
        self._cells: dict[bytes, CellState] = {}
        self._cell_of: dict[str, CellState] = {}
        self._in_lane: dict[LaneKey, list[CellState]] = {}
        self._parked: dict[bytes, Parked] = {}
        self._parked_of: dict[tuple[str, str], dict[bytes, Parked]] = {}

    # ── what happened ────────────────────────────────────────────────────────────────────────────────────────────────

    def recover(self, receipts: Iterable[Receipt], now_ms: int) -> None:
        """Take the last record of every key, before anything else. Open intents will be asserted again before a call."""
        for receipt in receipts:
            if isinstance(receipt, CellReceipt):
                cell = CellState.of(receipt)
                self._know(cell)
                self._cell_of.update(dict.fromkeys(cell.wanted, cell))
                if cell.open_intent is not None:
                    self._schedule.lanes.open(cell)
                self.tally.cell(cell)
                self._schedule.cell(cell, now_ms)
            elif receipt.state == "parked":
                self._park(Parked.of(receipt))

    def define(self, definitions: Iterable[Definition], now_ms: int) -> None:
        """Bindings give parked windows their cells; a release lets one held cell or window be tried again. Others say nothing here.

        All that is known is put in force before any window is placed: by half of it a window could go to an item that a later version ends.
        """
        releases, bound = [], dict[tuple[str, str], None]()
        for definition in definitions:
            if isinstance(definition, ItemVersion):
                self._definitions.apply(definition)
                bound[definition.customer, definition.meter] = None
            elif isinstance(definition, Release):
                releases.append(definition)
        for key in bound:
            for parked in list(self._parked_of.get(key, {}).values()):
                self._place_again(parked, now_ms)
        for release in releases:
            self._release(release, now_ms)

    def total(self, total: WindowTotal, offset: int, closed_at_ms: int | None, now_ms: int) -> None:
        """One record of `usage.windows`. A revision that the receipts already hold, or a higher one, changes nothing."""
        window = total.window
        key = window_key(window)
        part = WindowPart(window=key, generation=total.generation, through_offset=total.through_offset, quantity=total.quantity)
        cell, parked = self._cell_of.get(key), self._parked.get(parked_key(key))
        if cell is None and parked is None:
            self.coverage.seen(key, total, closed_at_ms, offset)
            self._first(window, part, closed_at_ms, now_ms)
        elif cell is not None and part.revision > _durable(cell, key):
            self.coverage.seen(key, total, closed_at_ms, offset)
            self._want(cell, part, closed_at_ms, now_ms)
        elif cell is None and parked is not None and (parked.durable is None or part.revision > parked.durable):
            self.coverage.seen(key, total, closed_at_ms, offset)
            if part.revision > parked.part.revision:
                parked.part, parked.closed_at_ms = part, closed_at_ms
            self._place_again(parked, now_ms)

    def advance(self, next_offset: int) -> None:
        """The source was read up to here (markers included)."""
        self.coverage.next_offset = next_offset

    def written(self, write: Write, started_at_ms: int) -> None:
        """The transaction that began at `started_at_ms` is committed. (From the earlier instant 60 s end no later than from the commit.)"""
        for key, receipt in write.records:
            if isinstance(receipt, CellReceipt):
                self._cell_written(self._cells[key], receipt, started_at_ms)
                continue
            self.coverage.cover(receipt.window, receipt.revision)
            parked = self._parked.get(key)
            if parked is not None:
                parked.durable = receipt.revision
                self._count(parked)

    def answered(self, call: Call, outcome: Outcome, now_ms: int) -> None:
        """What came of a call."""
        cell, intent = self._cells[call.key], call.intent
        self._returned(cell, outcome, now_ms)
        if isinstance(outcome, TooLate):
            cell.committed_at_ms = None
        elif isinstance(outcome, RetryAfter) and not outcome.spent:
            self._later(cell, outcome, now_ms)
            return
        else:
            self._settle(cell, intent, outcome, now_ms)
        self._schedule.cell(cell, now_ms)

    def read_back(self, call: ReadBack, found: list[Summary] | RetryAfter, now_ms: int) -> None:
        """What the provider says the item's periods add up to, or that it did not say."""
        cell = self._cells[call.key]
        self._returned(cell, found if isinstance(found, RetryAfter) else Confirmed(), now_ms)
        if isinstance(found, RetryAfter):
            self._later(cell, found, now_ms)
            return
        verdicts = verdicts_of(cell, self._in_lane[cell.place.lane], found)
        for doubted in self._in_lane[cell.place.lane]:
            verdict, intent = verdicts.get(doubted.place.name), doubted.open_intent
            if verdict is None or intent is None or doubted.pending is not None:
                continue
            if now_ms >= readable_at_ms(intent):
                self._settle(doubted, intent, verdict, now_ms)
                self._schedule.cell(doubted, now_ms)

    # ── what to do next ──────────────────────────────────────────────────────────────────────────────────────────────

    def next_write(self, now_ms: int) -> Write | None:
        """The next transaction, or None. One at a time: the shell tells `written`, or builds the partition anew."""
        self._schedule.fire(now_ms)
        records: list[tuple[bytes, Receipt]] = []
        while len(records) < WRITE_LIMIT and (source := self._schedule.next_record(now_ms)) is not None:
            if isinstance(source, Parked):
                records += self._compose_window(source, now_ms)
            else:
                records += self._compose_cell(source, now_ms)
        return Write(tuple(records)) if records else None

    def next_calls(self, now_ms: int, limit: int) -> list[Call | ReadBack]:
        """At most `limit` calls that may start now. Each must come back through `answered` or `read_back`."""
        self._schedule.fire(now_ms)
        found: list[Call | ReadBack] = []
        while len(found) < limit and self.breaker.may_call(now_ms):
            cell = self._schedule.lanes.pop_call(in_turn=self.breaker.is_open)
            if cell is None:
                break
            call = self._call_of(cell, now_ms)
            if call is None:
                self._schedule.lanes.call_done(cell.place.lane)
            else:
                cell.in_flight = True
                self.breaker.started()
                found.append(call)
        return found

    def wake_at_ms(self, now_ms: int) -> int | None:
        """When there may be something to do without anything happening; None: never."""
        return self._schedule.wake_at_ms(now_ms)

    @property
    def committable(self) -> int:
        """The offset of `usage.windows` below which everything is in the receipts."""
        return self.coverage.committable

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _know(self, cell: CellState) -> None:
        self._cells[cell.key] = cell
        self._in_lane.setdefault(cell.place.lane, []).append(cell)

    def _place(self, window: Window) -> CellState | Unplaced:
        """The cell the window belongs to by what is in force now, made if it is not there."""
        item = self._definitions.item_at(window.customer, window.meter, window.start_s)
        place = cell_of(window, item, self.account)
        if isinstance(place, Unplaced):
            return place
        cell = self._cells.get(cell_key(place.provider, place.account, place.name))
        if cell is None:
            cell = CellState(place)
            self._know(cell)
        elif cell.place.owner != place.owner:
            return Unplaced("cell_taken", f"cell {place.name} already belongs to {cell.place.owner}; two sources on one item cannot be told apart")
        return cell

    def _first(self, window: Window, part: WindowPart, closed_at_ms: int | None, now_ms: int) -> None:
        where = self._place(window)
        if isinstance(where, Unplaced):
            self._park(Parked(window, part, where, closed_at_ms))
        else:
            self._want(where, part, closed_at_ms, now_ms)

    def _want(self, cell: CellState, part: WindowPart, closed_at_ms: int | None, now_ms: int) -> None:
        """The cell is to hold this total of the window, unless it holds a later one."""
        known = cell.wanted.get(part.window)
        if known is None or part.revision > known.revision:
            cell.wanted[part.window] = part
            self._cell_of[part.window] = cell
            cell.closed_at_ms = max((at for at in (closed_at_ms, cell.closed_at_ms) if at is not None), default=None)
        self.tally.cell(cell)
        self._schedule.cell(cell, now_ms)

    def _park(self, parked: Parked) -> None:
        self._parked[parked_key(parked.key)] = parked
        self._parked_of.setdefault((parked.window.customer, parked.window.meter), {})[parked_key(parked.key)] = parked
        self._count(parked)
        self._schedule.record(parked)

    def _place_again(self, parked: Parked, now_ms: int) -> None:
        """Give the window its cell if there is one by now; the cell's next record and the end of the parked one are one transaction."""
        where = self._place(parked.window)
        if isinstance(where, Unplaced):
            parked.why = where
            self._count(parked)
            self._schedule.record(parked)
            return
        key = parked_key(parked.key)
        del self._parked[key], self._parked_of[parked.window.customer, parked.window.meter][key]
        self.tally.window(parked.tally, None)
        if parked.receipt is not None:
            where.binds[parked.key] = parked.bound(where.place.name, now_ms)
        self._want(where, parked.part, parked.closed_at_ms, now_ms)

    def _release(self, release: Release, now_ms: int) -> None:
        """An operator's word counts once: receipts keep the offset of the last one seen."""
        cell, parked = self._cells.get(release.target.encode()), self._parked.get(release.target.encode())
        if cell is not None:
            cell.release = max(cell.release, release.offset)
            self.tally.cell(cell)
            self._schedule.cell(cell, now_ms)
        elif parked is not None:
            parked.release = max(parked.release, release.offset)
            self._place_again(parked, now_ms)

    def _count(self, parked: Parked) -> None:
        state = parked.state
        self.tally.window(parked.tally, state)
        parked.tally = state

    def _compose_window(self, parked: Parked, now_ms: int) -> list[tuple[bytes, Receipt]]:
        key = parked_key(parked.key)
        if self._parked.get(key) is not parked or not parked.due:
            return []
        parked.receipt = parked.compose(now_ms)
        return [(key, parked.receipt)]

    def _compose_cell(self, cell: CellState, now_ms: int) -> list[tuple[bytes, Receipt]]:
        need = None if cell.writing else cell.needs()
        if need is None:
            return []
        if need == "intent":
            self._schedule.lanes.open(cell)
        receipt = cell.compose(now_ms)
        cell.writing = True
        # Only with a record that holds them: an answer to an older intent would end the parking of windows that no receipt knows yet.
        held = [part.window for part in receipt.windows if part.window in cell.binds]
        bound = [(parked_key(key), cell.binds.pop(key)) for key in held]
        return [(cell.key, receipt), *bound]

    def _cell_written(self, cell: CellState, receipt: CellReceipt, at_ms: int) -> None:
        cell.writing = False
        cell.receipt = receipt
        for part in receipt.windows:
            self.coverage.cover(part.window, part.revision)
        if receipt.state == "intent":
            cell.committed_at_ms = at_ms
            self._schedule.lanes.push_call(cell)
        else:
            cell.pending = cell.committed_at_ms = None
            self._schedule.lanes.close(cell)
        self.tally.cell(cell)
        self._schedule.cell(cell, at_ms)

    def _call_of(self, cell: CellState, now_ms: int) -> Call | ReadBack | None:
        """The call for an open intent; None where it must wait for a write (or has its answer)."""
        intent = cell.open_intent
        if intent is None or cell.pending is not None or cell.in_flight or cell.committed_at_ms is None:
            return None
        if is_old(intent, now_ms):
            return self._read_back_of(cell, intent, now_ms)
        if now_ms - cell.committed_at_ms > HAND_OUT_WITHIN_MS:
            cell.committed_at_ms = None
            self._schedule.cell(cell, now_ms)
            return None
        return Call(cell.key, intent, not_after_ms(intent, cell.committed_at_ms))

    def _read_back_of(self, cell: CellState, intent: CellReceipt, now_ms: int) -> ReadBack | None:
        """Once nothing of it can be under way any more."""
        at_ms = readable_at_ms(intent)
        if now_ms >= at_ms:
            return ReadBack(cell.key, cell.place.item, cell.place.timestamp_s)
        self._schedule.at(at_ms, cell)
        return None

    def _returned(self, cell: CellState, outcome: Outcome, now_ms: int) -> None:
        cell.in_flight = False
        self._schedule.lanes.call_done(cell.place.lane)
        if isinstance(outcome, TooLate):
            self.breaker.passed()
        elif isinstance(outcome, RetryAfter) and outcome.down:
            self.breaker.failed(now_ms)
        else:
            self.breaker.answered()

    def _later(self, cell: CellState, outcome: RetryAfter, now_ms: int) -> None:
        cell.tries += 1
        cell.retry_at_ms = now_ms + max(outcome.ms or 0, delay_ms(cell.tries, cell.place.name))
        self._schedule.at(cell.retry_at_ms, cell)

    def _settle(self, cell: CellState, intent: CellReceipt, outcome: Outcome, now_ms: int) -> None:
        cell.pending = cell.answered(intent, outcome, now_ms)
        # The first spent key is followed at once; a provider that fails under every key is given time.
        again = isinstance(outcome, RetryAfter) and intent.attempt > 1
        cell.retry_at_ms = now_ms + (delay_ms(intent.attempt, cell.place.name) if again else 0)
        cell.tries = 0


def _durable(cell: CellState, window: str) -> tuple[int, int]:
    """The revision of the window that the receipts hold; below every real one where they hold none."""
    parts = () if cell.receipt is None else cell.receipt.windows
    return next((part.revision for part in parts if part.window == window), (-1, -1))
