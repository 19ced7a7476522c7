"""H22, H23 and H27, exhaustively: one short story is cut at every await, suspended at every await, and woken early and late."""

from __future__ import annotations

import itertools

import pytest

from tests.core.report_world import START_S, World, binding, item_of, total_of
from topics.quantity import ONE

ITEMS = {"acme": "si_1", "zen": "si_2"}
DAY_MS = 86_400_000
SECOND_MS = 1_000


def story(seed: int = 3, **how: bool) -> World:
    """Two customers, three windows, ready to begin."""
    world = World(seed, **how)
    for customer, item in ITEMS.items():
        world.definitions.append(binding(customer, item_of(item)))
    for number, (customer, hours) in enumerate((("acme", 1), ("acme", 2), ("zen", 1))):
        world.source.append(total_of(customer, START_S - 3600 * hours, (5 + number) * ONE, number))
    return world


def correct(world: World) -> None:
    """A late event: every window gets a higher revision."""
    for number, total in enumerate(list(world.source)):
        world.source.append(total_of(total.customer, total.window.start_s, total.scaled + ONE, 100 + number))


def advance(world: World, steps: int) -> bool:
    """Let the worker take so many turns; False where it was done before."""
    for _ in range(steps):
        if world.worker is None or _done(world):
            return False
        world.step(world.worker)
        world.pass_time(100)
    return True


def _done(world: World) -> bool:
    assert world.worker is not None
    return world.worker.machine.tally.counts()["undelivered"] == 0 and not world.worker.calls_out


def taken_over(steps: int, slept_ms: int, seed: int, **how: bool) -> World | None:
    """The first worker is suspended after `steps` turns; another takes over and delivers a correction; the first wakes. None: too late."""
    world = story(seed, **how)
    world.start()
    world.feed()
    if not advance(world, steps):
        return None
    world.suspend()
    world.start()
    correct(world)
    world.run()
    world.pass_time(slept_ms)
    for _ in range(200):
        for sleeper in world.asleep:
            world.step(sleeper)
    world.asleep.clear()
    world.run()
    return world


@pytest.mark.parametrize("slept_ms", [0, 20 * SECOND_MS, 70 * SECOND_MS, DAY_MS - 120 * SECOND_MS, DAY_MS + 120 * SECOND_MS, 40 * DAY_MS])
def test_h22_a_worker_that_wakes_changes_nothing(slept_ms: int) -> None:
    """A worker suspended at any await between intent and socket, and woken after its successor corrected the cell, leaves the correction standing."""
    cut = 0
    for seed in range(6):
        for steps in itertools.count(1):
            world = taken_over(steps, slept_ms, seed)
            if world is None:
                break
            cut += 1
            assert world.standing() == world.expected(ITEMS), f"seed {seed}, suspended after {steps} turns"
            assert not world.stripe.errors
            assert not world.double_intents
    assert cut > 100


def test_h22_without_the_last_look_at_the_clock_it_would() -> None:
    """Were a call sent without that look, a worker woken after a day would put an old total back in some schedule (the guard is what holds)."""
    outcomes = [taken_over(steps, 2 * DAY_MS, seed, checks_deadline=False) for seed in range(12) for steps in range(1, 25)]
    assert any(world is not None and world.standing() != world.expected(ITEMS) for world in outcomes)


def test_h23_a_crash_at_any_await_loses_nothing() -> None:
    """A worker killed at any await leaves receipts, compacted to the last of each key, from which the next one delivers every window."""
    cut = 0
    for seed in range(12):
        for steps in itertools.count(1):
            world = story(seed)
            world.lost_replies = 0.3
            world.start()
            world.feed()
            if not advance(world, steps):
                break
            cut += 1
            world.kill()
            correct(world)
            world.settle()
            assert world.standing() == world.expected(ITEMS), f"seed {seed}, killed after {steps} turns"
    assert cut > 100


def test_h23_a_crash_at_any_two_awaits_loses_nothing() -> None:
    """A worker killed at any await, and its successor at any await of its own recovery, lose nothing either."""
    for first, second in itertools.product(range(1, 24, 2), repeat=2):
        world = story(7)
        world.lost_replies = 0.3
        for steps in (first, second):
            world.start()
            world.feed()
            advance(world, steps)
            world.kill()
        world.settle()
        assert world.standing() == world.expected(ITEMS), f"killed after {first} and {second} turns"


def test_h27_two_workers_taking_turns_deliver_once() -> None:
    """One customer's hundred windows under two workers and random rebalances end exact, with no two intents of a cell open at once."""
    for seed in range(10):
        world = World(seed)
        world.definitions.append(binding("acme", item_of("si_1")))
        for number in range(100):
            world.source.append(total_of("acme", START_S - 3600 * (1 + number % 20), (1 + number) * ONE, number))
        for _ in range(15):
            world.start()
            world.feed()
            advance(world, world.chance.randrange(1, 60))
            world.suspend()
            world.pass_time(world.chance.choice((100, 30_000, 90_000)))
            world.wake()
        world.settle()
        assert world.standing() == world.expected({"acme": "si_1"}), f"seed {seed}"
        assert not world.double_intents and not world.stripe.errors
