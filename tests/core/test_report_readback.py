"""What a read-back concludes from one total, and the clock by which an intent grows old (C7, law 13)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sinks.readback import MOST_COMBINATIONS, Doubt, Summary, conclude, summary_of
from sinks.stripe.agent_clock import SteadyClock

UNITS = st.integers(0, 9)


@given(st.lists(st.tuples(st.lists(UNITS, min_size=1, max_size=3), UNITS), min_size=1, max_size=5), st.integers(0, 100), st.data())
def test_a_conclusion_is_never_wrong(cells: list[tuple[list[int], int]], certain: int, data: st.DataObject) -> None:
    """Whatever really stands, a cell called landed holds its new units and one called not landed does not."""
    doubts = [Doubt(str(number), tuple({*options, new}), new) for number, (options, new) in enumerate(cells)]
    truth = [data.draw(st.sampled_from(doubt.options)) for doubt in doubts]
    found = conclude(certain + sum(truth), certain, doubts)
    for doubt, stands in zip(doubts, truth, strict=True):
        assert found[doubt.name] != "unexplained"
        assert found[doubt.name] != "landed" or stands == doubt.new
        assert found[doubt.name] != "not_landed" or stands != doubt.new


def test_what_nothing_explains_is_said_so() -> None:
    """A total that no combination gives, and more combinations than may be tried, are not explained."""
    assert conclude(100, 0, [Doubt("a", (0, 7), 7)]) == {"a": "unexplained"}
    many = [Doubt(str(number), (0, 1), 1) for number in range(MOST_COMBINATIONS.bit_length())]
    assert set(conclude(3, 0, many).values()) == {"unexplained"}


def test_a_single_doubt_is_decided() -> None:
    """One uncertain cell is decided by the total, and two that look the same are not told apart."""
    assert conclude(12, 5, [Doubt("a", (0, 7), 7)]) == {"a": "landed"}
    assert conclude(5, 5, [Doubt("a", (0, 7), 7)]) == {"a": "not_landed"}
    assert conclude(12, 5, [Doubt("a", (0, 7), 7), Doubt("b", (0, 7), 7)]) == {"a": "either", "b": "either"}


def test_a_second_belongs_to_the_period_that_it_ends() -> None:
    """Stripe takes timestamps after a period's start, so its last second is its end."""
    periods = [Summary(20, 30, 0), Summary(10, 20, 0)]
    assert summary_of(periods, 20) == periods[1]
    assert summary_of(periods, 21) == periods[0]
    assert summary_of(periods, 10) is None


@given(st.lists(st.tuples(st.integers(-10_000, 10_000), st.integers(0, 10_000)), max_size=20))
def test_the_clock_never_shows_less_than_has_passed(steps: list[tuple[int, int]]) -> None:
    """Whatever is done to the wall clock, between two readings at least as much time is shown as the counter and the wall clock say."""
    wall, counter = 1_700_000_000_000, 5
    clock = SteadyClock(lambda: wall, lambda: counter)
    before = clock.now_ms()
    for set_by, passed in steps:
        counter += passed
        wall += passed + set_by
        now = clock.now_ms()
        assert now - before >= passed
        assert now >= wall
        before = now
