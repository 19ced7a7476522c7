"""How units become money, step by step: what an invoice line comes to, with each product, each rounding and who says so. Pure and exact.

The same rules as `costs.py` (which says only what it comes to): units are put into packages, then priced by unit or by tier; each line that Stripe
shows is rounded once, halves away from zero. Amounts are in the currency's smallest unit. What is not here is named by `named.py`, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from sinks.stripe.costs import each_of, flat_of, packaged, rounded, unit_of, used
from sinks.stripe.objects import Price, Tier

Scheme = Literal["per_unit", "packages", "graduated", "volume"]


@dataclass(frozen=True, slots=True)
class Step:
    """`units` × `unit` + `flat` = `exact`. Of a tier `number` counts from 1, `above` is where it begins and `up_to` where it ends (None: never)."""

    units: Fraction
    unit: Fraction
    flat: Fraction
    exact: Fraction
    number: int | None = None
    above: Fraction = Fraction(0)
    up_to: int | None = None

    @property
    def amount(self) -> int:
        """Rounded as a line of its own."""
        return rounded(self.exact)

    @property
    def is_free(self) -> bool:
        """Whether it costs nothing, whatever is in it."""
        return not self.unit and not self.flat


@dataclass(frozen=True, slots=True)
class Working:
    """What `units` come to at a price. `priced`: what is paid for (packages of `divide_by`, else the units).

    `is_by_step`: each step is a line and rounded by itself; else their sum is rounded once.
    """

    price: str
    currency: str
    scheme: Scheme
    units: Fraction
    priced: Fraction
    steps: tuple[Step, ...]
    is_by_step: bool
    divide_by: int | None = None
    round: str | None = None

    @property
    def exact(self) -> Fraction:
        """Before any rounding."""
        return sum((step.exact for step in self.steps), Fraction(0))

    @property
    def amount(self) -> int:
        """In whole smallest units, as billed."""
        return sum(step.amount for step in self.steps) if self.is_by_step else rounded(self.exact)


def working(price: Price, units: Fraction, lines: int | None = None) -> Working | None:
    """What `units` (≥ 0) of one period come to; None where the price shows no amounts.

    `lines`: how many Stripe shows for them. A graduated price has one for each tier that is used; where there is one for all, it is rounded once.
    """
    priced = packaged(price, units)
    transform = price.transform_quantity
    if price.billing_scheme == "tiered":
        steps = _tiers(price, priced)
        scheme: Scheme = "volume" if price.tiers_mode == "volume" else "graduated"
    else:
        each = each_of(price)
        steps = () if each is None else (Step(priced, each, Fraction(0), priced * each),)
        scheme = "per_unit" if transform is None else "packages"
    if not steps:
        return None
    return Working(
        price=price.id,
        currency=price.currency,
        scheme=scheme,
        units=units,
        priced=priced,
        steps=steps,
        is_by_step=scheme == "graduated" and lines != 1,
        divide_by=None if transform is None else transform.divide_by,
        round=None if transform is None else transform.round,
    )


def _tiers(price: Price, quantity: Fraction) -> tuple[Step, ...]:
    """The tiers that a quantity uses: of graduated ones each as far as it reaches, of volume ones the one that holds all of it."""
    if not price.tiers:
        return ()
    numbers = {id(tier): number for number, tier in enumerate(_in_order(price), 1)}
    begins = [Fraction(0), *(Fraction(tier.up_to or 0) for tier in _in_order(price))]
    found = []
    for part, tier in used(price, quantity):
        unit, flat, number = unit_of(tier), flat_of(tier), numbers[id(tier)]
        found.append(Step(part, unit, flat, part * unit + flat, number, begins[number - 1], tier.up_to))
    return tuple(found)


def _in_order(price: Price) -> list[Tier]:
    return sorted(price.tiers or (), key=lambda tier: (tier.up_to is None, tier.up_to or 0))
