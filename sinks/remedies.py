"""Law 16, billing an adjustment elsewhere: the second, small delivery lane of a partition, driven by the receipts alone. Pure.

    plan     what the open units cost is asked of the provider; the intent (exact bytes, key) is written into the cell's receipt
    send     within 60 s of the intent's commit, or it is written again as it is first (law 13)
    confirm  an answer that repeats what was asked; without one for 23 h, or where its key is spent, it is looked for by its mark
    settle   the units are settled in the receipt, with the name of what bills them

A crash between two of these leaves the receipt: the successor does the next one. The same key never names two requests, and what may have been made
is looked for before anything else is sent, so an adjustment's units are billed once whoever dies when.

One remedy of an item's period is under way at a time: what the next units cost depends on what is billed before them (tiers, packages, cents).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from fractions import Fraction
from heapq import heappop, heappush
from itertools import count
from typing import Final

import msgspec

from sinks.adjustments import changes, is_being_billed, remedied, with_remedy
from sinks.calls import CALL_WITHIN_MS, HAND_OUT_WITHIN_MS, QUIET_MS, UNKNOWN_AFTER_MS
from sinks.carrying import Carry, NotYet, TakeBack
from sinks.cell_state import CellState, LaneKey
from sinks.outcomes import AlreadyDelivered, Delivered, Outcome, PeriodClosed, Refused, RetryAfter, TooLate
from sinks.remedy_calls import Bill, LookUp, Quote, Quoted, RemedyCall
from sinks.retry import delay_ms
from sinks.schedule import Schedule
from sinks.stripe.adjusting import Line, billed_by_line, line_of
from sinks.stripe.costs import money, more
from sinks.stripe.remedy_request import carry, next_attempt, remedy_of
from topics.adjustments import Adjustment, Remedy
from topics.instants import format_s
from topics.receipt import CellReceipt

BILLED: Final = frozenset({"invoice_item", "credit_note", "next_period"})
"""Policies that this lane carries out."""
LOOK_MS: Final = 60_000
"""A customer on a test clock is looked at again after this: nobody knows when its time moves."""
AGAIN_MS: Final = 5_000
"""An item's period in which a report is still open is looked at again after this."""
WORD: Final = {"invoice_item": "invoice item", "credit_note": "credit note"}
Carrying = Callable[[CellReceipt, int, Container[int]], Carry | TakeBack | NotYet | None]
"""Where a receipt's open units go at a moment (`sinks/carrying.py`), or are taken back, given the seconds of its item that are used."""


