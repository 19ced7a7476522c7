"""How units become money: each step against sums by hand, against costs, and against the sandbox, which was written apart from it."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox import pricing
from sinks.stripe.costs import billed
from sinks.stripe.invoice_line import InvoiceLine, LinePart
from sinks.stripe.line_money import line_money
from sinks.stripe.objects import Price, read
from sinks.stripe.working import Working, working
from topics.quantity import ONE, format_scaled

TIERS = (
    {"up_to": 100, "unit_amount_decimal": "0", "flat_amount_decimal": None},
    {"up_to": 1000, "unit_amount_decimal": "1.5", "flat_amount_decimal": None},
    {"up_to": None, "unit_amount_decimal": "0.25", "flat_amount_decimal": "500"},
)


def priced(**fields: Any) -> Price:
    """A price as Stripe would answer it."""
    return read({"id": "price_1", "object": "price", "currency": "usd", **fields}, Price)


def worked(price: Price, units: str | int | Fraction, lines: int | None = None) -> Working:
    """What it comes to, which is known."""
    found = working(price, Fraction(units), lines)
    assert found is not None
    return found


def test_graduated_tiers_are_lines_and_each_is_rounded() -> None:
    """A free tier, a tier of halves and a flat amount each stand with their own exact sum and rounding, and the sum of what was rounded is billed."""
    found = worked(priced(billing_scheme="tiered", tiers_mode="graduated", tiers=TIERS), 1003)
    steps = [(step.number, str(step.units), str(step.exact), step.amount, step.is_free) for step in found.steps]
    assert steps == [(1, "100", "0", 0, True), (2, "900", "1350", 1350, False), (3, "3", "2003/4", 501, False)]
    assert (found.exact, found.amount) == (Fraction("1850.75"), 1851)
    halves = priced(billing_scheme="tiered", tiers_mode="graduated", tiers=[{**TIERS[1], "up_to": 1}, {**TIERS[1], "up_to": None}])
    assert (worked(halves, 2).amount, worked(halves, 2, lines=2).amount, worked(halves, 2, lines=1).amount) == (4, 4, 3)


def test_volume_tiers_price_all_units_by_the_tier_that_is_reached() -> None:
    """The one tier that holds the total is the only step, and its flat amount is paid once."""
    found = worked(priced(billing_scheme="tiered", tiers_mode="volume", tiers=TIERS), 1002)
    (step,) = found.steps
    assert (step.number, str(step.above), str(step.units), str(step.flat), str(step.exact)) == (3, "1000", "1002", "500", "1501/2")
    assert (found.amount, worked(priced(billing_scheme="tiered", tiers_mode="volume", tiers=TIERS), 1000).amount) == (751, 1500)


@pytest.mark.parametrize(("units", "how", "packages", "amount"), [(999, "up", 1, 7), (1000, "up", 1, 7), (1001, "up", 2, 14), (1999, "down", 1, 7)])
def test_packages_are_made_before_they_are_priced(units: int, how: str, packages: int, amount: int) -> None:
    """Begun packages are paid whole or not at all, as the price says."""
    found = worked(priced(unit_amount=7, transform_quantity={"divide_by": 1000, "round": how}), units)
    assert (int(found.priced), found.amount, str(found.scheme), found.divide_by) == (packages, amount, "packages", 1000)


@pytest.mark.parametrize(("units", "amount"), [("1", 0), ("4", 0), ("5", 1), ("15", 2), ("0.000000000001", 0), ("4.999999999999", 0)])
def test_parts_of_a_cent_are_rounded_once_halves_away_from_zero(units: str, amount: int) -> None:
    """At a tenth of a cent a unit five units are a cent, and not a hair less is."""
    assert worked(priced(unit_amount_decimal="0.1"), units).amount == amount


def test_a_price_that_shows_no_amounts_is_not_guessed() -> None:
    """Tiers that were not read, or an amount that the customer chooses, come to nothing that we know."""
    assert working(priced(billing_scheme="tiered", tiers_mode="graduated"), Fraction(1)) is None
    assert working(priced(), Fraction(1)) is None


def random_price(rng: random.Random) -> dict[str, Any]:
    """A price of any kind, in the sandbox's own shape."""
    amount = format_scaled(rng.choice((0, rng.randrange(10**13), rng.randrange(1, 400) * ONE // 8)))
    common = {"id": "price_1", "currency": "usd", "transform_quantity": None, "unit_amount_decimal": amount, "tiers": None, "tiers_mode": None}
    kind = rng.choice(("unit", "packages", "graduated", "volume"))
    if kind in {"unit", "packages"}:
        transform = {"divide_by": rng.randrange(1, 50), "round": rng.choice(("up", "down"))} if kind == "packages" else None
        return {**common, "billing_scheme": "per_unit", "transform_quantity": transform}
    ends: list[int | None] = [*sorted(rng.sample(range(1, 200), rng.randrange(0, 4))), None]
    tiers = [
        {
            "up_to": end,
            "unit_amount_decimal": format_scaled(rng.randrange(3 * ONE)) if rng.random() < 0.8 else None,
            "flat_amount_decimal": format_scaled(rng.randrange(300) * ONE // 2) if rng.random() < 0.4 else None,
        }
        for end in ends
    ]
    return {**common, "billing_scheme": "tiered", "tiers_mode": kind, "tiers": tiers, "unit_amount_decimal": None}


@pytest.mark.parametrize("seed", range(300))
def test_the_sandbox_bills_the_same(seed: int) -> None:
    """For any price and units the steps come to what the sandbox bills, line by line, with a line a tier and with one line for all."""
    rng = random.Random(seed)
    body = random_price(rng)
    scaled = rng.choice((0, rng.randrange(250) * ONE, rng.randrange(250 * ONE)))
    price = read(body, Price)
    for tier_lines in (True, False):
        theirs = pricing.charges(body, scaled, tier_lines=tier_lines)
        ours = worked(price, Fraction(scaled, ONE), len(theirs))
        assert ours.amount == sum(charge.amount for charge in theirs)
        if ours.is_by_step:
            assert [step.amount for step in ours.steps] == [charge.amount for charge in theirs]
    assert worked(price, Fraction(scaled, ONE)).amount == billed(price, Fraction(scaled, ONE))


@given(st.integers(0, 10**30), st.integers(0, 10**24))
def test_a_product_is_exact_whatever_its_size(scaled: int, amount: int) -> None:
    """Units × price, rounded, is what decimal arithmetic with as many digits as it takes says."""
    with localcontext(prec=200):
        exact = Decimal(format_scaled(scaled)) * Decimal(format_scaled(amount))
        expected = int(exact.to_integral_value(ROUND_HALF_UP))
    assert worked(priced(unit_amount_decimal=format_scaled(amount)), Fraction(scaled, ONE)).amount == expected


LINE = InvoiceLine("in_1", "paid", "il_1", "si_1", "price_1", 0, 100, 50, 150, "usd", parts=(LinePart("il_1", 50, 150),))
THREE = priced(unit_amount=3)
FLAT = priced(billing_scheme="tiered", tiers_mode="volume", tiers=[{"up_to": None, "flat_amount": 500}])


def test_a_line_that_comes_to_something_else_is_a_contradiction() -> None:
    """An amount that the units do not come to is said with both numbers; one that they do is not."""
    assert line_money(LINE, THREE, Fraction(50)).verdict == "equal"
    found = line_money(LINE._replace(amount=151), THREE, Fraction(50))
    assert found.faults == ["the units come to 1.50 USD at price price_1, the line says 1.51 USD"]


@pytest.mark.parametrize(
    ("line", "price", "trial_until_s", "named"),
    [
        (LINE._replace(proration=True, amount=1), THREE, None, "proration"),
        (LINE._replace(amount=0), THREE, 100, "trial"),
        (LINE._replace(currency="eur"), THREE, None, "in eur"),
        (LINE._replace(units=0, amount=0), FLAT, None, "without usage"),
        (LINE, None, None, "cannot be read"),
        (LINE, priced(), None, "shows no amounts"),
    ],
)
def test_what_cannot_be_recomputed_is_named(line: InvoiceLine, price: Price | None, trial_until_s: int | None, named: str) -> None:
    """A proration, a trial, another currency, or a price that is not to be read is said, and is no contradiction."""
    found = line_money(line, price, Fraction(line.units), trial_until_s=trial_until_s)
    assert (found.verdict, found.faults) == ("not_compared", [])
    assert any(named in sentence for sentence in found.named)


def test_a_free_line_outside_of_a_trial_is_a_contradiction() -> None:
    """A line of units that comes to nothing is only explained by a trial that lasts to its end."""
    assert line_money(LINE._replace(amount=0), THREE, Fraction(50), trial_until_s=99).verdict == "differs"


def test_coupons_and_taxes_are_named_with_stripes_own_figures() -> None:
    """What is taken off or added is said in money, and the line's own amount is still compared."""
    part = LinePart("il_1", 50, 150, discounted=15, taxed=27, taxed_within=3)
    found = line_money(LINE._replace(parts=(part,)), THREE, Fraction(50))
    assert found.verdict == "equal"
    assert [sentence.split(" (")[0] for sentence in found.named] == [
        "coupons take 0.15 USD off the line's amount",
        "tax of 0.27 USD is added to the line's amount",
        "of the line's amount 0.03 USD is tax",
    ]
