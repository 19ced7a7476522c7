"""When to try again, when to stop trying, how fast to go (law 15); how far the source may be committed (law 13)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.coverage import Coverage
from sinks.limiter import TokenBucket
from sinks.retry import FIRST_MS, MOST_MS, TRIP_AFTER, Breaker, delay_ms
from tests.core.report_world import total_of


@given(st.integers(1, 10_000), st.text(max_size=9))
def test_waits_grow_to_a_limit_and_never_below_half(tries: int, seed: str) -> None:
    """Each wait lies between half of its step and the whole of it, and the step doubles up to a minute."""
    step = min(MOST_MS, FIRST_MS * 2 ** min(tries - 1, 20))
    assert step // 2 <= delay_ms(tries, seed) <= step
    assert delay_ms(tries, seed) == delay_ms(tries, seed)


def test_jitter_spreads() -> None:
    """Cells that failed together come back apart."""
    assert len({delay_ms(8, f"cell {number}") for number in range(100)}) > 90


def test_a_breaker_lets_one_probe_through() -> None:
    """After some failures in a row only one call at a time is tried, after a wait; an answer closes the breaker."""
    breaker = Breaker("seed")
    for _ in range(TRIP_AFTER):
        assert breaker.may_call(0)
        breaker.started()
        breaker.failed(0)
    assert breaker.is_open and not breaker.may_call(0)
    at_ms = breaker.probe_at_ms
    assert breaker.may_call(at_ms)
    breaker.started()
    assert not breaker.may_call(at_ms), "one probe at a time"
    breaker.failed(at_ms)
    assert breaker.probe_at_ms > at_ms
    breaker.started()
    breaker.answered()
    assert breaker.may_call(at_ms) and not breaker.is_open


def test_stragglers_do_not_lengthen_the_wait() -> None:
    """Calls that were under way when the breaker opened say nothing new when they fail too."""
    breaker = Breaker("seed")
    for _ in range(TRIP_AFTER + 11):
        breaker.failed(0)
    assert breaker.probe_at_ms <= FIRST_MS


@given(st.integers(1, 2000), st.lists(st.integers(0, 400), min_size=5, max_size=60), st.integers(0, 2**32))
def test_the_bucket_never_lets_more_through(rate: int, gaps: list[int], seed: int) -> None:
    """Over any stretch of time no more calls start than the rate allows, and a quarter of a second's worth."""
    chance = random.Random(seed)
    bucket = TokenBucket(rate)
    now_ms, spent = 0, 0
    for gap in gaps:
        now_ms += gap
        calls = min(bucket.available(now_ms), chance.randrange(1, 50))
        bucket.spend(calls)
        spent += calls
        assert spent <= rate * now_ms / 1000 + max(1, rate * 0.25) + 1e-6


@given(st.integers(1, 300), st.lists(st.integers(0, 400), min_size=5, max_size=60), st.integers(0, 2**32))
def test_no_second_holds_more_calls_than_the_rate(rate: int, gaps: list[int], seed: int) -> None:
    """From whatever instant on: within any second no more calls start than a second's worth, also after a pause in which some had piled up."""
    chance = random.Random(seed)
    bucket = TokenBucket(rate)
    now_ms, starts = 0, list[int]()
    for gap in gaps:
        now_ms += gap
        calls = min(bucket.available(now_ms), chance.randrange(1, 400))
        bucket.spend(calls)
        starts += [now_ms] * calls
        assert sum(at_ms > now_ms - 1000 for at_ms in starts) <= rate
        assert bucket.used(now_ms) == sum(at_ms > now_ms - 1000 for at_ms in starts)


def test_the_shares_of_workers_add_up_to_the_rate() -> None:
    """Three workers with a third of the partitions each make no more calls together than one alone may; one that has all again has all of them."""
    bucket = TokenBucket(100)
    bucket.share(1 / 3)
    made = 0
    for now_ms in range(0, 10_000, 10):
        calls = bucket.available(now_ms)
        bucket.spend(calls)
        made += calls
    assert 0.95 * 100 / 3 * 10 <= made <= 100 / 3 * 10 + 100 * 0.25 / 3
    bucket.share(1.0)
    assert bucket.rate == bucket.full == 100


@pytest.mark.parametrize(("rate", "workers"), [(20, 12), (5, 4), (20, 16), (80, 12), (25, 4), (2, 4)])
def test_no_part_of_the_rate_is_lost_where_a_share_is_no_whole_number(rate: int, workers: int) -> None:
    """Twelve workers that share 20 calls a second have 1.67 each, not 1: together they make 95 % of what one alone may, and no more than that."""
    buckets = [TokenBucket(rate) for _ in range(workers)]
    made = 0
    for bucket in buckets:
        bucket.share(1 / workers)
    for now_ms in range(0, 60_000, 10):
        for bucket in buckets:
            calls = bucket.available(now_ms)
            bucket.spend(calls)
            made += calls
    assert 0.95 * rate * 60 <= made <= rate * 60 + max(workers, rate * 0.25)


def test_waiting_as_long_as_told_brings_a_token() -> None:
    """After `wait_ms` a call may start, at any rate."""
    for rate in (0.5, 3, 80, 1000):
        bucket = TokenBucket(rate)
        now_ms = 0
        for _ in range(300):
            now_ms += bucket.wait_ms(now_ms)
            assert bucket.available(now_ms) >= 1
            bucket.spend(1)


def test_a_429_halves_the_rate_once_and_it_comes_back() -> None:
    """Sixteen refusals of one moment halve the rate once; within ten seconds it is whole again."""
    bucket = TokenBucket(100)
    for _ in range(16):
        bucket.limited(1_000)
    assert 50 <= bucket.rate < 51
    bucket.available(12_000)
    assert bucket.rate == 100


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.booleans()), max_size=60))
def test_nothing_uncovered_is_committable(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever is seen and covered in whatever order, the committable offset never passes a record that no receipt holds."""
    coverage = Coverage(0)
    model: dict[int, tuple[str, tuple[int, int]]] = {}
    offset = 0
    for window, through, covers in steps:
        if covers:
            coverage.cover(f"w{window}", (1, through))
            model = {at: held for at, held in model.items() if not (held[0] == f"w{window}" and held[1] <= (1, through))}
        else:
            coverage.seen(f"w{window}", total_of("a", 0, 0, through), None, offset)
            model[offset] = (f"w{window}", (1, through))
            offset += 1
            coverage.next_offset = offset
        assert coverage.committable == min(model, default=offset)
        assert [entry[0] for entry in coverage.pending()] == sorted(model)
