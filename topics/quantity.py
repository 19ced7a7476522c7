"""Law 11, exact numbers: a quantity is a Python integer, scaled by 10¹²; no binary float, no Decimal context, no rounding.

A JSON integer, a JSON number read from its digits, or a decimal string. More than 12 places by value, |q| > 10¹⁸, NaN and ∞ are refused.
"""

from __future__ import annotations

import re
from typing import Final

PLACES: Final = 12
ONE: Final = 10**PLACES
"""One unit. Twelve places is what Stripe's `quantity_decimal` and ClickHouse's Decimal(38, 12) carry."""
LIMIT: Final = 10**18
"""Largest |quantity| of one event in units: with it 10⁸ events of the largest size still fit Decimal(38, 12)."""
_LIMIT_SCALED: Final = LIMIT * ONE
_DECIMAL = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", re.ASCII)
_TOTAL = re.compile(r"(-?)(\d{1,60})(?:\.(\d{1,12}))?", re.ASCII)


class Digits(str):
    """The digits of a JSON number that is not an integer, kept as they stood (the decoder's float_hook)."""

    __slots__ = ()


class OutOfRange(ValueError):
    """A number, but too large or with more than 12 places."""


class BadQuantity(ValueError):
    """Not a number, or a string that is no decimal number."""


def parse(value: object) -> int:
    """Quantity × 10¹² of a decoded JSON value (int, Digits or str).

    Raises BadQuantity for anything that is no number, OutOfRange for |q| > 10¹⁸ or more than 12 places by value.
    """
    if type(value) is int:
        if -LIMIT <= value <= LIMIT:
            return value * ONE
        raise OutOfRange("the quantity is larger than 10^18")
    if isinstance(value, str):
        return _from_text(value)
    raise BadQuantity("the quantity is no number and no decimal string")


def _from_text(text: str) -> int:
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise BadQuantity("the quantity is a string that is no decimal number")
    sign, whole, fraction, exponent = match.group(1), match.group(2), match.group(3) or "", match.group(4) or "0"
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    stripped = digits.rstrip("0")
    # An exponent of more than 7 digits is out of range whatever the digits are: an event holds at most 256 KiB of them.
    # Leading zeros go first: Python refuses to read a text of more than 4300 digits, whatever they are.
    shift = exponent.lstrip("+-").lstrip("0") or "0"
    if len(shift) > 7:
        raise OutOfRange("the quantity's exponent is out of range")
    power = int(shift) * (-1 if exponent[0] == "-" else 1) - len(fraction) + (len(digits) - len(stripped))
    if power < -PLACES:
        raise OutOfRange("the quantity has more than 12 decimal places")
    if len(stripped) + power > 19:
        raise OutOfRange("the quantity is larger than 10^18")
    scaled: int = int(stripped) * 10 ** (power + PLACES)
    if scaled > _LIMIT_SCALED:
        raise OutOfRange("the quantity is larger than 10^18")
    return -scaled if sign else scaled


def format_scaled(scaled: int) -> str:
    """The canonical decimal string: no exponent, no trailing zeros, no `-0`; `parse_total` reads it back."""
    whole, fraction = divmod(abs(scaled), ONE)
    text = str(whole) if not fraction else f"{whole}.{fraction:012d}".rstrip("0")
    return "-" + text if scaled < 0 else text


def parse_total(text: str) -> int:
    """A stored total (our own canonical string, of any size) back to × 10¹². Raises BadQuantity where it is none."""
    if text.isdigit() and text.isascii() and len(text) <= 60:
        return int(text) * ONE  # nearly all totals, without the expression's price
    match = _TOTAL.fullmatch(text)
    if match is None:
        raise BadQuantity(f"{text[:80]!r} is no stored total")
    scaled = int(match[2]) * ONE + int((match[3] or "").ljust(PLACES, "0"))
    return -scaled if match[1] else scaled
