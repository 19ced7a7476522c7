"""A cell put right by what an operator found at the provider (`topics/restating.py`): whether that still holds, and what stands by it. Pure."""

from __future__ import annotations

from sinks.units import Unsendable, minus
from topics.quantity import format_scaled, parse_total
from topics.receipt import CellReceipt, MeterTarget, Standing
from topics.restating import WHOLE, RestateRecord


def applies(said: RestateRecord, last: CellReceipt | None, target: MeterTarget | None) -> bool:
    """True where nothing has happened to the cell since the operator looked, and nothing of it is under way.

    So a record acts once: what follows from it is a higher revision. `target` is the meter that the cell is reported to.
    """
    if not _is_possible(said, target):
        return False
    if last is None:
        return said.revision == 0
    if (said.revision, said.attempt) != (last.revision, last.attempt) or last.state == "intent":
        return False
    # Read while the call was under way, and read again by every successor: an answer, or the proof that it counts, changes neither number.
    if said.read_at_ms is not None and last.reported_at_ms is not None and last.reported_at_ms >= said.read_at_ms:
        return False
    remedy = None if last.adjustment is None else last.adjustment.remedy
    return remedy is None or bool(remedy.refused)


def _is_possible(said: RestateRecord, target: MeterTarget | None) -> bool:
    """False for what the provider cannot hold of such a cell: a receipt that says so could be read by nobody.

    Usage records are whole units; a meter's hour or day holds one number, so nothing can stand beside it.
    """
    if target is not None:
        return parse_total(said.beside) == 0
    return all(WHOLE.fullmatch(plain(units)) for units in (said.stands, said.beside))


def plain(units: str) -> str:
    """The one form of a number that receipts keep: without zeros or a sign that say nothing."""
    return format_scaled(parse_total(units))


def found_standing(said: RestateRecord, last: CellReceipt | None, now_ms: int) -> Standing:
    """What stands, as it was found. Which exact quantity that is nobody knows: the last known one is kept until the next answer."""
    before = None if last is None else last.standing
    return Standing(
        revision=0 if before is None else before.revision,
        attempt=0 if before is None else before.attempt,
        units=plain(said.stands),
        quantity="0" if before is None else before.quantity,
        at_ms=now_ms,
    )


def sent_units(units: str, beside: str) -> str | Unsendable:
    """What a usage record says: the cell's units less those that stand beside it."""
    left = minus(units, beside)
    if parse_total(left) < 0:
        sentence = f"{beside} units stand at another second of the period, more than the {units} of this cell, and no record can say less than 0"
        return Unsendable("negative", sentence)
    return left
