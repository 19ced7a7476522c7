"""Law 17, whole units: what a provider of integers is sent for an exact total. Nothing is rounded: a fraction is refused and parked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from topics.quantity import ONE, PLACES, format_scaled, parse_total

MOST_UNITS: Final = 2**63 - 1
"""Stripe's integers are 64-bit; a larger total cannot be sent as one cell."""


class Unsendable(NamedTuple):
    """Why a total cannot be sent: `fraction`, `negative` or `too_large`, with a sentence for people."""

    reason: str
    sentence: str


def total_of(quantities: Iterable[str]) -> str:
    """The exact sum of stored totals, as a decimal string."""
    return format_scaled(sum(parse_total(quantity) for quantity in quantities))


def units_of(quantity: str, scale: str) -> int | Unsendable:
    """quantity × scale as a whole number ≥ 0, or why it is none."""
    product = parse_total(quantity) * parse_total(scale)
    units, rest = divmod(product, ONE * ONE)
    if rest:
        exact = format_scaled(product // ONE) if product % ONE == 0 else f"a number of more than {PLACES} places"
        return Unsendable("fraction", f"{quantity} × {scale} is {exact}, and Stripe takes whole units only; a scale can make it whole")
    if units < 0:
        return Unsendable("negative", f"{quantity} × {scale} is negative, and Stripe takes no negative usage")
    if units > MOST_UNITS:
        return Unsendable("too_large", f"{quantity} × {scale} is more than Stripe's integers hold")
    return units


def ledger_units(quantity: str, scale: str, others: tuple[int, int], *, signed: bool) -> str | Unsendable:
    """⌊Σ exact of the period⌋ − Σ units of its other cells; `others` are both sums over those (× 10²⁴, × 10¹²).

    Where the provider takes nothing below 0, a cell that would need it says 0, and another one evens it out (sinks/ledger.py).
    """
    exact, standing = others
    whole = (parse_total(quantity) * parse_total(scale) + exact) // (ONE * ONE)
    units = whole - standing // ONE
    if signed:
        return sendable(str(units))
    if whole < 0:
        return Unsendable("negative", f"with {quantity} × {scale} the period's usage is negative, and Stripe takes no negative usage")
    if units > MOST_UNITS:
        return Unsendable("too_large", f"{quantity} × {scale} is more than Stripe's integers hold")
    return str(max(0, units))


MOST_DIGITS: Final = 15
"""A meter event's value has at most 15 digits (Stripe, changelog 2026-04-22.dahlia); zeros at the end are counted as digits."""


def meter_units(quantity: str, scale: str, fractions: str) -> str | Unsendable:
    """quantity × scale as a plain decimal, signed (Stripe takes negative values), or why a meter event cannot say it."""
    product, rest = divmod(parse_total(quantity) * parse_total(scale), ONE)
    if rest:
        return Unsendable("fraction", f"{quantity} × {scale} is a number of more than {PLACES} places, and a meter event has no more")
    if product % ONE and fractions != "exact":
        said = f"{quantity} × {scale} is {format_scaled(product)}; a scale can make it whole"
        return Unsendable("fraction", f'{said}, or fractions = "exact" sends decimals')
    return sendable(format_scaled(product))


def sendable(value: str) -> str | Unsendable:
    """A value that a meter event can carry, or why not."""
    digits = len(value.lstrip("-").replace(".", "").lstrip("0"))
    if digits > MOST_DIGITS:
        reason = "too_many_digits" if "." in value else "too_large"
        return Unsendable(reason, f"{value} has {digits} digits, and a meter event's value has at most {MOST_DIGITS}")
    return value


def minus(one: str, other: str) -> str:
    """The exact difference of two stored numbers."""
    return format_scaled(parse_total(one) - parse_total(other))


def plus(one: str, other: str) -> str:
    """The exact sum of two stored numbers."""
    return format_scaled(parse_total(one) + parse_total(other))
