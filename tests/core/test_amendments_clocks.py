"""Amendments of customers who live by a test clock, which may be long before the log's now: what acts hangs on the log, never on flushes."""

from __future__ import annotations

import random

import pytest

from tests.core.amend_world import amend, correct_data, entry, void_data
from tests.core.meterlog import NOW_MS, fresh
from tests.core.test_clocks import LATE, OLD, PLAIN, THEN_S, Bench, facts_of, item
from topics.amendments import NO_ROW
from topics.meters import Meter

CALLS = Meter(slug="calls", event_type="api.request", window_s=3600)


def amended(bench: Bench, offset: int, at_s: int, delta: str, customer: str = OLD) -> None:
    """An event's first amendment."""
    data = void_data(offset, [entry(CALLS, at_s, delta)], kind="set")
    bench.log.add(customer.encode(), amend(customer, data, at_s, f"a{bench.log.end}"), bench.stamp_ms)


@pytest.mark.parametrize("restarts", [False, True])
def test_of_two_amendments_in_a_clocks_past_one_acts(restarts: bool) -> None:
    """The clock is 300 days before the log's now: a flush, or a restart, between two amendments of one event forgets nothing of the first."""
    bench = Bench()
    bench.clock(THEN_S)
    offset = bench.event(THEN_S + 10)
    bench.event(THEN_S + 20)
    amended(bench, offset, THEN_S + 10, "-1")
    assert bench.fold() == []
    if restarts:
        bench.partition = fresh(bench.disk, bench.rng)
    amended(bench, offset, THEN_S + 10, "-0.5")
    assert bench.fold() == ["bad_control"]
    (row,) = bench.partition.state.rows.of_customer(OLD, ["calls"])
    assert (row.scaled, row.events) == (10**12, 3)
    bench.partition = fresh(bench.disk, bench.rng)
    assert len(bench.partition.state.amended.links()) == 1


def random_log(seed: int) -> Bench:
    """Customers who get, change and lose clocks, their usage, and amendments of events and of windows, many of them stale or too late."""
    rng, bench = random.Random(seed), Bench()
    names = {OLD: "clock_1", PLAIN: "", LATE: ""}
    shown = {"clock_1": rng.choice((THEN_S, NOW_MS // 1000 - 86_400)), "clock_2": THEN_S + 5 * 86_400}
    events: list[tuple[int, int, str]] = []
    for _ in range(300):
        bench.stamp_ms += rng.choice((0, 10, 1000, 60_000, 7_200_000))
        customer, turn = rng.choice((OLD, OLD, PLAIN, LATE)), rng.random()
        at_s = shown.get(names[customer], bench.stamp_ms // 1000) - rng.choice((-200, 0, 100, 5000, 150_000, 400_000))
        if turn < 0.12:
            clock = rng.choice(("clock_1", "clock_2"))
            shown[clock] += rng.choice((-50, 10, 3600, 40_000, 200_000))
            bench.clock(shown[clock], customer, clock)
        elif turn < 0.17:
            names[customer] = rng.choice(("", "clock_1", "clock_2"))
            bench.bind(customer, item(item=f"si_{customer}", clock=names[customer], price=str(rng.random())))
        elif turn < 0.35 and events:
            offset, at_s, customer = rng.choice(events[-40:])
            amended(bench, offset, at_s, rng.choice(("0", "-1", "1")), customer)
        elif turn < 0.45:
            data = correct_data([entry(CALLS, at_s, "1", (NO_ROW, NO_ROW))])
            bench.log.add(customer.encode(), amend(customer, data, at_s // 3600 * 3600, f"a{bench.log.end}"), bench.stamp_ms)
        else:
            events.append((bench.event(at_s, customer), at_s, customer))
    return bench


@pytest.mark.parametrize("seed", range(16))
def test_what_acts_is_a_function_of_the_log(seed: int) -> None:
    """Cut anywhere, killed anywhere, let go at any time: each amendment acts or is refused with the same words, each window counts alike."""
    bench = random_log(seed)
    verdicts, published, totals = facts_of(bench, random.Random(seed), 0.0)
    again, published_again, totals_again = facts_of(bench, random.Random(seed + 1000), 0.3)
    assert {at: (held, again.get(at)) for at, held in verdicts.items() if again.get(at) != held} == {}
    assert (again, published_again, totals_again) == (verdicts, published, totals)
    assert sum('"amendment"' in key for key in published) > 2
