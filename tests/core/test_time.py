"""Instants, grids and billing periods: whole numbers, UTC, no rounding."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.instants import format_us, parse_us
from topics.periods import INTERVALS, Interval, edge, period_at
from topics.windows import DAY_S, Window, grid_start, is_window_size, next_common_boundary, parse_window_key, window_key

SIZES = [size for size in range(10, DAY_S + 1) if is_window_size(size)]
HOSTILE = st.text(alphabet=st.sampled_from("a|%7C25\\é\x00 "), min_size=1, max_size=12)


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-1439, 1439))
def test_an_instant_is_read_in_any_zone(moment: datetime, offset_min: int) -> None:
    """RFC 3339 with any offset names the same microsecond, also before 1970 and in year 1."""
    wanted = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_us(format_us(wanted)) == wanted
    try:
        local = moment.astimezone(timezone(timedelta(minutes=offset_min)))
    except OverflowError:
        return
    assert parse_us(local.isoformat()) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-11-21", "2026-11-21T10:00:00", "2026-11-21T10:00:60Z", "2026-02-30T00:00:00Z",
        "2026-11-21T24:00:00Z", "2026-11-21T10:00:00+24:00", "0000-01-01T00:00:00Z", "2026-11-21T10:00:00.Z", "１026-11-21T10:00:00Z",
    ],
)
def test_what_is_no_instant_is_none(text: str) -> None:
    """No zone, second 60, a day that is not in the calendar: none of them is guessed at."""
    assert parse_us(text) is None


def test_digits_beyond_the_microsecond_are_cut() -> None:
    """Rounding up could carry an event over a window's edge; the digits are cut."""
    assert parse_us("1970-01-01T00:00:00.9999999999Z") == 999_999


@given(st.integers(-(10**11), 10**11), st.sampled_from(SIZES))
def test_each_instant_lies_in_exactly_one_cell(instant_s: int, size_s: int) -> None:
    """Cells are half-open, aligned at midnight UTC, and cover all time."""
    start = grid_start(instant_s, size_s)
    assert start <= instant_s < start + size_s
    assert start % size_s == 0
    assert grid_start(start - 1, size_s) == start - size_s


@given(st.integers(0, 10**10), st.lists(st.sampled_from(SIZES), min_size=1, max_size=3))
def test_a_common_boundary_is_the_first_one(at_s: int, sizes: list[int]) -> None:
    """The next common boundary is a boundary of all grids, at or after the instant, within a day."""
    boundary = next_common_boundary(at_s, sizes)
    assert at_s <= boundary < at_s + DAY_S
    assert all(boundary % size == 0 for size in sizes)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.integers(-5, 5), st.integers(-5, 5))
def test_window_keys_are_injective(customer: str, meter: str, other: str, other_meter: str, start: int, end: int) -> None:
    """Two windows never share a key, whatever is in the customer's name (H17), and a key names its window."""
    one, two = Window(customer, meter, start, end), Window(other, other_meter, start, end)
    assert (window_key(one) == window_key(two)) == (one == two)
    assert parse_window_key(window_key(one)) == one


@given(st.integers(0, 4 * 10**9), st.sampled_from(INTERVALS), st.integers(1, 6), st.integers(0, 4 * 10**9))
def test_each_instant_lies_in_exactly_one_period(anchor_s: int, interval: Interval, count: int, instant_s: int) -> None:
    """Periods of a cycle are half-open, touch each other, and the anchor is an edge."""
    period = period_at(anchor_s, interval, count, instant_s)
    assert period.start_s <= instant_s < period.end_s
    assert period_at(anchor_s, interval, count, period.end_s).start_s == period.end_s
    assert period_at(anchor_s, interval, count, period.start_s - 1).end_s == period.start_s
    assert edge(anchor_s, interval, count, 0) == anchor_s


def test_a_month_end_anchor_returns_to_the_31st() -> None:
    """Anchored on 31 January, the cycle bills on 28 February and again on 31 March (Stripe's rule)."""
    anchor = (parse_us("2026-01-31T10:23:45Z") or 0) // 10**6
    days = [format_us(edge(anchor, "month", 1, k) * 10**6) for k in (1, 2, 3)]
    assert days == ["2026-02-28T10:23:45Z", "2026-03-31T10:23:45Z", "2026-04-30T10:23:45Z"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("0001-01-01T00:00:00+14:00", "0000-12-31T10:00:00Z"), ("9999-12-31T23:59:59-12:00", "10000-01-01T11:59:59Z")],
)
def test_instants_past_the_calendar_are_said_and_have_a_period(text: str, said: str) -> None:
    """An event at either end of the years that can be written crashes neither the sentence about it nor the search for its period."""
    instant_us = parse_us(text)
    assert instant_us is not None
    assert format_us(instant_us) == said
    for interval in ("day", "week", "month", "year"):
        start_s, end_s = period_at(1_700_000_000, interval, 1, instant_us // 1_000_000)
        assert start_s <= instant_us // 1_000_000 < end_s
