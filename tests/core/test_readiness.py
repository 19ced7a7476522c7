"""When a running worker is not ready: each alarm begins at its limit and not before, says what, since when and what to do, and ends by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.plan import Probe, Spec
from infra.embedded.probes import Answer
from infra.embedded.supervision import Action, Policy, Supervised, observe, started, step
from infra.embedded.supervisor import Child
from infra.readiness import CONFIRM_S, Limits, Memory, Now, look, spoken
from streams.closing import Closing
from streams.rows import Row, revision
from streams.state import PartitionState
from topics.meters import BEGINNING_S, Meter, MeterVersion, Timing, TimingVersion
from topics.windows import Window

LIMITS = Limits(undelivered_s=900.0, standstill_s=300.0)
WALL_S = 1_795_000_000.0


def report(**changes: Any) -> dict[str, Any]:
    """A report's word: nothing is late, nothing waits."""
    quiet = {"kind": "report", "partitions": [{"partition": 0, "next_offset": 10, "end_offset": 10}], "windows": {"undelivered": 3}}
    return {**quiet, "oldest_undelivered_s": None, "waiting": None} | changes


def meter(durable_offset: int, end_offset: int, **changes: Any) -> dict[str, Any]:
    """A meter's word about one partition."""
    line = {"partition": 2, "next_offset": end_offset, "durable_offset": durable_offset, "end_offset": end_offset, "residual": 0}
    return {"kind": "meter", "partitions": [line | changes], "windows": {"due": 0}, "oldest_undelivered_s": None}


def watched(says: Callable[[float], dict[str, Any]], until_s: float, *, step_s: float = 2.0, is_asked: bool = True) -> dict[float, list[str]]:
    """The alarms of every look from 0 to `until_s`, by its time."""
    memory, found, at_s = Memory(), {}, 0.0
    while at_s <= until_s:
        memory, alarms = look(memory, says(at_s), Now(at_s, WALL_S + at_s), LIMITS, is_asked=is_asked)
        found[at_s] = alarms
        at_s += step_s
    return found


def first(found: dict[float, list[str]]) -> float | None:
    """When the first alarm rose."""
    return next((at_s for at_s, alarms in found.items() if alarms), None)


def test_a_provider_outage_is_an_alarm_after_the_limit_and_ends_by_itself() -> None:
    """With a provider that answers nothing for half an hour the alarm rises once the limit has lasted, and goes with the first look after."""
    waiting = "https://api.stripe.com has not answered 7 calls in a row"

    def says(at_s: float) -> dict[str, Any]:
        return report(oldest_undelivered_s=at_s, waiting=waiting) if at_s < 1800 else report()

    found = watched(says, 1900)
    assert first(found) == 900 + CONFIRM_S + 2
    (sentence,) = found[1700]
    assert "3 windows are undelivered, the oldest for 28m, since 2026-11-1" in sentence
    assert waiting in sentence
    assert "limit 15m" in sentence
    assert "tidemark windows --state undelivered" in sentence
    assert found[1800] == found[1900] == []


def test_a_window_that_was_bound_after_days_is_no_alarm() -> None:
    """A window that is days old when it first can be delivered, and is within seconds, raises nothing."""
    found = watched(lambda at_s: report(oldest_undelivered_s=400_000.0) if 10 <= at_s < 10 + CONFIRM_S else report(), 200)
    assert first(found) is None


def test_the_meter_says_how_much_is_not_counted() -> None:
    """Due windows that are not emitted name the records that are to be counted first."""
    found = watched(lambda at_s: meter(40, 100 + int(at_s)) | {"oldest_undelivered_s": 1000.0, "windows": {"due": 6}}, 100)
    assert first(found) == CONFIRM_S
    assert "6 windows are due" in found[100][0]
    assert "160 records are not" in found[100][0]


def test_a_residual_is_an_alarm_at_once() -> None:
    """A residual that is not 0 needs no patience, and names its partition and the command that finds the cause."""
    (sentence,) = watched(lambda _: meter(10, 10, residual=-2), 0)[0]
    assert "partition 2: the residual is -2" in sentence
    assert "tidemark audit --partition 2" in sentence


def test_standing_still_with_lag_is_an_alarm() -> None:
    """A partition whose offset has not moved for the limit while records wait is named, with how many and since when."""
    found = watched(lambda at_s: meter(min(50, int(at_s)), 100), 400)
    assert first(found) == 50 + 300
    (sentence,) = found[400]
    assert "partition 2: 50 records wait" in sentence
    assert re.search(r"for 5m, since 2026-\d\d-\d\dT\d\d:\d\d:\d\dZ \(limit 5m\)", sentence)


