"""Supervision: which process is started, killed or left alone, from observations only."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.supervision import (
    Action,
    Clock,
    Observation,
    Phase,
    Policy,
    Supervised,
    backoff_s,
    has_lag,
    is_crash_loop,
    observe,
    started,
    step,
)

POLICY = Policy()
LIVE = Observation(is_live=True)


def running(now_s: float = 0.0) -> Supervised:
    """A process that answered at this time."""
    return step(started(Supervised(), now_s), LIVE, now_s, POLICY)[0]


def watch(process: Supervised, seen: Observation, from_s: float, seconds: float) -> tuple[Supervised, list[Action]]:
    """The same observation every quarter of a second."""
    actions = []
    for tick in range(int(seconds * 4) + 1):
        process, action = step(process, seen, from_s + tick / 4, POLICY)
        actions.append(action)
        if action is not Action.WAIT:
            break
    return process, actions


def test_a_killed_worker_is_started_again_at_once() -> None:
    """A process that ran and was killed is started again after the first, short backoff, and its restart is counted."""
    process, action = step(running(), Observation(exit_code=-9), 100.0, POLICY)
    assert (process.phase, action) == (Phase.RESTARTING, Action.WAIT)
    process, action = step(process, Observation(exit_code=-9), 100.0 + POLICY.backoff_first_s, POLICY)
    assert action is Action.START
    again = started(process, 101.0)
    assert again.restarts == 1
    assert step(again, LIVE, 102.0, POLICY)[0].phase is Phase.RUNNING


def test_early_ends_are_retried_ever_more_slowly_and_shown_as_a_crash_loop() -> None:
    """A process that ends again and again right after its start is retried with growing pauses and a sentence that says so."""
    process, now_s, pauses = started(Supervised(), 0.0), 0.0, []
    for _ in range(10):
        ended_s = now_s
        process, action = step(process, Observation(exit_code=1), now_s, POLICY)
        while action is Action.WAIT:
            now_s += 0.1
            process, action = step(process, Observation(exit_code=1), now_s, POLICY)
        pauses.append(round(now_s - ended_s, 3))
        process = started(process, now_s)
    assert pauses == sorted(pauses)
    assert pauses[-1] >= POLICY.backoff_max_s
    process, _ = step(process, Observation(exit_code=1), now_s, POLICY)
    assert is_crash_loop(process, POLICY)
    assert process.detail is not None
    assert "11 times in a row, last with exit code 1" in process.detail


def test_a_steady_life_forgives_earlier_ends() -> None:
    """After a life longer than steady_s the next end is retried at once, however many there were before."""
    before = replace(running(), early_ends=9)
    process, _ = step(before, Observation(exit_code=-9), POLICY.steady_s + 1, POLICY)
    assert process.early_ends == 1
    assert not is_crash_loop(process, POLICY)


def test_lag_without_progress_kills_a_worker() -> None:
    """A worker that answers and has lag but whose progress stands still for stuck_s is killed, not earlier."""
    stuck = Observation(is_live=True, progress=7, has_lag=True)
    first, _ = step(running(), stuck, 1.0, POLICY)
    _, early = watch(first, stuck, 1.0, POLICY.stuck_s)
    assert set(early) == {Action.WAIT}
    killed, late = watch(first, stuck, 1.0, POLICY.stuck_s + 1)
    assert late[-1] is Action.KILL
    assert killed.phase is Phase.RESTARTING


def test_any_progress_or_no_lag_or_a_missing_server_keeps_a_worker_alive() -> None:
    """Progress, an empty backlog, and a server that is down each prove that standing still is no fault of the worker."""
    process = running()
    for tick in range(2000):
        seen = Observation(is_live=True, progress=tick // 100, has_lag=True)
        process, action = step(process, seen, tick / 4, POLICY)
        assert action is Action.WAIT
    idle = Observation(is_live=True, progress=7, has_lag=False)
    assert set(watch(running(), idle, 0.0, 600)[1]) == {Action.WAIT}
    excused = Observation(is_live=True, progress=7, has_lag=True, is_excused=True)
    assert set(watch(running(), excused, 0.0, 600)[1]) == {Action.WAIT}


def test_a_halted_worker_is_never_killed() -> None:
    """A worker that says that it halted stays as it is, with its sentence shown, whatever its lag."""
    halted = Observation(is_live=True, progress=7, has_lag=True, halted="run tidemark adopt")
    process, actions = watch(running(), halted, 0.0, 600)
    assert set(actions) == {Action.WAIT}
    assert (process.phase, process.detail) == (Phase.HALTED, "run tidemark adopt")


def test_a_silent_process_is_killed_sooner_once_it_has_answered() -> None:
    """A process that no longer answers is killed after silent_s; one that has never answered has start_s to come up."""
    silent = Observation(is_live=False)
    assert watch(running(), silent, 0.0, POLICY.silent_s + 1)[1][-1] is Action.KILL
    fresh = started(Supervised(), 0.0)
    assert set(watch(fresh, silent, 0.0, POLICY.start_s - 1)[1]) == {Action.WAIT}
    assert watch(fresh, silent, 0.0, POLICY.start_s + 1)[1][-1] is Action.KILL


def test_a_suspended_supervisor_kills_nobody_when_it_wakes() -> None:
    """An hour in which the supervisor did not look counts as one step, so no process seems silent for an hour."""
    clock = Clock(1000.0)
    process = running(clock.advance(1000.0))
    after, action = step(process, Observation(is_live=False), clock.advance(1000.0 + 3600), POLICY)
    assert action is Action.WAIT
    assert after.phase is Phase.RUNNING


def test_a_stopped_process_is_left_alone() -> None:
    """What was never started is never started or killed by a look at it."""
    assert step(Supervised(), Observation(exit_code=1), 5.0, POLICY) == (Supervised(), Action.WAIT)


def test_lag_is_read_from_every_kind_of_status() -> None:
    """Meter and report tell their next offset, the archive its archived one; what says neither has no lag."""
    assert has_lag({"partitions": [{"next_offset": 5, "end_offset": 5}, {"next_offset": 4, "end_offset": 5}]})
    assert has_lag({"partitions": [{"topic": "t", "archived_offset": 4, "end_offset": 5}]})
    assert not has_lag({"partitions": [{"next_offset": 5, "end_offset": 5}]})
    assert not has_lag({"partitions": None})
    seen = observe(None, True, {"progress": 3, "halted": None, "partitions": []}, is_excused=False)
    assert seen == Observation(is_live=True, progress=3)


@given(st.lists(st.tuples(st.sampled_from(["live", "silent", "stuck", "halted", "ended"]), st.floats(0, 2)), max_size=200))
def test_a_process_is_started_only_after_its_end_and_killed_only_while_it_runs(script: list[tuple[str, float]]) -> None:
    """Whatever is observed, START follows an end and KILL a running process, so there is never a second one of a name."""
    sights = {
        "live": LIVE,
        "silent": Observation(),
        "stuck": Observation(is_live=True, progress=1, has_lag=True),
        "halted": Observation(is_live=True, halted="why"),
    }
    process, now_s, is_alive = started(Supervised(), 0.0), 0.0, True
    for name, seconds in script:
        now_s += seconds
        is_alive = is_alive and name != "ended"
        seen = sights.get(name, Observation()) if is_alive else Observation(exit_code=1)
        process, action = step(process, seen, now_s, POLICY)
        if action is Action.START:
            assert not is_alive
            process, is_alive = started(process, now_s), True
        elif action is Action.KILL:
            assert is_alive
            is_alive = False


@given(st.integers(1, 10_000))
def test_backoff_has_a_limit(early_ends: int) -> None:
    """However often a process ended, the next try comes within backoff_max_s."""
    assert POLICY.backoff_first_s <= backoff_s(early_ends, POLICY) <= POLICY.backoff_max_s
