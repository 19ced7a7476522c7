"""What a quantity costs: packages, tiers, decimals, rounding; exact, against a second way of counting."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest

from infra.sandbox.pricing import Charge, charges, packages, rounded
from infra.sandbox.resources import price
from topics.quantity import ONE

RECURRING = {"interval": "month", "usage_type": "metered"}


def per_unit(**params: Any) -> Any:
    """A price per unit."""
    return price("price_1", 0, {"currency": "usd", "recurring": RECURRING, **params}, "prod_1")


def tiered(mode: str, *tiers: Any) -> Any:
    """A tiered price."""
    params = {"currency": "usd", "recurring": RECURRING, "billing_scheme": "tiered", "tiers_mode": mode, "tiers": list(tiers)}
    return price("price_1", 0, params, "prod_1")


STEPS = (
    {"up_to": 100, "unit_amount": 10},
    {"up_to": 500, "unit_amount_decimal": "2.5", "flat_amount": 1000},
    {"up_to": None, "unit_amount": 1, "flat_amount": 5000},
)


def amounts(found: list[Charge]) -> list[tuple[int, int]]:
    """(whole units, amount) of each line."""
    return [(charge.quantity // ONE, charge.amount) for charge in found]


@pytest.mark.parametrize(("units", "expected"), [("0.5", 1), ("1.5", 2), ("0.499999999999", 0), ("2.5", 3), ("-0.5", -1), ("-2.4", -2)])
def test_halves_are_rounded_away_from_zero(units: str, expected: int) -> None:
    """A half of the minor unit becomes a whole one, on either side of zero, and less than a half nothing."""
    assert rounded(Fraction(units)) == expected


def test_a_decimal_price_is_rounded_once_a_line() -> None:
    """Twelve places of a price times twelve places of a quantity come out exactly, rounded once."""
    exact = per_unit(unit_amount_decimal="0.000000000001")
    assert amounts(charges(exact, 499_999_999_999 * ONE)) == [(499_999_999_999, 0)]
    assert amounts(charges(exact, 500_000_000_000 * ONE)) == [(500_000_000_000, 1)]
    assert charges(per_unit(unit_amount_decimal="0.333333333333"), 3 * ONE + 1)[0].amount == 1
    assert charges(per_unit(unit_amount=7), ONE // 2)[0].amount == 4


@pytest.mark.parametrize(
    ("units", "up", "down"), [(0, 0, 0), (1, 1, 0), (999, 1, 0), (1000, 1, 1), (1001, 2, 1), (12_345, 13, 12)]
)
def test_packages_are_of_the_whole_usage(units: int, up: int, down: int) -> None:
    """A begun package is paid with `up` and free with `down`; the line shows the usage."""
    for way, expected in (("up", up), ("down", down)):
        of_thousand = per_unit(unit_amount=50, transform_quantity={"divide_by": 1000, "round": way})
        assert amounts(charges(of_thousand, units * ONE)) == [(units, 50 * expected)]
    assert packages({"divide_by": 1000, "round": "up"}, 1) == 1


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (0, [(0, 0)]),
        (1, [(1, 10)]),
        (100, [(100, 1000)]),
        (101, [(100, 1000), (1, 1003)]),
        (500, [(100, 1000), (400, 2000)]),
        (501, [(100, 1000), (400, 2000), (1, 5001)]),
        (10_500, [(100, 1000), (400, 2000), (10_000, 15_000)]),
    ],
)
def test_graduated_tiers_end_with_their_last_unit(units: int, expected: list[tuple[int, int]]) -> None:
    """Each reached tier is a line with the units in it and its flat amount; `up_to` is the last unit of its tier."""
    assert amounts(charges(tiered("graduated", *STEPS), units * ONE)) == expected


@pytest.mark.parametrize(
    ("units", "amount", "tier"), [(0, 0, 1), (100, 1000, 1), (101, 1253, 2), (500, 2250, 2), (501, 5501, 3)]
)
def test_volume_tiers_price_every_unit_alike(units: int, amount: int, tier: int) -> None:
    """The whole quantity goes at the price of the tier that it reaches."""
    assert charges(tiered("volume", *STEPS), units * ONE) == [
        Charge(units * ONE, amount, {1: "10", 2: "2.5", 3: "1"}[tier], tier),
    ]


@pytest.mark.parametrize("mode", ["graduated", "volume"])
def test_the_first_tiers_flat_amount_at_zero_is_a_knob(mode: str) -> None:
    """A quantity of 0 owes the first tier's flat amount, or does not."""
    flat = tiered(mode, {"up_to": 10, "flat_amount": 700}, {"up_to": None, "unit_amount": 5})
    assert charges(flat, 0)[0].amount == 700
    assert charges(flat, 0, flat_at_zero=False)[0].amount == 0
    assert charges(flat, 1, flat_at_zero=False)[0].amount == 700


def test_one_line_for_all_tiers_is_rounded_once() -> None:
    """With all tiers on one line their exact amounts add up before rounding."""
    halves = tiered("graduated", {"up_to": 1, "unit_amount_decimal": "0.5"}, {"up_to": None, "unit_amount_decimal": "0.5"})
    assert amounts(charges(halves, 2 * ONE)) == [(1, 1), (1, 1)]
    assert amounts(charges(halves, 2 * ONE, tier_lines=False)) == [(2, 1)]


@pytest.mark.parametrize("seed", range(25))
def test_random_prices_agree_with_decimal_arithmetic(seed: int) -> None:
    """Unit by unit, in 100-digit decimals, graduated tiers cost the same, and lines add up to the quantity."""
    chance = random.Random(seed)
    ends = sorted(chance.sample(range(1, 60), chance.randint(0, 4)))
    tiers: list[dict[str, Any]] = [
        {"up_to": end, "unit_amount_decimal": f"{chance.randint(0, 9)}.{chance.randint(0, 10**12 - 1):012}", "flat_amount": chance.randint(0, 3)}
        for end in [*ends, None]
    ]
    quantity = chance.randint(1, 90)
    found = charges(tiered("graduated", *tiers), quantity * ONE, tier_lines=False)
    with localcontext() as context:
        context.prec = 100
        total, reached = Decimal(0), set()
        for unit in range(1, quantity + 1):
            n = next(n for n, tier in enumerate(tiers) if tier["up_to"] is None or unit <= tier["up_to"])
            total += Decimal(tiers[n]["unit_amount_decimal"]) + (0 if n in reached else tiers[n]["flat_amount"])
            reached.add(n)
        assert found[0].amount == int(total.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    assert sum(charge.quantity for charge in charges(tiered("graduated", *tiers), quantity * ONE)) == quantity * ONE