@given(moves=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_whatever_moves_within_the_limit_never_stands_still(moves: list[tuple[int, int]]) -> None:
    """An alarm of a standstill is there exactly where the offset stood and there was lag in every look of the last limit."""
    done = end = 0
    history: list[tuple[int, int]] = []
    memory = Memory()
    for number, (more_done, more_end) in enumerate(moves):
        end += more_end
        done = min(end, done + more_done)
        history.append((done, end))
        now = Now(number * 100.0, WALL_S)
        memory, alarms = look(memory, meter(done, end), now, LIMITS, is_asked=True)
        last = history[-4:]
        stuck = len(last) == 4 and all(d == done and e > d for d, e in last)
        assert bool(alarms) == stuck


def test_raw_events_wait_for_the_meter_without_an_alarm() -> None:
    """The archive's raw events are held against the meter's mark, so a meter that stands does not make the archive look stuck."""
    line = {"topic": "usage.events", "partition": 1, "archived_offset": 50, "end_offset": 900}
    assert first(watched(lambda _: {"kind": "archive", "partitions": [line | {"marked_offset": 50}]}, 1000)) is None
    waiting = "ClickHouse at http://c does not answer"
    stuck = watched(lambda _: {"kind": "archive", "partitions": [line | {"marked_offset": 60}], "waiting": waiting}, 1000)
    assert first(stuck) == 300
    assert "usage.events partition 1: 10 records wait" in stuck[1000][0]
    assert waiting in stuck[1000][0]


def test_not_knowing_the_end_of_the_log_is_an_alarm() -> None:
    """Where Kafka does not say for the limit where its log ends, lag is not taken for 0."""
    found = watched(lambda _: meter(10, 10), 400, is_asked=False)
    assert first(found) == 300
    assert "is Kafka up?" in found[400][0]
    memory, alarms = look(Memory(asked_s=0.0), meter(10, 10), Now(1000.0, WALL_S), LIMITS, is_asked=True)
    assert (alarms, memory.asked_s) == ([], 1000.0)


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0.4s"), (5.9, "5s"), (119, "119s"), (120, "2m"), (900, "15m"), (8000, "2h"), (259_200, "3d")])
def test_durations_are_said_shortly(seconds: float, words: str) -> None:
    """A duration is said in the largest unit of which it has two, never rounded up."""
    assert spoken(seconds) == words


def test_a_worker_is_not_killed_for_what_it_says_of_others() -> None:
    """A worker that is not ready for an hour but alive is left alone by the supervisor, and a stack with it counts as having come up."""
    child = Child(Spec(name="report", command=("x",), environment={}, probe=Probe("http", 1), http="http://127.0.0.1:1"))
    child.supervised = started(Supervised(), 0.0)
    for second in range(3600):
        status = report(alarms=["3 windows are undelivered"], progress=second, partitions=[{"partition": 0, "next_offset": 1, "end_offset": 9}])
        child.answer = Answer(is_live=True, is_ready=False, status=status)
        child.supervised, action = step(child.supervised, observe(None, True, status, False), float(second), Policy())
        assert action is Action.WAIT
    assert child.is_settled()
    child.answer = Answer(is_live=True, is_ready=False, status=report(alarms=[]))
    assert not child.is_settled()


def closing_world(delay_ms: int = 60_000) -> tuple[PartitionState, Closing]:
    """A partition with one meter of ten-second windows and one second of grace."""
    state = PartitionState(0, 1, bytes(16))
    one = Meter(slug="m", event_type="e", window_s=10, grace_ms=1000)
    state.definitions.apply(TimingVersion(timing=Timing(revision_delay_ms=delay_ms), offset=0, digest="d"))
    state.definitions.apply(MeterVersion(meter=one, valid_from_s=BEGINNING_S, offset=0, digest="d"))
    return state, Closing(state.rows)


def row_of(state: PartitionState, start_s: int, offset: int) -> Row:
    """A row of the meter that holds one event."""
    row = Row(Window("c", "m", start_s, start_s + 10))
    state.rows.add(row)
    row.events, row.first_offset, row.rev = 1, offset, revision(0, offset)
    return row


def test_the_oldest_due_window_is_due_since_its_end_and_grace() -> None:
    """A window is due since its end and grace until it is emitted, whether it still waits for its barrier or is ready."""
    state, closing = closing_world()
    early, later = row_of(state, 0, 0), row_of(state, 10, 1)
    closing.touch(np.array([early.slot, later.slot]))
    closing.tick(state, 2, 5_000, None)
    assert closing.oldest_due_ms(5_000) is None
    closing.tick(state, 0, 30_000, None)
    assert closing.oldest_due_ms(30_000) == 11_000
    closing.tick(state, 2, 31_000, 2)
    assert closing.oldest_due_ms(31_000) == 11_000
    early.emitted = early.rev
    closing.emitted(np.array([early.slot]))
    assert closing.oldest_due_ms(31_000) == 21_000
    later.emitted = later.rev
    closing.emitted(np.array([later.slot]))
    assert closing.oldest_due_ms(31_000) is None


def test_a_correction_is_due_when_its_merging_is_over() -> None:
    """A late event's revision is merged for `revision_delay`, and is due only from then on."""
    state, closing = closing_world(delay_ms=60_000)
    row = row_of(state, 0, 0)
    row.emitted, row.rev = row.rev, revision(0, 5)
    closing.touch(np.array([row.slot]))
    closing.tick(state, 6, 100_000, None)
    assert closing.oldest_due_ms(159_999) is None
    assert closing.oldest_due_ms(161_000) == 160_000
    closing.tick(state, 6, 165_000, None)
    assert closing.oldest_due_ms(170_000) == 165_000
    row.emitted = row.rev
    closing.emitted(np.array([row.slot]))
    assert closing.oldest_due_ms(170_000) is None


def test_an_invoice_that_is_held_for_a_day_is_an_alarm() -> None:
    """From the first day on it is said how many drafts are held, since when, and that three days are the end; not before, and not without a gate."""
    for age_s, alarms in ((None, 0), (3600, 0), (86_399, 0), (86_400, 1), (200_000, 1)):
        status = report(gate={"held": 2, "oldest_held_s": age_s})
        _, found = look(Memory(), status, Now(1.0, WALL_S), LIMITS, is_asked=True)
        assert len(found) == alarms
        assert all("holds 2 draft invoices" in sentence and "72 hours" in sentence for sentence in found)
    assert look(Memory(), report(), Now(1.0, WALL_S), LIMITS, is_asked=True)[1] == []
