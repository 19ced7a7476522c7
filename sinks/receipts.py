"""Law 13, the delivery of one partition as a pure machine: totals, definitions and outcomes in; receipts, calls and an offset out.

The shell (sinks/stripe/agent_driver.py) does what it is told, in this order, and tells what came of it:
    next_write → written      one transaction of receipts: answers, intents, parked windows
    next_calls → answered     calls of durable intents only, each within 60 s of its intent's commit
    remedies                  calls that bill adjustments elsewhere, in the same way (sinks/remedies.py)
    committable               how far the source may be committed
A simulation drives the very same machine with a fake log, a fake Stripe and a clock that is a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from sinks.adjustments import finality_of
from sinks.calls import HAND_OUT_WITHIN_MS, Call, EventRange, ReadBack, is_old, not_after_ms, readable_at_ms
from sinks.cell_state import CellState, Priority
from sinks.confirming import Confirming
from sinks.coverage import Coverage
from sinks.finality import AFTER_FINAL, billed_nowhere
from sinks.meter_events import taken_back
from sinks.meter_readback import CONFIRM_AFTER_MS, verdicts
from sinks.outcomes import Confirmed, Delivered, Outcome, PeriodClosed, RetryAfter, TooLate
from sinks.parked import Parked
from sinks.placing import Placing
from sinks.readback import Summary, verdicts_of
from sinks.retry import delay_ms
from sinks.schedule import Schedule
from topics.adjustments import Settlement
from topics.bindings import ItemVersion, Release
from topics.clocks import ClockVersion
from topics.closed import Closed
from topics.definitions import Definition
from topics.invoices import Invoice
from topics.meter_errors import MeterError
from topics.meters import MeterVersion
from topics.receipt import CellReceipt, Receipt, WindowPart, parked_key
from topics.restating import Restatement
from topics.window_total import WindowTotal
from topics.windows import window_key

WRITE_LIMIT: Final = 100
"""Receipts in a transaction: one costs 22 ms whether it holds 1 or 100; more would make the first of them wait for the last."""
LAST: Final[Priority] = (1 << 62, 0, "")
"""Behind every cell: reading back what was accepted, and billing adjustments elsewhere."""
ACCOUNT: Final = "usage_records"
"""The mode whose limit those fall under."""
MOVING_MS: Final = 60_000
"""A doubtful event whose hour still changes is read back again after this."""


class Write(NamedTuple):
    """One transaction: (key, receipt) in order."""

    records: tuple[tuple[bytes, Receipt], ...]


class Deliveries(Placing):
    """Everything this worker knows of one partition's deliveries. No awaits, no clock: `now_ms` is an argument and never falls."""

    def __init__(self, partition: int, account: str, next_offset: int, *, confirm_after_ms: int = CONFIRM_AFTER_MS) -> None:
        super().__init__(account, Schedule(f"{account}|{partition}"))
        self.partition = partition
        self.coverage = Coverage(next_offset)
        self.breaker = self._schedule.breaker
        self._confirming = Confirming(confirm_after_ms)

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
                self._confirming.note(cell, now_ms)
                if cell.shares is not None:
                    self._ledger.note(cell)
                self.remedies.note(cell)
                self._schedule.cell(cell, now_ms)
            elif receipt.state == "parked":
                self._park(Parked.of(receipt))
        for cell in self._ledger.uneven():
            self._schedule.cell(cell, now_ms)

    def define(self, definitions: Iterable[Definition], now_ms: int) -> None:
        """Bindings give parked windows their cells; a release lets one held cell or window be tried again; invoices and settlements change what
        is sent of final cells, restatements what is believed to stand. Others say nothing here.

        All that is known is put in force before any window is placed: by half of it a window could go to an item that a later version ends.
        """
        releases, bound, settlements, invoiced, restatements = [], dict[tuple[str, str], None](), [], dict[str, None](), []
        for definition in definitions:
            if isinstance(definition, ItemVersion | MeterVersion | ClockVersion | Closed):
                self._in_force(definition)
            if isinstance(definition, ItemVersion | ClockVersion):
                self._look_again(definition.customer)
            if isinstance(definition, ItemVersion):
                bound[definition.customer, definition.meter] = None
            elif isinstance(definition, Release):
                releases.append(definition)
            elif isinstance(definition, Settlement):
                settlements.append(definition)
            elif isinstance(definition, Restatement):
                restatements.append(definition)
            elif isinstance(definition, Invoice) and self._invoices.learn(definition):
                invoiced[definition.customer] = None
            elif isinstance(definition, MeterError) and definition.said.account == self.account:
                for cell in self._confirming.refused(definition.said):
                    self._take_back(cell, now_ms)
        self._finalise({**invoiced, **dict.fromkeys(customer for customer, _ in bound)}, now_ms)
        for settlement in settlements:
            self._settled(settlement, now_ms)
        for key in bound:
            for parked in list(self._parked_of.get(key, {}).values()):
                self._place_again(parked, now_ms)
        for release in releases:
            self._release(release, now_ms)
        for restatement in restatements:
            self._restate(restatement, now_ms)

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
        if call.is_after_final and isinstance(outcome, Delivered):
            # An earlier call of the very same request would have been repeated (AlreadyDelivered): this one was executed after the invoice.
            outcome = PeriodClosed(outcome.http_status, outcome.request_id, "after_finalization", AFTER_FINAL)
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
        if call.events is not None:
            self._events_read(cell, call.events, found, now_ms)
            return
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

    def next_calls(self, now_ms: int, limit: int, rooms: Mapping[str, int] | None = None) -> list[Call | ReadBack]:
        """At most `limit` calls that may start now, and of each mode at most its `rooms`. Each must come back through `answered` or `read_back`."""
        self._schedule.fire(now_ms)
        found: list[Call | ReadBack] = []
        while len(found) < limit and self.breaker.may_call(now_ms):
            full = frozenset(mode for mode, room in (rooms or {}).items() if sum(call.mode == mode for call in found) >= room)
            cell = self._schedule.lanes.pop_call(in_turn=self.breaker.is_open, full=full)
            if cell is None:
                if (confirmation := self._confirmation(now_ms, full)) is not None:
                    found.append(confirmation)
                    continue
                break
            call = self._call_of(cell, now_ms)
            if call is None:
                self._schedule.lanes.call_done(cell.place.lane)
            else:
                cell.in_flight = True
                self.breaker.started()
                found.append(call)
        return found

    def nearest(self, now_ms: int, full: frozenset[str]) -> Priority | None:
        """How near the finality of the next call is, leaving out modes that are `full`; LAST for calls that no finality waits for, None for none."""
        self._schedule.fire(now_ms)
        if not self.breaker.may_call(now_ms):
            return None
        first = self._schedule.lanes.nearest(full)
        if first is None and ACCOUNT not in full and (self._confirming.is_due(now_ms) or self.remedies.is_due(now_ms)):
            return LAST
        return first

    def wake_at_ms(self, now_ms: int) -> int | None:
        """When there may be something to do without anything happening; None: never."""
        times = (self._schedule.wake_at_ms(now_ms), self._confirming.wake_at_ms(), self.remedies.wake_at_ms())
        return min((at_ms for at_ms in times if at_ms is not None), default=None)

    @property
    def next_offset(self) -> int:
        """Everything of `usage.windows` below is read."""
        return self.coverage.next_offset

    @property
    def committable(self) -> int:
        """The offset of `usage.windows` below which everything is in the receipts."""
        return self.coverage.committable

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _compose_window(self, parked: Parked, now_ms: int) -> list[tuple[bytes, Receipt]]:
        key = parked_key(parked.key)
        if self._parked.get(key) is not parked or not parked.due:
            return []
        parked.receipt = parked.compose(now_ms)
        return [(key, parked.receipt)]

    def _compose_cell(self, cell: CellState, now_ms: int) -> list[tuple[bytes, Receipt]]:
        self._judge(cell, now_ms)
        need = None if cell.writing else cell.needs()
        if need is None:
            return []
        counts = need == "intent" or (need == "hold" and cell.final is not None)
        if counts and cell.shares is not None and not self._ledger.begins(cell):
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
        cell.final = cell.final or finality_of(receipt)
        for part in receipt.windows:
            self.coverage.cover(part.window, part.revision)
        if receipt.state == "intent":
            cell.committed_at_ms = at_ms
            self._schedule.lanes.push_call(cell)
        else:
            cell.pending = cell.committed_at_ms = None
            self._schedule.lanes.close(cell)
        self._confirming.note(cell, at_ms)
        self._take_back(cell, at_ms)
        if cell.shares is not None:
            for other in self._ledger.note(cell):
                self._schedule.cell(other, at_ms)
        self.tally.cell(cell)
        self.remedies.note(cell, at_ms)
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
        return Call(cell.key, intent, not_after_ms(intent, cell.committed_at_ms), billed_nowhere(cell.place, cell.final))

    def _read_back_of(self, cell: CellState, intent: CellReceipt, now_ms: int) -> ReadBack | None:
        """Once nothing of it can be under way any more."""
        at_ms = readable_at_ms(intent)
        if now_ms >= at_ms:
            target = cell.place.target
            events = None if target is None else EventRange(target, *cell.place.bucket)
            return ReadBack(cell.key, cell.place.item, cell.place.timestamp_s, events)
        self._schedule.at(at_ms, cell)
        return None

    def _confirmation(self, now_ms: int, full: frozenset[str]) -> ReadBack | None:
        """The reading back of a lane whose accepted events are to be confirmed."""
        if self.breaker.is_open or ACCOUNT in full:
            return None
        while (lane := self._confirming.due(now_ms)) is not None:
            cell, call = self._confirming.range_of(lane)
            if not cell.in_flight and self._schedule.lanes.take(cell):
                cell.in_flight = True
                self.breaker.started()
                return call
            self._confirming.busy(lane, now_ms)
        return None

    def _events_read(self, asked: CellState, events: EventRange, found: list[Summary] | RetryAfter, now_ms: int) -> None:
        """What a meter's hours or days hold, or that the provider did not say."""
        lane = asked.place.lane
        if not isinstance(found, RetryAfter):
            cells = [cell for cell in self._in_lane[lane] if events.start_s <= cell.place.timestamp_s < events.end_s]
            for cell, verdict in verdicts(cells, found, now_ms):
                if isinstance(verdict, CellReceipt):
                    cell.pending = verdict
                elif (intent := cell.open_intent) is not None:
                    self._settle(cell, intent, verdict, now_ms)
                self._schedule.cell(cell, now_ms)
        self._confirming.looked(lane, now_ms)
        if asked.open_intent is not None and asked.pending is None:
            self._later(asked, found if isinstance(found, RetryAfter) else RetryAfter(ms=MOVING_MS), now_ms)

    def _take_back(self, cell: CellState, now_ms: int) -> None:
        """What the provider refused after it had accepted it: the cell is held with its words, and nothing of it counts as standing (H29)."""
        error = self._confirming.error_of(cell)
        if error is None or cell.receipt is None or cell.writing or cell.pending is not None or cell.open_intent is not None:
            return
        keys, said = error
        back = taken_back(cell.receipt, keys, now_ms, said.code, said.sentence)
        cell.pending = msgspec.structs.replace(back, state="refused")
        self._schedule.cell(cell, now_ms)

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
