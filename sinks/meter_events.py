"""A meter event's life beside its receipt: what it changes, when it is the same event again, when it is too old, what it leaves behind. Pure.

Stripe keeps an event's identifier for at least 24 hours and refuses a second one ("An event already exists with identifier", langfuse#16292); it
takes timestamps of the last 35 days. A 200 says that the event was received; whether it counts is read back, or reported as an error later.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sinks.stripe.request import body_parameters
from sinks.units import minus, plus
from topics.receipt import CellReceipt, Sent, Standing

MOST_AGE_S: Final = 35 * 86_400 - 600
"""Stripe takes timestamps of the last 35 days; ten minutes are kept for clocks that differ and a call that waits for its turn."""
MOST_UNCONFIRMED: Final = 64
"""Accepted events of one cell that are remembered: with corrections merged for minutes they span hours; what is older counts as confirmed."""
MOST_LOST: Final = 2
"""An event that was accepted and is not there is sent once more; twice in a row is no accident (an unknown customer, say), and a person is asked."""


def delta_of(units: str, standing: Standing | None) -> str:
    """By how much an event has to change what stands."""
    return minus(units, "0" if standing is None else standing.units)


def value_sent(intent: CellReceipt) -> str:
    """The value that the request of an intent says: the total, or where a meter adds up the difference."""
    said = body_parameters(intent.body)
    return "0" if intent.meter_target is None else said[f"payload[{intent.meter_target.value_key}]"]


def stands_after(intent: CellReceipt) -> str:
    """What stands once the event of an intent counts, as a decimal string."""
    if intent.meter_target is None or intent.meter_target.aggregation != "sum":
        return intent.units
    return plus("0" if intent.standing is None else intent.standing.units, value_sent(intent))


def repeats(last: CellReceipt) -> bool:
    """True where the next request must be the very same event: a sum took it, or did not, and whatever else is sent would count beside it."""
    return last.meter_target is not None and last.meter_target.aggregation == "sum" and bool(last.maybe)


def is_new_event(last: CellReceipt) -> bool:
    """True where the last event is known not to count, but its identifier may be taken: the next one needs another."""
    return last.meter_target is not None and (last.reason == "not_landed" or last.outcome == "not_held")


def is_too_old(timestamp_s: int, now_ms: int) -> bool:
    """True where Stripe takes no event with this timestamp any more."""
    return now_ms // 1000 - timestamp_s > MOST_AGE_S


def too_old(receipt: CellReceipt, now_ms: int) -> CellReceipt:
    """The record of a total that came after its time: nobody is called, what is missing becomes an adjustment."""
    sentence = "its timestamp is more than 35 days old, and Stripe takes no such meter event"
    return msgspec.structs.replace(
        receipt, state="refused", outcome="period_closed", reason="too_old", sentence=sentence, reported_at_ms=now_ms
    )


def accepted(intent: CellReceipt, adds_up: bool, now_ms: int) -> tuple[Sent, ...]:
    """The accepted and unconfirmed events after this one: all of a sum, the newest where it replaces the others."""
    if intent.meter_target is None:
        return ()
    before = intent.standing
    sent = Sent(
        idempotency_key=intent.idempotency_key,
        units=delta_of(stands_after(intent), before),
        quantity=minus(intent.quantity, "0" if before is None else before.quantity),
        at_ms=now_ms,
    )
    return (*intent.unconfirmed, sent)[-MOST_UNCONFIRMED:] if adds_up else (sent,)


def taken_back(receipt: CellReceipt, keys: frozenset[str], now_ms: int, reason: str, sentence: str) -> CellReceipt:
    """The record that says that these accepted events do not count; what stands is what stood without them."""
    gone = [sent for sent in receipt.unconfirmed if sent.idempotency_key in keys]
    standing = receipt.standing
    for sent in gone:
        if standing is not None:
            units, quantity = minus(standing.units, sent.units), minus(standing.quantity, sent.quantity)
            standing = msgspec.structs.replace(standing, units=units, quantity=quantity, at_ms=now_ms)
    left = tuple(sent for sent in receipt.unconfirmed if sent.idempotency_key not in keys)
    corrected = msgspec.structs.replace(receipt, standing=standing, unconfirmed=left, lost=receipt.lost + 1)
    if receipt.state not in {"delivered", "confirmed", "failed"}:
        return corrected  # a later total is held for another reason, which stays
    return msgspec.structs.replace(
        corrected,
        state="failed" if corrected.lost < MOST_LOST else "refused",
        outcome="not_held",
        reason=reason,
        sentence=sentence,
        reported_at_ms=now_ms,
    )


def confirmed(receipt: CellReceipt, now_ms: int) -> CellReceipt:
    """The record that says that what was accepted counts; an attempt that failed since then, or a total that is held, stays what it is."""
    if receipt.state != "delivered":
        return msgspec.structs.replace(receipt, unconfirmed=(), lost=0)
    sentence = "read back: the meter holds these units"
    return msgspec.structs.replace(
        receipt, state="confirmed", outcome="confirmed", reason="", sentence=sentence, reported_at_ms=now_ms, unconfirmed=(), lost=0
    )
