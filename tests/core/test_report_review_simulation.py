"""Seeded lives of a partition whose bindings change, whose totals are sometimes unsendable, whose items are sometimes refused and released."""

from __future__ import annotations

import pytest

from sinks.cells import Place, cell_of
from sinks.units import units_of
from tests.core.report_world import World, binding, item_of, total_of
from topics.definitions import Definitions
from topics.quantity import ONE
from topics.receipt import CellReceipt
from topics.window_total import WindowTotal
from topics.windows import Window

HOUR_S = 3600
CUSTOMERS = ("acme", "zen", "bob")


def bind(world: World) -> None:
    """A customer's binding begins, changes or ends; a later version is in force only from an hour that has not begun (law 0)."""
    customer = world.chance.choice(CUSTOMERS)
    item = None
    if world.chance.random() < 0.75:
        item = item_of(f"si_{customer}_{world.chance.randrange(3)}", scale=world.chance.choice(("1", "1", "10")))
    offset = len(world.definitions)
    if any(getattr(definition, "customer", None) == customer for definition in world.definitions):
        ahead_s = (world.now_ms // 1000 // HOUR_S + 1 + world.chance.randrange(2)) * HOUR_S
        world.define(binding(customer, item, offset, valid_from_s=ahead_s))
    else:
        world.define(binding(customer, item, offset))


def emit(world: World) -> None:
    """A revision of a window that has begun: whole, or a fraction, or negative."""
    hour = world.now_ms // 1000 // HOUR_S * HOUR_S - HOUR_S * world.chance.randrange(5)
    scaled = world.chance.randrange(50) * ONE + world.chance.choice((0, 0, 0, ONE // 10, ONE // 7))
    world.source.append(total_of(world.chance.choice(CUSTOMERS), hour, world.chance.choice((1, 1, 1, -1)) * scaled, len(world.source)))


def release_all(world: World) -> None:
    """An operator lets everything that is held be tried again."""
    for key, receipt in list(world.last.items()):
        if isinstance(receipt, CellReceipt) and receipt.state in {"refused", "unknown"}:
            world.release(key)


def disturb(world: World) -> None:
    """One thing happens."""
    event = world.chance.random()
    if event < 0.25:
        emit(world)
    elif event < 0.35:
        bind(world)
    elif event < 0.55:
        world.pass_time(world.chance.choice((500, 5_000, 50_000, 90_000, 1_800_000)))
    elif event < 0.62:
        world.kill()
    elif event < 0.70:
        world.suspend()
    elif event < 0.76:
        world.wake()
    elif event < 0.80:
        world.pass_time(world.chance.choice((3_600_000, 22 * 3_600_000, 25 * 3_600_000)))
    elif event < 0.86:
        world.stripe.is_down = world.chance.random() < 0.3
    elif event < 0.92:
        item = f"si_{world.chance.choice(CUSTOMERS)}_0"
        if world.stripe.refuse.pop(item, None) is None:
            world.stripe.refuse[item] = (404, {"code": "resource_missing", "message": "gone"})
    else:
        release_all(world)
    if world.worker is None:
        world.start()
    world.feed()
    check_counts(world)


def check_counts(world: World) -> None:
    """Every window that this life of the worker knows is counted exactly once."""
    assert world.worker is not None
    known = set(world.worker.machine._cell_of) | {parked.key for parked in world.worker.machine._parked.values()}
    counts = world.worker.machine.tally.counts()
    assert sum(counts.values()) == len(known) and min(counts.values()) >= 0


def latest(world: World) -> dict[Window, WindowTotal]:
    """The newest total of each window."""
    return {total.window: total for total in sorted(world.source, key=lambda total: total.revision)}


def live(seed: int, steps: int = 350) -> World:
    """A whole life, then rest, then an operator who releases what is held, then rest again."""
    world = World(seed)
    world.lost_replies = world.chance.choice((0.0, 0.2, 0.5))
    world.slow = world.chance.choice((0.0, 0.2))
    world.stripe.faults = {fault: world.chance.choice((0.0, 0.1, 0.3)) for fault in ("429", "500", "503")}
    for _ in range(steps):
        if world.chance.random() < 0.2:
            disturb(world)
        if world.worker is not None:
            world.step(world.worker)
    world.wake()
    for _ in range(2):
        world.stripe.refuse.clear()
        world.settle()
        world.pass_time(1_000_000)
        release_all(world)
    world.settle()
    return world


@pytest.mark.parametrize("block", range(8))
def test_every_total_stands_at_the_item_of_its_start_or_is_seen_to_wait(block: int) -> None:
    """However bindings and workers change, each latest total stands at the item in force at its window's start, or is counted parked or unbound."""
    for seed in range(block * 25, block * 25 + 25):
        world = live(seed)
        definitions = Definitions()
        for definition in world.definitions:
            definitions.apply(definition)
        unbound = unsendable = 0
        expected: dict[tuple[str, int], int] = {}
        for window, total in latest(world).items():
            place = cell_of(window, definitions.item_at(window.customer, window.meter, window.start_s), "default")
            if not isinstance(place, Place):
                unbound += 1
                continue
            units = units_of(total.quantity, place.scale)
            if isinstance(units, int):
                expected[place.item, place.timestamp_s] = units
            else:
                unsendable += 1
        assert world.worker is not None
        counts = world.worker.machine.tally.counts()
        assert (counts["unbound"], counts["parked"], counts["undelivered"]) == (unbound, unsendable, 0), f"seed {seed}"
        assert {cell: world.stripe.cells.get(cell, 0) for cell in expected} == expected, f"seed {seed}"
        elsewhere = {cell for cell in world.stripe.cells if cell not in expected}
        assert len(elsewhere) <= unsendable, f"seed {seed}: {elsewhere}"
        assert not world.stripe.errors and not world.double_intents, f"seed {seed}"
