"""One cell in memory: what is wanted of it, what the receipts hold, and which record comes next. Law 13 for one cell; pure.

At most one intent is open. It is driven to a definite answer before the next revision gets an intent; revisions that never had one are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from sinks.adjustments import adjusted, changes, finality_of
from sinks.cells import Place
from sinks.finality import Finality
from sinks.keys import idempotency_key, meter_identifier
from sinks.meter_events import accepted, delta_of, is_new_event, is_too_old, repeats, stands_after, too_old
from sinks.outcomes import AlreadyDelivered, Confirmed, Delivered, Outcome, RetryAfter, Unknown
from sinks.restated import found_standing, plain, sent_units
from sinks.stripe.request import METER_EVENTS_PATH, meter_event_body, usage_record_body, usage_record_path
from sinks.units import Unsendable, ledger_units, meter_units, sendable, total_of, units_of
from topics.adjustments import Settlement
from topics.receipt import CellReceipt, MeterTarget, Standing, WindowPart, WindowReceipt, cell_key
from topics.receipt import CellState as State
from topics.restating import RestateRecord

Priority = tuple[int, int, str]
LaneKey = tuple[str, str, str]
Need = Literal["answer", "assert", "intent", "hold"]

MOST_ATTEMPTS: Final = 50
"""Saved failures of one revision before a person is asked: with waits of up to a minute that is most of an hour of nothing but 500."""
_HELD: Final = ("refused", "unknown")
_ACCEPTED: Final = ("delivered", "confirmed")


class CellState:
    """One cell. `wanted` is the newest total of each of its windows; `receipt` is the newest durable record."""

    __slots__ = (
        "binds", "closed_at_ms", "committed_at_ms", "final", "in_flight", "is_open", "is_unbilled", "key", "pending", "place", "receipt", "release",
        "remedied", "restated", "retry_at_ms", "settlements", "shares", "tally", "tries", "waits_for_call", "waits_for_intent", "waits_for_write",
        "wanted", "writing",
    )  # fmt: skip

    def __init__(self, place: Place) -> None:
        self.place = place
        self.key = cell_key(place.provider, place.account, place.name)
        self.wanted: dict[str, WindowPart] = {}
        self.receipt: CellReceipt | None = None
        self.pending: CellReceipt | None = None
        """The answer that is to be written next."""
        self.remedied: Callable[[CellReceipt], CellReceipt] | None = None
        """What came of billing its adjustment elsewhere: how the newest record is to change next (sinks/remedies.py)."""
        self.binds: dict[str, WindowReceipt] = {}
        """Windows that were parked whole and end as such with the cell's next record."""
        self.closed_at_ms: int | None = None
        self.committed_at_ms: int | None = None
        """When this process last committed the open intent; None: assert it again before any call."""
        self.retry_at_ms = 0
        self.tries = 0
        self.release = -1
        self.final: Finality | None = None
        """Why it takes no more (law 16); it never ends."""
        self.settlements: list[Settlement] = []
        """What operators settled, in the order of their offsets; the receipts say how far it is in them."""
        self.restated: RestateRecord | None = None
        """What an operator found the provider to hold; the next record begins from it (sinks/restated.py)."""
        self.is_unbilled = False
        """True where what stands is on no invoice, and never will be (sinks/unbilled.py): the next record says that nothing does."""
        self.in_flight = self.is_open = self.writing = False
        self.waits_for_call = self.waits_for_intent = self.waits_for_write = False
        self.shares: Callable[[CellState], tuple[int, int]] | None = None
        """What stands in the other cells of its period, where parts of a unit are kept in a ledger (sinks/ledger.py)."""
        self.tally: dict[str, int] = {}
        """How this cell's windows are counted now (sinks/tally.py)."""

    @property
    def priority(self) -> Priority:
        """Nearest finality first."""
        return (self.place.period_end_s, self.place.timestamp_s, self.place.name)

    @property
    def open_intent(self) -> CellReceipt | None:
        """The durable intent without an answer."""
        return self.receipt if self.receipt is not None and self.receipt.state == "intent" else None

    @property
    def dirty(self) -> bool:
        """True where a window's newest total is not in the newest record."""
        held = {} if self.receipt is None else {part.window: part.revision for part in self.receipt.windows}
        return any(held.get(key) != part.revision for key, part in self.wanted.items())

    @property
    def released(self) -> bool:
        """True where an operator let the held cell be tried again."""
        return self.receipt is not None and self.release > self.receipt.released

    @classmethod
    def of(cls, receipt: CellReceipt) -> CellState:
        """The cell of a recovered record."""
        cell = cls(
            Place(
                receipt.provider, receipt.account, receipt.cell, receipt.customer, receipt.meter, receipt.item, receipt.subscription,
                receipt.timestamp_s, receipt.period_start_s, receipt.period_end_s, receipt.scale, receipt.meter_target, receipt.fractions,
                receipt.late, receipt.clock, receipt.price,
            )
        )  # fmt: skip
        cell.restore(receipt)
        return cell

    def restore(self, receipt: CellReceipt) -> None:
        """Take the last durable record: everything else follows from it. An open intent must be asserted again before a call."""
        self.receipt = receipt
        self.wanted = {part.window: part for part in receipt.windows}
        self.closed_at_ms, self.release = receipt.closed_at_ms, receipt.released
        self.final = finality_of(receipt)

    def needs(self) -> Need | None:
        """Which record comes next; None where none does (all is delivered, or the open intent's call is on its way)."""
        if self.pending is not None or self.remedied is not None:
            return "answer"
        if self.receipt is not None and self.receipt.state == "intent":
            return "assert" if self.committed_at_ms is None else None
        if not self._due():
            return None
        if self._is_held:
            return "hold"
        if self._repeats:
            return "intent"
        if self.final is not None:
            return "hold"
        if self.shares is not None:
            return "intent"  # what it is will be known when it has its turn
        value = self._value(self._units())
        return "hold" if isinstance(value, Unsendable) or (self.place.adds_up and value == "0") else "intent"

    @property
    def _is_held(self) -> bool:
        """True where nothing is sent before a release. What was refused and is final waits for nobody: it is an adjustment."""
        last = self.receipt
        if last is None or self.restated is not None:
            return False
        return last.state in _HELD and not self.released and (self.final is None or last.state == "unknown")

    @property
    def _repeats(self) -> bool:
        """True where the next request must be the last one again: also a final cell's, until it is refused."""
        last = self.receipt
        return last is not None and self.restated is None and repeats(last) and (self.final is None or last.state not in {"refused", "adjustment"})

    def _due(self) -> bool:
        """A receipt is due: first one, newer total, spent key, release; where a meter adds up also any difference to what stands."""
        if self.restated is not None or (self.receipt is not None and self.receipt.state == "failed"):
            return True
        if self.receipt is None:
            return bool(self.wanted)
        if self.final is not None and (self.receipt.state == "refused" or (self.is_unbilled and self.receipt.standing is not None)):
            return True
        if self.receipt.state == "adjustment" and changes(self.receipt.adjustment, self.final, self.settlements):
            return True
        if (self.place.adds_up or self.shares) and self.receipt.state in _ACCEPTED and self._differs():
            return True
        if self.shares is not None and self.receipt.state == "adjustment" and self._units() != self.receipt.units:
            return True
        return self.dirty or (self.receipt.state in {*_HELD, "parked"} and self.released)

    def _differs(self) -> bool:
        """True where other units are wanted than stand."""
        units, receipt = self._units(), self.receipt
        return not isinstance(units, Unsendable) and receipt is not None and delta_of(units, receipt.standing) != "0"

    def _units(self) -> str | Unsendable:
        quantity = total_of(part.quantity for part in self.wanted.values())
        if self.shares is not None:
            return ledger_units(quantity, self.place.scale, self.shares(self), signed=self.place.target is not None)
        if self.place.target is not None:
            return meter_units(quantity, self.place.scale, self.place.fractions)
        units = units_of(quantity, self.place.scale)
        return units if isinstance(units, Unsendable) else str(units)

    def _value(self, units: str | Unsendable) -> str | Unsendable:
        """What a request says: the units, or where a meter adds up their difference to what stands."""
        if isinstance(units, Unsendable):
            return units
        if self.place.target is None:
            said = self.restated or self.receipt
            return sent_units(units, "0" if said is None else said.beside)
        return sendable(delta_of(units, self._stands(0))) if self.place.adds_up else units

    def _stands(self, now_ms: int) -> Standing | None:
        """What is known to stand: what an operator found, or what the newest record says."""
        if self.restated is not None:
            return found_standing(self.restated, self.receipt, now_ms)
        return None if self.receipt is None or self.is_unbilled else self.receipt.standing

    def compose(self, now_ms: int) -> CellReceipt:
        """The record for `needs()`. Only asked where there is a need."""
        if self.pending is not None:
            return self.pending
        if self.receipt is not None and self.remedied is not None:
            change, self.remedied = self.remedied, None
            return change(self.receipt)
        if self.receipt is not None and self.receipt.state == "intent":
            return self.receipt
        if self.receipt is not None and self._is_held:
            return self._held(self.receipt)
        return self._fresh(now_ms)

    def _fresh(self, now_ms: int) -> CellReceipt:
        """The next intent, or the parked record of a total that cannot be sent."""
        place, last = self.place, self.receipt
        if last is not None and self._repeats:
            return self._again(last)
        parts = tuple(self.wanted[key] for key in sorted(self.wanted))
        quantity = total_of(part.quantity for part in parts)
        units = self._units()
        found, value, stands = self.restated, self._value(units), self._stands(now_ms)
        self.restated = None
        again = last is not None and found is None and not self.dirty and last.state not in _ACCEPTED and not is_new_event(last)
        revision = 1 if last is None else last.revision + (0 if again else 1)
        attempt = last.attempt + 1 if last is not None and again else 1
        receipt = CellReceipt(
            provider=place.provider,
            account=place.account,
            cell=place.name,
            customer=place.customer,
            meter=place.meter,
            item=place.item,
            subscription=place.subscription,
            timestamp_s=place.timestamp_s,
            period_start_s=place.period_start_s,
            period_end_s=place.period_end_s,
            scale=place.scale,
            windows=parts,
            revision=revision,
            attempt=attempt,
            quantity=quantity,
            units="",
            state="parked",
            intent_at_ms=now_ms,
            closed_at_ms=self.closed_at_ms,
            released=self.release,
            standing=stands,
            maybe=() if last is None or found is not None else last.maybe,
            meter_target=place.target,
            fractions=place.fractions,
            unconfirmed=() if last is None or found is not None else last.unconfirmed,
            lost=0 if last is None or found is not None else last.lost,
            late=place.late,
            clock=place.clock,
            price=place.price,
            adjustment=None if last is None else last.adjustment,
            beside=plain(found.beside) if found is not None else "0" if last is None else last.beside,
        )
        if isinstance(units, Unsendable):
            return msgspec.structs.replace(receipt, reason=units.reason, sentence=units.sentence)
        if self.final is not None:
            return adjusted(msgspec.structs.replace(receipt, units=units), last, self.final, self.settlements, now_ms)
        if isinstance(value, Unsendable):
            return msgspec.structs.replace(receipt, reason=value.reason, sentence=value.sentence)
        if place.target is not None:
            return self._event(msgspec.structs.replace(receipt, units=units), place.target, value, now_ms)
        return msgspec.structs.replace(
            receipt,
            state="intent",
            units=units,
            idempotency_key=idempotency_key(place.provider, place.account, place.name, revision, units, attempt),
            path=usage_record_path(place.item),
            body=usage_record_body(int(value), place.timestamp_s),
        )

    def _event(self, receipt: CellReceipt, target: MeterTarget, value: str, now_ms: int) -> CellReceipt:
        """The intent of a meter event; or the record that says why none is needed, or none can be sent any more."""
        place, units = self.place, receipt.units
        if place.adds_up and value == "0":
            standing = Standing(
                revision=receipt.revision, attempt=receipt.attempt, units=units, quantity=receipt.quantity, at_ms=now_ms
            )
            return msgspec.structs.replace(
                receipt, state="delivered", outcome="delivered", reason="no_change", standing=standing, reported_at_ms=now_ms
            )
        # A customer on a test clock lives at another time: there only the provider can say what is too old.
        if not place.clock and is_too_old(place.timestamp_s, now_ms):
            return too_old(receipt, now_ms)
        identifier = meter_identifier(place.provider, place.account, place.name, receipt.revision, units)
        return msgspec.structs.replace(
            receipt,
            state="intent",
            identifier=identifier,
            idempotency_key=idempotency_key(place.provider, place.account, place.name, receipt.revision, units, receipt.attempt),
            path=METER_EVENTS_PATH,
            body=meter_event_body(target, value, identifier, place.timestamp_s),
        )

    def _again(self, last: CellReceipt) -> CellReceipt:
        """The same meter event under the next key: it may stand, and only its identifier says so. Its age is counted from its first intent."""
        attempt = last.attempt + 1
        return msgspec.structs.replace(
            last,
            state="intent",
            attempt=attempt,
            idempotency_key=idempotency_key(last.provider, last.account, last.cell, last.revision, last.units, attempt),
            reported_at_ms=None,
            outcome="",
            http_status=None,
            request_id="",
            reason="",
            sentence="",
            released=self.release,
        )

    def _held(self, last: CellReceipt) -> CellReceipt:
        """A newer total of a held cell: shown with its amount, sent to nobody (no key, no request).

        Where a meter adds up, an event that may stand stays what it is: it is settled before the newer total is.
        """
        parts = tuple(self.wanted[key] for key in sorted(self.wanted))
        units = self._units()
        if repeats(last):
            quantity = total_of(part.quantity for part in parts)
            return msgspec.structs.replace(
                last, windows=parts, quantity=quantity, attempt=last.attempt + 1, closed_at_ms=self.closed_at_ms, released=self.release
            )
        return msgspec.structs.replace(
            last,
            windows=parts,
            revision=last.revision + 1,
            attempt=1,
            quantity=total_of(part.quantity for part in parts),
            units="" if isinstance(units, Unsendable) else units,
            idempotency_key="",
            identifier="",
            path="",
            body="",
            closed_at_ms=self.closed_at_ms,
            released=self.release,
        )

    def answered(self, intent: CellReceipt, outcome: Outcome, now_ms: int) -> CellReceipt:
        """The open `intent` with its definite answer."""
        standing, maybe, unconfirmed = intent.standing, intent.maybe, intent.unconfirmed
        if isinstance(outcome, Delivered | AlreadyDelivered | Confirmed):
            maybe = ()
            standing = Standing(
                revision=intent.revision, attempt=intent.attempt, units=stands_after(intent), quantity=intent.quantity, at_ms=now_ms
            )
            unconfirmed = () if isinstance(outcome, Confirmed) else accepted(intent, self.place.adds_up, now_ms)
        elif self.place.target is not None and outcome.reason == "not_landed":
            maybe = tuple(units for units in maybe if units != intent.units)
        elif outcome.may_stand and intent.units not in maybe:
            maybe = (*maybe, intent.units)
        return msgspec.structs.replace(
            intent,
            state=_state_after(outcome, intent.attempt),
            reported_at_ms=now_ms,
            outcome=outcome.name,
            http_status=outcome.http_status,
            request_id=outcome.request_id,
            reason=outcome.reason,
            sentence=outcome.sentence,
            released=self.release,
            standing=standing,
            maybe=maybe,
            unconfirmed=unconfirmed,
        )


def _state_after(outcome: Outcome, attempt: int) -> State:
    """Where an answer leads. A spent key ends in `failed`, and too many of them in `refused`."""
    if isinstance(outcome, Delivered | AlreadyDelivered):
        return "delivered"
    if isinstance(outcome, Confirmed):
        return "confirmed"
    if isinstance(outcome, Unknown):
        return "unknown"
    return "failed" if isinstance(outcome, RetryAfter) and attempt < MOST_ATTEMPTS else "refused"
