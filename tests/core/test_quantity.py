"""Law 11: numbers are exact or refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.quantity import ONE, BadQuantity, Digits, OutOfRange, format_scaled, parse, parse_total


@given(st.integers(min_value=-(10**18) * ONE, max_value=10**18 * ONE))
def test_a_decimal_string_is_read_exactly_and_written_back(scaled: int) -> None:
    """Every quantity with 12 places survives text and back, and is canonical."""
    text = format_scaled(scaled)
    assert parse(text) == parse_total(text) == scaled
    assert Fraction(text) == Fraction(scaled, ONE)
    assert "e" not in text
    assert text == "0" or not text.startswith("-0") or text.startswith("-0.")


@given(
    st.from_regex(r"\A-?[0-9]{1,25}(\.[0-9]{1,16})?([eE][+-]?[0-9]{1,3})?\Z"),
)
def test_any_number_is_either_exact_or_out_of_range(text: str) -> None:
    """A decimal literal is read as the fraction it names; only size and places decide on refusal."""
    exact = Fraction(text)
    fits = abs(exact) <= 10**18 and (exact * ONE).denominator == 1
    try:
        assert parse(Digits(text)) == exact * ONE
        assert fits
    except OutOfRange:
        assert not fits


@pytest.mark.parametrize("value", ["", " 1", "1 ", "+1", "1_0", ".5", "5.", "0x10", "nan", "NaN", "Infinity", "１", "1e", "--1", None, [], {}, 1.5])
def test_what_is_no_number_is_refused(value: object) -> None:
    """Nothing but an integer, a JSON number's digits or a plain decimal string is a quantity."""
    with pytest.raises(BadQuantity):
        parse(value)


@pytest.mark.parametrize("value", [10**18 + 1, -(10**18) - 1, "1e400", "1e-13", "1e99999999999999", "9" * 39, "9" * 5000, "0." + "0" * 12 + "1"])
def test_what_is_too_large_or_too_fine_is_out_of_range(value: object) -> None:
    """Beyond 10^18 or 12 places by value is refused, never rounded, however long the text."""
    with pytest.raises(OutOfRange):
        parse(value)


@pytest.mark.parametrize(
    ("value", "scaled"),
    [("0e999999999", 0), ("1.2300000000000000", 1_230_000_000_000), ("-0", 0), ("1000e-3", ONE), (-5, -5 * ONE)],
)
def test_value_counts_and_not_spelling(value: object, scaled: int) -> None:
    """Trailing zeros and exponents do not make a number longer than it is."""
    assert parse(value) == scaled
