"""Which usage timestamps the sandbox takes, and what a period's cells add up to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox import usage
from infra.sandbox.errors import ApiError
from infra.sandbox.knobs import Knobs
from infra.sandbox.periods import Period

FIRST = Period(0, 10_000, 20_000)
SECOND = Period(1, 20_000, 30_000)
STRICT = Knobs(grace_s=0, future_s=0)
CELLS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2**62)), max_size=30)


@pytest.mark.parametrize(
    ("second", "now_s", "period", "aggregate", "knobs", "rule"),
    [
        (25_000, 25_000, SECOND, "sum", STRICT, None),
        (20_001, 25_000, SECOND, "sum", STRICT, None),
        (20_000, 25_000, SECOND, "sum", STRICT, "usage.before_period"),
        (20_000, 25_000, SECOND, "sum", Knobs(period_start_taken=True), None),
        (19_999, 20_100, SECOND, "sum", Knobs(), None),
        (20_000, 20_000, SECOND, "sum", Knobs(), None),
        (19_999, 20_100, SECOND, "sum", STRICT, "usage.before_period"),
        (19_999, 20_100, SECOND, "max", Knobs(), "usage.before_period"),
        (19_999, 20_100, SECOND, "last_during_period", Knobs(), "usage.before_period"),
        (19_999, 20_300, SECOND, "sum", Knobs(), "usage.before_period"),
        (19_699, 20_100, SECOND, "sum", Knobs(), "usage.before_period"),
        (19_700, 20_100, SECOND, "sum", Knobs(), None),
        (9_999, 10_100, FIRST, "sum", Knobs(), "usage.before_period"),
        (10_000, 10_000, FIRST, "sum", Knobs(), "usage.before_period"),
        (25_001, 25_000, SECOND, "sum", STRICT, "usage.future"),
        (25_300, 25_000, SECOND, "sum", Knobs(), None),
        (25_301, 25_000, SECOND, "sum", Knobs(), "usage.future"),
        (30_000, 29_900, SECOND, "sum", Knobs(), None),
        (30_001, 29_900, SECOND, "sum", Knobs(), "usage.after_period"),
        (30_000, 29_900, SECOND, "sum", Knobs(period_start_taken=True), "usage.after_period"),
    ],
)
def test_timestamps(second: int, now_s: float, period: Period, aggregate: str, knobs: Knobs, rule: str | None) -> None:
    """A timestamp is taken in the current period, in the grace of `sum` at its edge and within the future tolerance, nowhere else."""
    refusal = usage.refusal(second, now_s=now_s, period=period, aggregate=aggregate, knobs=knobs)
    assert (None if refusal is None else refusal.rule) == rule
    if refusal is not None:
        assert (refusal.status, refusal.param, refusal.code) == (400, "timestamp", None)


def test_the_words_of_a_late_timestamp_are_stripes() -> None:
    """The refusal before the period has the words that callers in the field match on."""
    refusal = usage.refusal(1, now_s=25_000, period=SECOND, aggregate="sum", knobs=STRICT)
    assert refusal is not None
    assert refusal.message == (
        "Cannot create the usage record with this timestamp because timestamps must be after the subscription's last invoice period "
        "(or current period start time)."
    )


@given(st.integers(9_990, 40_010), st.booleans())
def test_each_second_belongs_to_one_period(second: int, taken: bool) -> None:
    """No second is counted in two periods or, between the first and the last, in none."""
    knobs = Knobs(period_start_taken=taken)
    holding = [p.index for p in (FIRST, SECOND, Period(2, 30_000, 40_000)) if usage.holds(p, second, knobs)]
    inside = 10_000 <= second < 40_000 if taken else 10_000 < second <= 40_000
    assert len(holding) == (1 if inside else 0)


@given(CELLS)
def test_aggregates_equal_their_definition(records: list[tuple[int, int]]) -> None:
    """Each aggregate equals its definition on the cells sorted by time."""
    cells = sorted(dict(records).items())
    assert usage.aggregated("sum", cells) == sum(q for _, q in cells)
    assert usage.aggregated("max", cells) == max((q for _, q in cells), default=0)
    assert usage.aggregated("last_during_period", cells) == (dict(records)[max(dict(records))] if records else 0)


def test_an_increment_never_wraps() -> None:
    """A cell that would leave 64 bits is refused instead of becoming another number."""
    assert usage.incremented(2**63 - 2, 1) == 2**63 - 1
    with pytest.raises(ApiError):
        usage.incremented(2**63 - 1, 1)
