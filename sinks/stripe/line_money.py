"""A line's money beside what its units come to: equal, different, or not to be compared, with what stands in the way by name. Pure.

Recomputed is what a price alone decides: units, packages, tiers, rounding. What Stripe decides elsewhere (coupons, tax, prorations, trials) is named
with Stripe's own figures and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from sinks.stripe.costs import money
from sinks.stripe.invoice_line import InvoiceLine
from sinks.stripe.objects import Price
from sinks.stripe.working import Working, working

Verdict = Literal["equal", "differs", "not_compared"]


@dataclass(frozen=True, slots=True)
class LineMoney:
    """`working` is None where the price shows no amounts; `named`: each thing that is Stripe's alone, in one sentence."""

    working: Working | None
    verdict: Verdict
    named: tuple[str, ...] = ()
    billed: int | None = None

    @property
    def faults(self) -> list[str]:
        """What contradicts, in one sentence."""
        if self.verdict != "differs" or self.working is None or self.billed is None:
            return []
        ours, theirs = (money(Fraction(amount), self.working.currency).upper() for amount in (self.working.amount, self.billed))
        return [f"the units come to {ours} at price {self.working.price}, the line says {theirs}"]


def line_money(line: InvoiceLine, price: Price | None, units: Fraction, *, trial_until_s: int | None = None) -> LineMoney:
    """What the line's `units` come to at its price, beside its amount; `trial_until_s`: until when its subscription costs nothing."""
    named = _named(line)

    def not_compared(why: str, found: Working | None = None) -> LineMoney:
        return LineMoney(found, "not_compared", (*named, why), line.amount)

    if price is None:
        return not_compared(f"price {line.price} cannot be read, so what it comes to is not recomputed")
    if price.currency != line.currency:
        return not_compared(f"price {price.id} shows its amounts in {price.currency}, the line is in {line.currency}: it is not recomputed")
    found = working(price, max(units, Fraction(0)), len(line.parts))
    if found is None:
        return not_compared(f"price {price.id} shows no amounts, so what it comes to is not recomputed")
    if line.proration:
        return not_compared("the line is a proration: Stripe bills a share of the period, which is not recomputed", found)
    if found.amount != line.amount == 0 and trial_until_s is not None and line.end_s <= trial_until_s:
        return not_compared("the period lies in the subscription's trial: it costs nothing", found)
    if found.amount != line.amount == 0 and not line.units:
        return not_compared("the flat amount of a first tier without usage: whether it is billed is Stripe's word, and here it was not", found)
    return LineMoney(found, "equal" if found.amount == line.amount else "differs", named, line.amount)


def _named(line: InvoiceLine) -> tuple[str, ...]:
    """Coupons and taxes as Stripe states them."""

    def said(amount: int) -> str:
        return money(Fraction(amount), line.currency).upper()

    discounted, taxed, within = (sum(getattr(part, name) for part in line.parts) for name in ("discounted", "taxed", "taxed_within"))
    found = []
    if discounted:
        found.append(f"coupons take {said(discounted)} off the line's amount (Stripe's figure, not recomputed)")
    if taxed:
        found.append(f"tax of {said(taxed)} is added to the line's amount (Stripe's figure, not recomputed)")
    if within:
        found.append(f"of the line's amount {said(within)} is tax (Stripe's figure, not recomputed)")
    return tuple(found)
