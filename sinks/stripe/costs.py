"""What units of a price cost, exactly: per unit, in tiers, in packages, with decimals of a cent. Pure.

Sources: Stripe's documentation, "Tiered pricing" (graduated: each unit at the price of its own tier; volume: all at the price of the tier that
the total reaches; `up_to` is inclusive; a tier's flat amount is added where the tier is used) and "Transform quantities" (divided and rounded
after the period's usage is summed). That a period without usage is priced in the first tier is our reading.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.stripe.objects import Price, Tier

WHOLE: Final = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)
"""Currencies whose smallest unit is the unit (Stripe: zero-decimal currencies)."""
THOUSANDTHS: Final = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
"""Currencies with three places."""


def cost(price: Price, units: Fraction) -> Fraction | None:
    """What that many units of one period cost, in the currency's smallest unit and not yet rounded; None where the price shows no amounts."""
    quantity = packaged(price, units)
    if price.billing_scheme != "tiered":
        each = each_of(price)
        return None if each is None else quantity * each
    if not price.tiers:
        return None
    return sum((part * unit_of(tier) + flat_of(tier) for part, tier in used(price, quantity)), Fraction(0))


def billed(price: Price, units: Fraction) -> int | None:
    """What an invoice of that many units comes to, in whole smallest units; None where the price shows no amounts.

    Each line is rounded once, halves away from zero, and each graduated tier is a line (Stripe, "Tiered pricing", "Decimal amounts").
    """
    quantity = packaged(price, units)
    if price.billing_scheme == "tiered" and price.tiers_mode != "volume" and price.tiers:
        return sum(rounded(part * unit_of(tier) + flat_of(tier)) for part, tier in used(price, quantity))
    amount = cost(price, units)
    return None if amount is None else rounded(amount)


def more(price: Price, before: Fraction, units: Fraction) -> int | None:
    """By how much an invoice of `before` units would come to more (or less) with `units` of the same period on it; None as above.

    Taken step by step it adds up to what one invoice of all units comes to: no fraction of a cent is lost by billing in parts, whatever the
    steps, and a tier or package that `before` has reached is not paid for again.
    """
    first, last = billed(price, before), billed(price, before + units)
    return None if first is None or last is None else last - first


def rounded(amount: Fraction) -> int:
    """To the smallest unit, halves away from zero."""
    whole = floor(abs(amount) + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def packaged(price: Price, units: Fraction) -> Fraction:
    """What is paid for: units, or whole packages of them where the price divides."""
    transform = price.transform_quantity
    if transform is None:
        return units
    packages, rest = divmod(units, transform.divide_by)
    return Fraction(packages + (1 if rest and transform.round == "up" else 0))


def used(price: Price, quantity: Fraction) -> Iterator[tuple[Fraction, Tier]]:
    """The tiers that the quantity uses, each with how much of it."""
    tiers = sorted(price.tiers or (), key=lambda tier: (tier.up_to is None, tier.up_to or 0))
    ends = [Fraction(0), *(quantity if tier.up_to is None else Fraction(tier.up_to) for tier in tiers)]
    for (start, end), tier in zip(pairwise(ends), tiers, strict=True):
        last = quantity <= end or tier is tiers[-1]
        if price.tiers_mode == "volume":
            if last:
                yield quantity, tier
                return
            continue
        yield (quantity if last else end) - start, tier
        if last:
            return


def each_of(price: Price) -> Fraction | None:
    """What one unit (or package) of an untiered price costs, in the smallest unit; None where the price does not show it."""
    return _amount(price.unit_amount_decimal, price.unit_amount)


def unit_of(tier: Tier) -> Fraction:
    """What one unit of a tier costs."""
    return _amount(tier.unit_amount_decimal, tier.unit_amount) or Fraction(0)


def flat_of(tier: Tier) -> Fraction:
    """What a tier costs by being used."""
    return _amount(tier.flat_amount_decimal, tier.flat_amount) or Fraction(0)


def _amount(exact: str | None, whole: int | None) -> Fraction | None:
    if exact is not None:
        return Fraction(exact)
    return None if whole is None else Fraction(whole)


def places(currency: str) -> int:
    """How many decimal places the currency has."""
    return 0 if currency in WHOLE else 3 if currency in THOUSANDTHS else 2


def money(amount: Fraction, currency: str) -> str:
    """An exact amount of smallest units for people: `12.34 usd`, with more places where they are not nothing."""
    digits = places(currency)
    exact = amount / 10**digits
    for shown in range(digits, digits + 13):
        scaled = exact * 10**shown
        if scaled.denominator == 1:
            break
    else:
        # Thirds of a cent arise nowhere at Stripe, but an average may be asked for one day: it is said that it is not the whole truth.
        return f"about {_decimal(round(exact * 10**digits), digits)} {currency}"
    return f"{_decimal(int(scaled), shown)} {currency}"


def _decimal(scaled: int, digits: int) -> str:
    whole, rest = divmod(abs(scaled), 10**digits)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole:,}.{rest:0{digits}}" if digits else f"{sign}{whole:,}"
