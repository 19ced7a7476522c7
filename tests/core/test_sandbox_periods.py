"""Billing periods roll as Stripe documents it: from the anchor, a missing day becomes the month's last."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox.errors import ApiError
from infra.sandbox.periods import Schedule, edge, opened

SECONDS = st.integers(946_684_800, 4_102_444_800)  # 2000 … 2100
INTERVALS = st.sampled_from([("day", 1), ("day", 10), ("week", 1), ("week", 2), ("month", 1), ("month", 3), ("year", 1), ("year", 2)])


def _second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _naive_edge(anchor: int, interval: str, count: int, k: int) -> int:
    """Month by month and day by day, without arithmetic on month numbers."""
    at = datetime.fromtimestamp(anchor, UTC)
    if interval in {"day", "week"}:
        return anchor + k * count * (7 if interval == "week" else 1) * 24 * 3600
    year, month = at.year, at.month
    for _ in range(k * count * (12 if interval == "year" else 1)):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    for day in (at.day, 30, 29, 28):
        try:
            return int(at.replace(year=year, month=month, day=min(day, at.day)).timestamp())
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def test_the_thirty_first_of_january() -> None:
    """An anchor of January 31 bills on the last day of February, then on March 31 again: Stripe's own example."""
    anchor = _second("2026-01-31T10:23:45")
    edges = [edge(anchor, "month", 1, k) for k in range(4)]
    assert edges == [anchor, _second("2026-02-28T10:23:45"), _second("2026-03-31T10:23:45"), _second("2026-04-30T10:23:45")]
    assert edge(_second("2024-01-31T00:00:00"), "month", 1, 1) == _second("2024-02-29T00:00:00")


def test_the_twenty_ninth_of_february() -> None:
    """A yearly anchor on a leap day bills on February 28 in the years that lack it, and on the 29th where there is one."""
    anchor = _second("2024-02-29T12:00:00")
    assert [edge(anchor, "year", 1, k) for k in (1, 4)] == [_second("2025-02-28T12:00:00"), _second("2028-02-29T12:00:00")]


@given(SECONDS, INTERVALS, st.integers(0, 60))
def test_edges_equal_a_walk_through_the_calendar(anchor: int, interval: tuple[str, int], k: int) -> None:
    """Every edge equals the one found by walking the calendar month by month."""
    assert edge(anchor, *interval, k) == _naive_edge(anchor, *interval, k)


@given(created=SECONDS, back=st.integers(0, 40_000_000), interval=INTERVALS, later=st.integers(0, 400_000_000), anchored=st.floats(0.01, 1))
def test_each_instant_lies_in_exactly_one_period(created: int, back: int, interval: tuple[str, int], later: int, anchored: float) -> None:
    """Periods leave no gap and do not overlap, the first begins at the start date, and an instant is found in the one that holds it."""
    anchor = created + max(1, int((edge(created, *interval, 1) - created) * anchored))
    for chosen in (None, anchor):
        schedule = opened(created=created, start=created - back, anchor=chosen, interval=interval[0], count=interval[1], backdated_usage=True)
        found = schedule.at(created + later)
        assert found.start <= created + later < found.end
        assert schedule.period(found.index) == found
        assert schedule.period(found.index + 1).start == found.end
        assert schedule.period(0).start == created - back
        assert schedule.at(created).index == 0
        assert schedule.at(0).index == 0


def test_a_backdated_subscription_without_anchor_is_anchored_now() -> None:
    """Backdating moves the start date, not the anchor; the knob decides whether the first period takes the usage before now."""
    taken = opened(created=1_700_000_000, start=1_699_000_000, anchor=None, interval="month", count=1, backdated_usage=True)
    refused = opened(created=1_700_000_000, start=1_699_000_000, anchor=None, interval="month", count=1, backdated_usage=False)
    assert (taken.anchor, taken.period(0).start) == (1_700_000_000, 1_699_000_000)
    assert (refused.anchor, refused.period(0).start) == (1_700_000_000, 1_700_000_000)
    assert taken.period(0).end == refused.period(0).end == edge(1_700_000_000, "month", 1, 1)


@pytest.mark.parametrize(
    ("start", "anchor", "param"),
    [
        (1_700_000_001, None, "backdate_start_date"),
        (None, 1_700_000_000, "billing_cycle_anchor"),
        (None, 1_700_000_000 + 32 * 86_400, "billing_cycle_anchor"),
    ],
)
def test_impossible_beginnings_are_refused(start: int | None, anchor: int | None, param: str) -> None:
    """A start in the future, an anchor in the past and an anchor beyond the next natural billing date are refused by name."""
    with pytest.raises(ApiError) as caught:
        opened(created=1_700_000_000, start=start, anchor=anchor, interval="month", count=1, backdated_usage=True)
    assert caught.value.param == param


def test_an_instant_before_the_first_period_belongs_to_it() -> None:
    """A clock set back before the subscription sees its first period, not a negative one."""
    assert Schedule(1000, 2000, "day", 1, 0).at(5).index == 0