class Remedies:
    """The adjustments of one partition that are billed elsewhere."""

    def __init__(self, schedule: Schedule, cells_in: Callable[[LaneKey], Iterable[CellState]], carrying: Carrying) -> None:
        self._schedule = schedule
        self._cells_in = cells_in
        self._carrying = carrying
        self._used: dict[str, set[int]] = {}
        self._cells: dict[bytes, CellState] = {}
        self._queue: dict[bytes, None] = {}
        """In the order in which they came, each once: while the provider is away nothing is taken from it."""
        self._timers: list[tuple[int, int, bytes]] = []
        self._ordinal = count()
        self._doing: dict[Line, bytes] = {}
        self._waiting: dict[Line, dict[bytes, None]] = {}
        self._out: set[bytes] = set()
        self._quoted: dict[bytes, Quoted] = {}
        self._committed: dict[bytes, int] = {}
        self._doubts: dict[bytes, int] = {}
        self._tries: dict[bytes, int] = {}
        self._retry_at_ms: dict[bytes, int] = {}

    # ── what happened ────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, cell: CellState, written_at_ms: int | None = None) -> None:
        """The cell has a new durable record; `written_at_ms` None: it was recovered, so what it intends is written again before a call."""
        receipt = cell.receipt
        if receipt is None or receipt.adjustment is None or receipt.adjustment.policy not in BILLED:
            return
        self._cells[cell.key] = cell
        self._use(receipt.item, receipt.adjustment)
        if is_being_billed(receipt.adjustment):
            self._doing[line_of(receipt)] = cell.key
            if written_at_ms is not None:
                self._committed[cell.key] = written_at_ms
        else:
            for known in (self._committed, self._doubts):
                known.pop(cell.key, None)
            self._free(line_of(receipt), cell.key)
        self.look(cell)

    def holds_second(self, item: str, second: int) -> bool:
        """True where units of an adjustment stand (or may) at that second of the item: no window may be reported there."""
        return second in self._used.get(item, ())

    def look_at(self, cells: Iterable[CellState]) -> None:
        """As `look`, for all of a customer's cells: none of them has an adjustment that is billed elsewhere where nobody has."""
        for cell in cells if self._cells else ():
            self.look(cell)

    def look(self, cell: CellState) -> None:
        """There may be something to do about the cell's adjustment."""
        if cell.key in self._cells:
            self._queue[cell.key] = None

    def quoted(self, call: Quote, answer: Quoted | Refused | RetryAfter, now_ms: int) -> None:
        """What the provider says that units cost, or that it cannot say."""
        cell = self._returned(call, answer if isinstance(answer, Outcome) else Delivered(), now_ms)
        if isinstance(answer, RetryAfter):
            self._later(cell, answer, now_ms)
        elif isinstance(answer, Quoted):
            self._quoted[cell.key] = answer
        elif cell.receipt is not None and cell.receipt.adjustment is not None:
            self._refuse(cell, _unpriced(cell.receipt.adjustment, now_ms), answer)
        self.look(cell)

    def billed(self, call: Bill, outcome: Outcome, now_ms: int) -> None:
        """What came of posting a remedy."""
        cell, remedy = self._returned(call, outcome, now_ms), call.remedy
        if isinstance(outcome, TooLate):
            self._committed.pop(cell.key, None)
        elif isinstance(outcome, RetryAfter) and outcome.spent:
            self._doubts[cell.key] = now_ms + QUIET_MS
        elif isinstance(outcome, RetryAfter):
            self._later(cell, outcome, now_ms)
        elif isinstance(outcome, Delivered | AlreadyDelivered):
            self._settle(cell, remedy, outcome.made, now_ms)
        elif isinstance(outcome, PeriodClosed) and not remedy.may_stand:
            # Nothing was taken: under this key an earlier request that had been would have answered again. The next period takes it.
            self._later(cell, RetryAfter(), now_ms)
            self._change(cell, lambda receipt: with_remedy(receipt, None))
        else:
            self._refuse(cell, remedy, outcome)
        self.look(cell)

    def looked_up(self, call: LookUp, found: str | RetryAfter, now_ms: int) -> None:
        """The name of what the remedy had made; empty: nothing."""
        cell, remedy = self._returned(call, found if isinstance(found, RetryAfter) else Delivered(), now_ms), call.remedy
        if isinstance(found, RetryAfter):
            self._later(cell, found, now_ms)
        elif found:
            self._settle(cell, remedy, found, now_ms)
        elif remedy.refused:
            self._change(cell, lambda receipt: with_remedy(receipt, msgspec.structs.replace(remedy, may_stand=False)))
        else:
            self._doubts.pop(cell.key, None)
            self._change(cell, lambda receipt: with_remedy(receipt, next_attempt(receipt, remedy, now_ms)))
        self.look(cell)

    # ── what to do next ──────────────────────────────────────────────────────────────────────────────────────────────

    def next_calls(self, now_ms: int, limit: int) -> list[RemedyCall]:
        """At most `limit` calls that may start now; each must come back through `quoted`, `billed` or `looked_up`."""
        while self._timers and self._timers[0][0] <= now_ms:
            self._queue[heappop(self._timers)[2]] = None
        found: list[RemedyCall] = []
        while self._queue and len(found) < limit and self._schedule.breaker.may_call(now_ms):
            key = next(iter(self._queue))
            del self._queue[key]
            cell = self._cells[key]
            call = self._next(cell, now_ms)
            if call is not None:
                self._out.add(cell.key)
                self._schedule.breaker.started()
                found.append(call)
        return found

    def is_due(self, now_ms: int) -> bool:
        """True where `next_calls` has something to look at."""
        return bool(self._queue) or (bool(self._timers) and self._timers[0][0] <= now_ms)

    def wake_at_ms(self) -> int | None:
        """When there may be something to do without anything happening; None: never."""
        return self._timers[0][0] if self._timers else None

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _next(self, cell: CellState, now_ms: int) -> RemedyCall | None:
        """The cell's next call; None where it waits, or where a record is to be written first. It is looked at again when that is done."""
        receipt = cell.receipt
        if receipt is None or receipt.adjustment is None:
            return None
        if cell.writing or cell.pending is not None or cell.remedied is not None or cell.key in self._out:
            return None
        retry_at_ms = self._retry_at_ms.get(cell.key, 0)
        if now_ms < retry_at_ms:
            self._at(retry_at_ms, cell)
            return None
        remedy = receipt.adjustment.remedy
        if remedy is None or (remedy.refused and not remedy.may_stand):
            return self._plan(cell, receipt, receipt.adjustment, now_ms)
        if remedy.refused and remedy.kind == "usage_record":
            return self._plan(cell, receipt, receipt.adjustment, now_ms)  # whether it is there, whoever releases it has seen
        if remedy.refused:
            return LookUp(cell.key, receipt, remedy) if cell.release > remedy.released else None
        return self._drive(cell, receipt, remedy, now_ms)

    def _plan(self, cell: CellState, receipt: CellReceipt, said: Adjustment, now_ms: int) -> RemedyCall | None:
        """Begin to bill the open units, when it is the cell's turn in its line."""
        line = line_of(receipt)
        if not _may_begin(cell, receipt, said):
            self._free(line, cell.key)
            return None
        if self._doing.setdefault(line, cell.key) != cell.key:
            self._quoted.pop(cell.key, None)  # what a credit note can give back may be less after the other one
            self._waiting.setdefault(line, {})[cell.key] = None
            return None
        if said.policy == "next_period" and receipt.meter_target is None and said.units.removeprefix("-").isdigit():
            where = self._carrying(receipt, now_ms, self._taken(cell))
            if where is not None:
                self._carry(cell, receipt, said, where, now_ms)
                return None
        return self._priced(cell, receipt, said, now_ms)

    def _carry(self, cell: CellState, receipt: CellReceipt, said: Adjustment, where: Carry | TakeBack | NotYet, now_ms: int) -> None:
        """Write the intent that reports the open units in a later period, or takes some back there, or wait for one. It needs no price."""
        if not isinstance(where, NotYet):
            units = int(said.units) if isinstance(where, Carry) else -where.units
            remedy = carry(receipt, where.second, where.period_start_s, units, now_ms)
            self._change(cell, lambda now: with_remedy(now, remedy))
        else:
            self._free(line_of(receipt), cell.key)
            self._at(now_ms + LOOK_MS if cell.place.clock else max(now_ms + AGAIN_MS, where.at_s * 1000), cell)

    def _priced(self, cell: CellState, receipt: CellReceipt, said: Adjustment, now_ms: int) -> RemedyCall | None:
        """Ask what the open units cost, then write the intent that bills them by an invoice item or a credit note."""
        line = line_of(receipt)
        together = [one.receipt for one in self._cells_in(cell.place.lane) if one.receipt is not None]
        if any(one.state == "intent" and line_of(one) == line for one in together):
            self._at(now_ms + AGAIN_MS, cell)
            return None
        quoted = self._quoted.pop(cell.key, None)
        if quoted is None:
            payer = "" if receipt.meter_target is None else receipt.meter_target.customer
            invoice = said.invoice if _wants_credit(said) else ""
            return Quote(cell.key, receipt.item, receipt.price, receipt.subscription, payer, invoice, receipt.timestamp_s)
        amount = more(quoted.price, billed_by_line(together)[line], Fraction(said.units))
        if amount is None:
            self._refuse(cell, _unpriced(said, now_ms), Refused(sentence=f"price {quoted.price.id} shows no amounts"))
            return None
        remedy = remedy_of(receipt, quoted, amount, now_ms)
        if amount == 0:
            nothing = f"nothing to bill: {said.units} units more come to {money(Fraction(0), remedy.currency)}"
            self._change(cell, lambda now: remedied(now, remedy, nothing, now_ms))
        else:
            self._change(cell, lambda now: with_remedy(now, remedy))
        return None

    def _drive(self, cell: CellState, receipt: CellReceipt, remedy: Remedy, now_ms: int) -> RemedyCall | None:
        """A durable intent's call; where its key says nothing any more, a look whether it had landed."""
        over_ms = remedy.intent_at_ms + UNKNOWN_AFTER_MS
        look_at_ms = self._doubts.get(cell.key, over_ms + QUIET_MS if now_ms >= over_ms else None)
        if look_at_ms is not None:
            if now_ms < look_at_ms:
                self._at(look_at_ms, cell)
                return None
            if remedy.kind != "usage_record":
                return LookUp(cell.key, receipt, remedy)
            # Set once more at a second that is its own, it is the same: nothing of it is under way any more that could land later.
            self._doubts.pop(cell.key, None)
            again = msgspec.structs.replace(next_attempt(receipt, remedy, now_ms), may_stand=True)
            self._change(cell, lambda now: with_remedy(now, again))
            return None
        committed_ms = self._committed.get(cell.key)
        if committed_ms is None or now_ms - committed_ms > HAND_OUT_WITHIN_MS:
            self._change(cell, lambda now: now)
            return None
        return Bill(cell.key, receipt, remedy, min(committed_ms + CALL_WITHIN_MS, over_ms))

    def _settle(self, cell: CellState, remedy: Remedy, made: str, now_ms: int) -> None:
        self._tries.pop(cell.key, None)
        self._retry_at_ms.pop(cell.key, None)
        if remedy.kind == "usage_record":
            how = f"usage record of {remedy.units} at {format_s(remedy.second)}, in the period from {format_s(remedy.period_start_s)}"
        else:
            how = f"{WORD[remedy.kind]} {made}, {money(Fraction(remedy.amount), remedy.currency)}"
        self._change(cell, lambda receipt: remedied(receipt, remedy, how, now_ms))

    def _refuse(self, cell: CellState, remedy: Remedy, outcome: Outcome) -> None:
        """Held with the provider's words until a release, or until an operator settles it."""
        words = outcome.sentence or outcome.reason or outcome.name
        refused = msgspec.structs.replace(remedy, refused=words, released=cell.release, may_stand=outcome.may_stand or remedy.may_stand)
        self._change(cell, lambda receipt: with_remedy(receipt, refused))

    def _change(self, cell: CellState, change: Callable[[CellReceipt], CellReceipt]) -> None:
        """The cell's next record is its newest one, so changed."""
        cell.remedied = change
        self._schedule.record(cell)

    def _returned(self, call: RemedyCall, outcome: Outcome, now_ms: int) -> CellState:
        self._out.discard(call.key)
        breaker = self._schedule.breaker
        if isinstance(outcome, TooLate):
            breaker.passed()
        elif isinstance(outcome, RetryAfter) and outcome.down:
            breaker.failed(now_ms)
        else:
            breaker.answered()
        return self._cells[call.key]

    def _later(self, cell: CellState, outcome: RetryAfter, now_ms: int) -> None:
        tries = self._tries[cell.key] = self._tries.get(cell.key, 0) + 1
        self._retry_at_ms[cell.key] = now_ms + max(outcome.ms or 0, delay_ms(tries, cell.place.name))

    def _use(self, item: str, said: Adjustment) -> None:
        """Seconds of the item that are this adjustment's for ever, whatever became of their requests."""
        seconds = [part.second for part in said.carried]
        if said.remedy is not None and said.remedy.kind == "usage_record":
            seconds.append(said.remedy.second)
        if seconds:
            self._used.setdefault(item, set()).update(seconds)

    def _taken(self, cell: CellState) -> set[int]:
        """Seconds of the cell's item at which something is reported, or may have been."""
        return {one.place.timestamp_s for one in self._cells_in(cell.place.lane)} | self._used.get(cell.place.item, set())

    def _at(self, at_ms: int, cell: CellState) -> None:
        heappush(self._timers, (at_ms, next(self._ordinal), cell.key))

    def _free(self, line: Line, key: bytes) -> None:
        """The cell's turn in its line is over: the first of the others that still wants to may plan."""
        if self._doing.get(line) == key:
            del self._doing[line]
            self._quoted.pop(key, None)
            self._queue.update(self._waiting.pop(line, {}))


def _may_begin(cell: CellState, receipt: CellReceipt, said: Adjustment) -> bool:
    """True where all open units may be billed now: nothing is in doubt, nothing newer is about to be written, nobody has said no to it.

    What an operator has settled, or found to stand, is written first: once a bill is under way it would count for nothing, and the units be dealt
    with twice.
    """
    news = cell.dirty or cell.restated is not None or changes(said, cell.final, cell.settlements)
    if receipt.state != "adjustment" or not said.is_open or receipt.maybe or news:
        return False
    if said.remedy is not None and cell.release <= said.remedy.released:
        return False
    return bool(said.invoice) or not _wants_credit(said)


def _wants_credit(said: Adjustment) -> bool:
    """True where a credit note is to be made: it needs the final invoice, and gives back, so more usage goes to an invoice item."""
    return said.policy == "credit_note" and said.units.startswith("-")


def _unpriced(said: Adjustment, now_ms: int) -> Remedy:
    """The remedy of units that nobody can say the price of: it is held without a request."""
    return Remedy(kind="invoice_item", number=said.remedies + 1, units=said.units, intent_at_ms=now_ms)
