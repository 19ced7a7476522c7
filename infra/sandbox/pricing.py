"""What a quantity costs at a price: exactly, rounded once a line. Pure; fractions, never floats.

Quantities are whole numbers of 10⁻¹² units (`topics.quantity`), amounts whole numbers of the currency's minor unit.
Sources: https://docs.stripe.com/products-prices/pricing-models and the API reference of prices (`tiers`, `tiers_mode`, `transform_quantity`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from infra.sandbox.resources import Json
from topics.quantity import ONE


@dataclass(frozen=True, slots=True)
class Charge:
    """One line's worth: its quantity, its amount, the price of a unit as text (None where a line has no single one), and its tier from 1."""

    quantity: int
    amount: int
    unit_amount_decimal: str | None
    tier: int | None = None


def charges(price: Json, quantity: int, *, tier_lines: bool = True, flat_at_zero: bool = True) -> list[Charge]:
    """The lines for a quantity ≥ 0: one, or with graduated tiers one for each tier that it reaches.

    `tier_lines` False puts all tiers on one line (rounded once). `flat_at_zero` says whether a quantity of 0 owes the first tier's flat amount.
    """
    if price["billing_scheme"] == "per_unit":
        exact = packages(price["transform_quantity"], quantity) * Fraction(price["unit_amount_decimal"])
        return [Charge(quantity, rounded(exact), price["unit_amount_decimal"])]
    if price["tiers_mode"] == "volume":
        return [_volume(price["tiers"], quantity, flat_at_zero=flat_at_zero)]
    parts = _graduated(price["tiers"], quantity, flat_at_zero=flat_at_zero)
    if tier_lines:
        return [Charge(part, rounded(exact), unit, tier) for part, exact, unit, tier in parts]
    return [Charge(quantity, rounded(sum((exact for _, exact, _, _ in parts), Fraction())), None)]


def packages(transform: Json | None, quantity: int) -> Fraction:
    """The units to pay for: packages of `divide_by`, begun ones rounded up or not counted, where the price says so."""
    units = Fraction(quantity, ONE)
    if transform is None:
        return units
    divided = units / transform["divide_by"]
    return Fraction(math.ceil(divided) if transform["round"] == "up" else math.floor(divided))


def rounded(exact: Fraction) -> int:
    """To the minor unit, halves away from zero."""
    whole = math.floor(abs(exact) + Fraction(1, 2))
    return whole if exact >= 0 else -whole


def _price_of(tier: Json) -> tuple[Fraction, Fraction]:
    """(a unit, the tier itself)."""
    return Fraction(tier["unit_amount_decimal"] or 0), Fraction(tier["flat_amount_decimal"] or 0)


def _volume(tiers: list[Json], quantity: int, *, flat_at_zero: bool) -> Charge:
    """All units at the price of the tier that holds the whole quantity; `up_to` is inclusive."""
    at = next(n for n, tier in enumerate(tiers) if tier["up_to"] is None or quantity <= tier["up_to"] * ONE)
    unit, flat = _price_of(tiers[at])
    exact = Fraction(quantity, ONE) * unit + (flat if quantity or flat_at_zero else 0)
    return Charge(quantity, rounded(exact), tiers[at]["unit_amount_decimal"], at + 1)


def _graduated(tiers: list[Json], quantity: int, *, flat_at_zero: bool) -> list[tuple[int, Fraction, str | None, int]]:
    """(quantity, exact amount, unit price, tier) of every tier reached; the first one always."""
    found: list[tuple[int, Fraction, str | None, int]] = []
    below = 0
    for n, tier in enumerate(tiers):
        if n > 0 and quantity <= below:
            break
        end = quantity if tier["up_to"] is None else min(quantity, tier["up_to"] * ONE)
        unit, flat = _price_of(tier)
        exact = Fraction(end - below, ONE) * unit + (flat if quantity or flat_at_zero else 0)
        found.append((end - below, exact, tier["unit_amount_decimal"], n + 1))
        below = end if tier["up_to"] is None else tier["up_to"] * ONE
    return found
