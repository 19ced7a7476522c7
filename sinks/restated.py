"""A cell put right by what an operator found at the provider (`topics/restating.py`): whether that still holds, and what stands by it. Pure."""

from __future__ import annotations

from sinks.units import Unsendable, minus
from topics.quantity import parse_total
from topics.receipt import CellReceipt, Standing
from topics.restating import RestateRecord


def applies(said: RestateRecord, last: CellReceipt | None) -> bool:
    """True where nothing has happened to the cell since the operator looked, and nothing of it is under way.

    So a record acts once: what follows from it is a higher revision. A meter's hour or day holds one number, so nothing can stand beside it.
    """
    if last is None:
        return said.revision == 0
    if (said.revision, said.attempt) != (last.revision, last.attempt) or last.state == "intent":
        return False
    remedy = None if last.adjustment is None else last.adjustment.remedy
    return (remedy is None or bool(remedy.refused)) and (said.beside == "0" or last.meter_target is None)


def found_standing(said: RestateRecord, last: CellReceipt | None, now_ms: int) -> Standing:
    """What stands, as it was found. Which exact quantity that is nobody knows: the last known one is kept until the next answer."""
    before = None if last is None else last.standing
    return Standing(
        revision=0 if before is None else before.revision,
        attempt=0 if before is None else before.attempt,
        units=said.stands,
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
