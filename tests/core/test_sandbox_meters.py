"""The sandbox's meters, pure: which values are numbers, and what the events of a range add up to."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox import meter_values
from infra.sandbox.meter_values import Usage
from topics.quantity import ONE

HOUR_S = 3600
EVENTS = st.lists(st.builds(Usage, st.integers(0, 20_000), st.integers(-(10**27), 10**27)), max_size=40)
EDGES = st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)).map(sorted)


@pytest.mark.parametrize(
    ("text", "scaled"),
    [
        ("1", ONE),
        ("-1.5", -3 * ONE // 2),
        ("0", 0),
        ("0.000000000001", 1),
        ("999999999999999", 999_999_999_999_999 * ONE),
        ("1e3", None),
        ("1E3", None),
        ("", None),
        ("x", None),
        (".5", None),
        ("5.", None),
        ("+5", None),
        (" 5", None),
        ("1_000", None),
        ("٣", None),
        ("NaN", None),
        ("Infinity", None),
        ("0.0000000000001", None),
    ],
)
def test_values_are_plain_decimal_numbers(text: str, scaled: int | None) -> None:
    """A value is a plain decimal number of at most 12 places, read exactly; anything else is none."""
    assert meter_values.value_of(text, exponents=False) == scaled


def test_exponents_are_a_knob() -> None:
    """Where exponents are allowed they mean what they say, exactly."""
    assert meter_values.value_of("1.5e3", exponents=True) == 1500 * ONE
    assert meter_values.value_of("1e-13", exponents=True) is None


@pytest.mark.parametrize(
    ("text", "digits"),
    [("0", 0), ("-1", 1), ("007", 1), ("0.001", 1), ("1.50", 3), ("123456789012345", 15), ("-1234567890.123456", 16), ("1.5e20", 2)],
)
def test_digits(text: str, digits: int) -> None:
    """Leading zeros, sign, point and exponent are no digits; zeros at the end are."""
    assert meter_values.digits(text) == digits


@given(EVENTS, EDGES)
def test_raw_sums_add_every_event(events: list[Usage], edges: list[int]) -> None:
    """A raw sum is the exact sum of all events of the range, several at one second included, whatever order they came in."""
    start_s, end_s = edges
    exact = sum(Fraction(each.value, ONE) for each in events if start_s <= each.second < end_s)
    total = meter_values.aggregated("sum", None, events, start_s, end_s)
    assert Fraction(total, ONE) == exact
    assert meter_values.aggregated("sum", None, events[::-1], start_s, end_s) == total


@given(EVENTS, EDGES, st.sampled_from(["hour", "day"]))
def test_a_window_keeps_what_came_last(events: list[Usage], edges: list[int], window: str) -> None:
    """In a pre-aggregated window only the event received last counts, for the range that its own second lies in."""
    start_s, end_s = edges
    length_s = {"hour": HOUR_S, "day": 86_400}[window]
    kept: dict[int, Usage] = {}
    for each in events:
        kept[each.second - each.second % length_s] = each
    expected = sum(each.value for each in kept.values() if start_s <= each.second < end_s)
    assert meter_values.aggregated("sum", window, events, start_s, end_s) == expected


@given(EVENTS, EDGES, st.sampled_from([None, "hour", "day"]), st.sampled_from(["sum", "count", "last"]))
def test_the_bounds_hold_all_that_decides(events: list[Usage], edges: list[int], window: str | None, formula: str) -> None:
    """Events outside of the bounds never change a range's total."""
    start_s, end_s = edges
    first, beyond = meter_values.bounds(window, start_s, end_s)
    inside = [each for each in events if first <= each.second < beyond]
    assert first <= start_s <= end_s <= beyond
    assert meter_values.aggregated(formula, window, inside, start_s, end_s) == meter_values.aggregated(formula, window, events, start_s, end_s)


def test_count_and_last() -> None:
    """`count` counts events, `last` takes the greatest second and of equal ones the event received last; without events both are 0."""
    events = [Usage(10, 5), Usage(30, 7), Usage(20, 9), Usage(30, 4)]
    assert meter_values.aggregated("count", None, events, 0, 100) == 4 * ONE
    assert meter_values.aggregated("last", None, events, 0, 100) == 4
    assert meter_values.aggregated("last", None, events, 0, 30) == 9
    assert meter_values.aggregated("last", None, [], 0, 100) == meter_values.aggregated("count", None, [], 0, 100) == 0


def test_corrections_may_go_below_zero() -> None:
    """A range whose events add up to less than zero says so: only an invoice shows it as 0."""
    assert meter_values.aggregated("sum", None, [Usage(1, 2 * ONE), Usage(1, -5 * ONE)], 0, 2) == -3 * ONE
