"""Law 16, adjustments: the record of a final cell whose total is another one than what stands. Nobody is called for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sinks.finality import Finality
from sinks.units import minus, plus
from topics.adjustments import Adjustment, Carried, Remedy, Settlement, adjustment_id
from topics.receipt import CellReceipt, Standing

SENTENCES = {
    "late_event": "its billing period had ended when this total came, and the provider takes none of it any more",
    "period_closed": "its billing period has ended, and the provider takes none of it any more",
    "age_limit": "the provider takes nothing that old",
    "after_finalization": "its invoice is final: what is reported now would be billed nowhere",
    "plan_changed": "the customer's plan has changed since then: what is reported now of the time before would be billed nowhere",
}

_TOO_OLD = {"too_old", "timestamp_too_far_in_past"}
"""Ours before a call, and the provider's answer to one (Stripe, "Meter events": at most 35 days)."""


def finality_of(receipt: CellReceipt) -> Finality | None:
    """What a durable record itself says of finality: an adjustment's, or that the provider refused it for its period."""
    if receipt.adjustment is not None:
        return Finality(receipt.adjustment.cause, receipt.adjustment.invoice)
    if receipt.state == "refused" and receipt.outcome == "period_closed":
        return Finality("age_limit" if receipt.reason in _TOO_OLD else "period_closed")
    return None


def adjusted(fresh: CellReceipt, last: CellReceipt | None, final: Finality, settlements: Iterable[Settlement], now_ms: int) -> CellReceipt:
    """`fresh` (the wanted total, not sent) as an adjustment: what is missing (or too much) at the provider, less what was settled.

    A total that is just what stands adjusts nothing. What may stand beside it stays visible in `maybe` until an operator settles it.
    """
    before = None if last is None else last.adjustment
    standing = "0" if fresh.standing is None else fresh.standing.units
    if before is None and fresh.units == standing and not fresh.maybe:
        # The parts of a unit in it are kept: the next ones make a whole unit with them (law 17).
        stands = Standing(revision=fresh.revision, attempt=fresh.attempt, units=fresh.units, quantity=fresh.quantity, at_ms=now_ms)
        return msgspec.structs.replace(fresh, state="delivered", outcome="delivered", reason="no_change", standing=stands, reported_at_ms=now_ms)
    told = before or Adjustment(
        id=adjustment_id(fresh.provider, fresh.account, fresh.cell),
        units="0",
        standing=standing,
        cause=final.cause,
        policy=fresh.late,
        since_ms=now_ms,
    )
    settled, settled_to, how, maybe = told.settled, told.settled_to, told.how, fresh.maybe
    remedy = told.remedy
    for settlement in settlements:
        if settlement.offset <= settled_to or is_being_billed(told):
            continue
        settled_to = settlement.offset
        if settlement.said.settled == settled:
            settled, how, maybe = plus(settled, settlement.said.units), settlement.said.how, ()
            # A person has dealt with what was refused; what comes later is billed as if nothing had been.
            remedy = remedy if remedy is not None and remedy.may_stand else None
    units = minus(minus(fresh.units, standing), settled)
    adjustment = msgspec.structs.replace(
        told, units=units, standing=standing, settled=settled, invoice=final.invoice or told.invoice, settled_to=settled_to, how=how,
        remedy=remedy,
    )  # fmt: skip
    return msgspec.structs.replace(
        fresh,
        state="adjustment",
        adjustment=adjustment,
        maybe=maybe,
        outcome="open" if adjustment.is_open or maybe else "settled",
        **_words(adjustment),
    )


def is_being_billed(adjustment: Adjustment) -> bool:
    """True while a part of it is on its way: what operators say meanwhile waits for the answer."""
    return adjustment.remedy is not None and not adjustment.remedy.refused


def changes(held: Adjustment | None, final: Finality | None, settlements: Iterable[Settlement]) -> bool:
    """True where an adjustment has an invoice or a settlement that its record does not hold yet."""
    if held is None:
        return False
    named = final is not None and final.invoice != held.invoice
    return named or (not is_being_billed(held) and any(settlement.offset > held.settled_to for settlement in settlements))


def with_remedy(receipt: CellReceipt, remedy: Remedy | None) -> CellReceipt:
    """The record that a part of the adjustment is about to be billed, or was refused; None: what was about to be is not, and took no effect.

    Each rewriting of a record is an attempt of its own.
    """
    told = _of(receipt)
    adjustment = msgspec.structs.replace(told, remedy=remedy, remedies=max(told.remedies, 0 if remedy is None else remedy.number))
    return msgspec.structs.replace(
        receipt,
        attempt=receipt.attempt + 1,
        adjustment=adjustment,
        **_words(adjustment),
    )


def remedied(receipt: CellReceipt, remedy: Remedy, how: str, now_ms: int) -> CellReceipt:
    """The record that a part of the adjustment is billed: it is settled, and `how` names what bills it."""
    told = _of(receipt)
    carried = told.carried
    if remedy.kind == "usage_record":
        carried = (*carried, Carried(second=remedy.second, units=remedy.units, period_start_s=remedy.period_start_s))
    adjustment = msgspec.structs.replace(
        told,
        carried=carried,
        settled=plus(told.settled, remedy.units),
        units=minus(told.units, remedy.units),
        remedy=None,
        remedies=max(told.remedies, remedy.number),
        how=how,
    )
    outcome = "open" if adjustment.is_open or receipt.maybe else "settled"
    return msgspec.structs.replace(
        receipt,
        attempt=receipt.attempt + 1,
        adjustment=adjustment,
        outcome=outcome if receipt.state == "adjustment" else receipt.outcome,
        reason=adjustment.cause if receipt.state == "adjustment" else receipt.reason,
        sentence=how if receipt.state == "adjustment" else receipt.sentence,
        reported_at_ms=now_ms,
    )


def _words(adjustment: Adjustment) -> dict[str, str]:
    """Reason and sentence of a record: why the cell is final, or what the provider said to billing it elsewhere."""
    refused = "" if adjustment.remedy is None else adjustment.remedy.refused
    return {"reason": "not_billed" if refused else adjustment.cause, "sentence": refused or SENTENCES[adjustment.cause]}


def _of(receipt: CellReceipt) -> Adjustment:
    if receipt.adjustment is None:
        raise ValueError(f"cell {receipt.cell} has no adjustment")
    return receipt.adjustment


def is_open(receipt: CellReceipt) -> bool:
    """True where a record is an adjustment that nobody has settled."""
    return receipt.adjustment is not None and (receipt.adjustment.is_open or bool(receipt.maybe))
