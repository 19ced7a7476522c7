"""Seeded schedules of totals, faults, crashes and take-overs: at the end Stripe holds the latest totals, whatever happened (H22, H23, H24, H27)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from sinks.cell_state import CellState, Need
from tests.core.report_world import START_S, World, binding, item_of, total_of
from topics.quantity import ONE

CUSTOMERS = ("acme", "zen", "a|b")
ITEMS = {customer: f"si_{number}" for number, customer in enumerate(CUSTOMERS)}


def emit(world: World, windows: int = 6) -> None:
    """The meter emits a revision of some window; sometimes an old one again."""
    if world.source and world.chance.random() < 0.15:
        world.source.append(world.chance.choice(world.source))
        return
    customer = world.chance.choice(CUSTOMERS)
    start_s = START_S - 3600 * world.chance.randrange(1, windows)
    world.source.append(total_of(customer, start_s, world.chance.randrange(50) * ONE, len(world.source)))


def disturb(world: World, emit: Callable[[World], None] = emit) -> None:
    """One thing happens: usage, time, a crash, a suspension, an awakening, a change of the weather."""
    event = world.chance.random()
    if event < 0.30:
        emit(world)
    elif event < 0.60:
        world.pass_time(world.chance.choice((10, 500, 5_000, 50_000, 90_000)))
    elif event < 0.66:
        world.kill()
    elif event < 0.74:
        world.suspend()
    elif event < 0.80:
        world.wake()
    elif event < 0.84:
        world.pass_time(world.chance.choice((3_600_000, 22 * 3_600_000, 25 * 3_600_000)))
    elif event < 0.90:
        world.stripe.is_down = world.chance.random() < 0.3
    if world.worker is None:
        world.start()
    world.feed()


def live(seed: int, *, checks_deadline: bool = True, steps: int = 400) -> World:
    """A whole life of a partition, then rest."""
    world = World(seed, checks_deadline=checks_deadline)
    world.lost_replies = world.chance.choice((0.0, 0.2, 0.5))
    world.slow = world.chance.choice((0.0, 0.2))
    world.stripe.faults = {fault: world.chance.choice((0.0, 0.1, 0.3)) for fault in ("429", "500", "503")}
    for customer, item in ITEMS.items():
        world.definitions.append(binding(customer, item_of(item)))
    for _ in range(steps):
        if world.chance.random() < 0.12:
            disturb(world)
        if world.worker is not None:
            world.step(world.worker)
    world.wake()
    world.settle()
    world.pass_time(700_000)  # what is still on the wire arrives
    return world


@pytest.mark.parametrize("block", range(10))
def test_final_cells_are_the_latest_totals(block: int) -> None:
    """Whatever is lost, repeated, delayed, killed, suspended and woken, Stripe ends with the latest total of every window and no key misused."""
    for seed in range(block * 30, block * 30 + 30):
        world = live(seed)
        assert world.standing() == world.expected(ITEMS), f"seed {seed}"
        assert not world.stripe.errors, f"seed {seed}: {world.stripe.errors}"
        assert not world.double_intents, f"seed {seed}: two intents open on {world.double_intents}"


def wrong(seeds: range, **how: bool) -> int:
    """In how many seeds Stripe ends with something else."""
    bad = 0
    for seed in seeds:
        try:
            world = live(seed, **how)
        except AssertionError:
            bad += 1
            continue
        bad += world.standing() != world.expected(ITEMS) or bool(world.stripe.errors)
    return bad


def test_without_resolve_first_cells_end_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a higher intent written while a lower one is open, an old request would land last in some schedule (the guard is what holds, H22)."""
    real = CellState.needs

    def hasty(cell: CellState) -> Need | None:
        intent = cell.open_intent
        if intent is not None and cell.pending is None and cell.dirty:
            cell.receipt = msgspec.structs.replace(intent, state="delivered")
        return real(cell)

    monkeypatch.setattr(CellState, "needs", hasty)
    assert wrong(range(60)) > 0
