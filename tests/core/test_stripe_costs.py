"""What units of a price cost: tiers, packages and decimals of a cent, against sums made by hand and unit by unit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.stripe.costs import cost, money
from sinks.stripe.objects import Price, read

TIERS = [
    {"up_to": 100, "unit_amount_decimal": "0", "flat_amount_decimal": "500"},
    {"up_to": 1000, "unit_amount_decimal": "2", "flat_amount_decimal": None},
    {"up_to": None, "unit_amount_decimal": "0.5", "flat_amount_decimal": "100"},
]


def priced(**fields: Any) -> Price:
    """A price as Stripe would answer it."""
    return read({"id": "price_1", "object": "price", "currency": "usd", **fields}, Price)


@pytest.mark.parametrize(
    ("fields", "units", "cents"),
    [
        ({"unit_amount_decimal": "0.04"}, "1000", "40"),
        ({"unit_amount": 3}, "7", "21"),
        ({"unit_amount_decimal": "0.000000000001"}, "3", "0.000000000003"),
        ({"unit_amount_decimal": "10", "transform_quantity": {"divide_by": 1000, "round": "up"}}, "1001", "20"),
        ({"unit_amount_decimal": "10", "transform_quantity": {"divide_by": 1000, "round": "down"}}, "1999.5", "10"),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, "0", "500"),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, "100", "500"),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, "101", "502"),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, "1000", "2300"),
        ({"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": TIERS}, "1001.5", "2400.75"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": TIERS}, "100", "500"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": TIERS}, "101", "202"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": TIERS}, "2000", "1100"),
    ],
)
def test_units_cost_what_stripe_bills(fields: dict[str, Any], units: str, cents: str) -> None:
    """Per unit, packages, graduated and volume tiers with flat amounts, each against a sum by hand."""
    assert cost(priced(**fields), Fraction(units)) == Fraction(cents)


@given(st.integers(0, 3000))
def test_graduated_tiers_price_each_unit_by_its_own_tier(units: int) -> None:
    """What n units cost is the sum over each unit at the price of its place, with each used tier's flat amount once."""
    price = priced(billing_scheme="tiered", tiers_mode="graduated", tiers=TIERS)
    each = [0 if n <= 100 else 2 if n <= 1000 else Fraction(1, 2) for n in range(1, units + 1)]
    flats = 500 + (100 if units > 1000 else 0)
    assert cost(price, Fraction(units)) == sum(each) + flats


def test_a_price_without_amounts_is_not_guessed() -> None:
    """Tiers that were not asked for, or an amount that the customer chooses, cost nothing that we know."""
    assert cost(priced(billing_scheme="tiered", tiers_mode="volume"), Fraction(5)) is None
    assert cost(priced(), Fraction(5)) is None


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234567", "usd", "12,345.67 usd"),
        ("0.04", "usd", "0.0004 usd"),
        ("1500", "jpy", "1,500 jpy"),
        ("1500", "kwd", "1.500 kwd"),
        ("-5", "eur", "-0.05 eur"),
        ("1/3", "eur", "about 0.00 eur"),
    ],
)
def test_money_is_written_in_the_currencys_own_places(amount: str, currency: str, text: str) -> None:
    """Smallest units become units, with the places of the currency and more where there are parts of a cent."""
    assert money(Fraction(amount), currency) == text
