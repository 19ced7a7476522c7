"""Meter events' values, and what they add up to. Pure: the events of a customer and meter are given in order of receipt.

Values are whole numbers of 10⁻¹² units (`topics.quantity`): an invoice line carries at most 12 places, and no float ever adds up money.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topics import quantity

WINDOW_S = {"hour": 3600, "day": 86_400}
"""Pre-aggregated intervals, in seconds of UTC: Unix time has no leap seconds, so multiples of these are UTC hours and days."""
MOST_DIGITS = 15
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_WITH_EXPONENT = re.compile(_PLAIN.pattern + r"(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Usage:
    """One counted event: its own second, its value in 10⁻¹² units."""

    second: int
    value: int


def value_of(text: str, *, exponents: bool) -> int | None:
    """The value in 10⁻¹² units, or None if it is none: no decimal number, more than 12 places, or (unless allowed) with an exponent."""
    if not is_number(text, exponents=exponents):
        return None
    try:
        return quantity.parse(text)
    except (quantity.BadQuantity, quantity.OutOfRange):
        return None


def is_number(text: str, *, exponents: bool) -> bool:
    """Whether a text is a decimal number, however long."""
    return (_WITH_EXPONENT if exponents else _PLAIN).fullmatch(text) is not None


def digits(text: str) -> int:
    """How many digits a decimal number has, without leading zeros; zeros at its end count, because Stripe does not say that they do not."""
    mantissa = re.split("[eE]", text)[0]
    return len(re.sub(r"\D", "", mantissa, flags=re.ASCII).lstrip("0"))


def bounds(window: str | None, start_s: int, end_s: int) -> tuple[int, int]:
    """The range of seconds whose events can decide [start_s, end_s): with a pre-aggregated window, out to its edges."""
    if window is None:
        return start_s, end_s
    length_s = WINDOW_S[window]
    return start_s - start_s % length_s, end_s + -end_s % length_s


def standing(window: str | None, received: Iterable[Usage]) -> list[Usage]:
    """The events that count, of all `received`, which come in order of receipt: all of them, or the one received last of each window."""
    if window is None:
        return list(received)
    return list({usage.second // WINDOW_S[window]: usage for usage in received}.values())


def aggregated(formula: str, window: str | None, received: Iterable[Usage], start_s: int, end_s: int) -> int:
    """What the events of [start_s, end_s) add up to, in 10⁻¹² units. `received` holds, in order of receipt, every event within `bounds`.

    In a pre-aggregated window the event received last replaces those before it, wherever in the window its second lies; then the seconds
    decide what belongs to the range.
    """
    return folded(formula, [usage for usage in standing(window, received) if start_s <= usage.second < end_s])


def folded(formula: str, inside: Sequence[Usage]) -> int:
    """The sum, the number (× 10¹²), or the last of standing events; `last` is the greatest second, of equal ones the one received last.

    After `standing` at most one event of a window is left, so that its order never decides there.
    """
    if formula == "count":
        return len(inside) * quantity.ONE
    if formula == "last":
        last: Usage | None = None
        for usage in inside:
            if last is None or usage.second >= last.second:
                last = usage
        return 0 if last is None else last.value
    return sum(usage.value for usage in inside)
