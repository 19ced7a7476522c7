"""Amounts, units and times as people read them: in tables, sentences and pages. Pure."""

from __future__ import annotations

from fractions import Fraction

from sinks.stripe import costs
from topics.instants import US_PER_MS, format_s, format_us
from topics.quantity import format_scaled


def money(amount: int, currency: str) -> str:
    """An amount of the smallest unit with the currency's own places: `1,234.56 USD`, `1,200 JPY`, `1.500 KWD`."""
    return exact_money(Fraction(amount), currency)


def exact_money(amount: Fraction, currency: str) -> str:
    """An exact amount of the smallest unit, with more places where there are parts of it."""
    number, _, code = costs.money(amount, currency).rpartition(" ")
    return f"{number} {code.upper()}"


def number(value: Fraction | int) -> str:
    """A number with all its digits and thousands apart; one that no decimal can say is a fraction."""
    value = Fraction(value)
    for places in range(25):
        scaled = value * 10**places
        if scaled.denominator == 1:
            whole, rest = divmod(abs(int(scaled)), 10**places)
            tail = f".{rest:0{places}}" if places else ""
            return f"{'-' if value < 0 else ''}{whole:,}{tail}"
    return f"{value.numerator}/{value.denominator}"


def number_text(text: str) -> str:
    """A decimal string with thousands apart; what is none (where nothing was sent) as it is."""
    if not text.lstrip("-")[:1].isdigit():
        return text
    head, dot, tail = text.partition(".")
    digits = f"{int(head.lstrip('-')):,}{dot}{tail}"
    return f"-{digits}" if text.startswith("-") else digits


def quantity(scaled: int) -> str:
    """A quantity × 10¹² with all its digits and thousands apart."""
    return number_text(format_scaled(scaled))


def clock(instant_ms: int) -> str:
    """`2026-11-03 10:00:00.25` in UTC; empty where there is none."""
    return clock_us(instant_ms * US_PER_MS) if instant_ms else ""


def clock_us(instant_us: int) -> str:
    """The same of microseconds, which say when an event occurred."""
    return format_us(instant_us).replace("T", " ").rstrip("Z")


def stretch(start_s: int, end_s: int) -> str:
    """`2026-11-03 10:00:00 … 11:00:00`, with the day of the end where it is another one."""
    start, end = (format_s(at).replace("T", " ").rstrip("Z") for at in (start_s, end_s))
    return f"{start} … {end[11:] if start[:10] == end[:10] else end}"


def visible(text: str) -> str:
    """Text of producers as it may be shown: control and format characters (which move, hide or turn what stands around them) as `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}" for char in text)
