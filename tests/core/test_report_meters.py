"""Seeded schedules of meter events: whatever is lost, repeated, delayed, killed or woken, each meter ends with the latest totals (laws 12 to 15)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from tests.core.report_world import START_S, World, binding, item_of, total_of
from tests.core.test_report_simulation import disturb
from topics.bindings import Item
from topics.quantity import ONE
from topics.receipt import CellReceipt
from topics.windows import Window

HOUR_S = 3600
MODES = {"acme": "hour", "zen": "sum", "a|b": "day"}
CUSTOMERS = tuple(MODES)


def meter_item(customer: str, aggregation: str, **more: Any) -> Item:
    """An item on a meter of its own."""
    said = {"mode": "meters", "aggregation": aggregation, "event_name": f"calls {aggregation}", "stripe_customer": f"cus_{len(customer)}"}
    return item_of(f"si_{customer}", **{**said, **more})


def meters_world(seed: int, modes: dict[str, str] | None = None, **more: Any) -> World:
    """One customer a way of adding up."""
    world = World(seed)
    for customer, aggregation in (MODES if modes is None else modes).items():
        item = meter_item(customer, aggregation, **more)
        world.definitions.append(binding(customer, item))
        world.stripe.meters.windows[item.event_name] = aggregation
    return world


def wanted(world: World, modes: dict[str, str] | None = None) -> dict[tuple[str, int], Fraction]:
    """What each customer's meter must hold by hour (or day), in units."""
    latest: dict[Window, tuple[tuple[int, int], int]] = {}
    for total in world.source:
        if total.window not in latest or total.revision > latest[total.window][0]:
            latest[total.window] = (total.revision, total.scaled)
    found: dict[tuple[str, int], Fraction] = {}
    for window, (_, scaled) in latest.items():
        length_s = 86_400 if (MODES if modes is None else modes)[window.customer] == "day" else HOUR_S
        key = (window.customer, window.start_s - window.start_s % length_s)
        found[key] = found.get(key, Fraction(0)) + Fraction(scaled, ONE)
    return {key: units for key, units in found.items() if units}


def held(world: World, modes: dict[str, str] | None = None) -> dict[tuple[str, int], Fraction]:
    """What they hold."""
    found: dict[tuple[str, int], Fraction] = {}
    for customer, aggregation in (MODES if modes is None else modes).items():
        item = meter_item(customer, aggregation)
        grouping = "day" if aggregation == "day" else "hour"
        for start_s, _, units in world.stripe.meters.usage(item.event_name, item.stripe_customer, grouping, 0, 2**40):
            found[customer, start_s] = units
    return {key: units for key, units in found.items() if units}


def emit(world: World) -> None:
    """The meter emits a revision of some quarter of an hour; sometimes an old one again."""
    if world.source and world.chance.random() < 0.15:
        world.source.append(world.chance.choice(world.source))
        return
    start_s = START_S - START_S % HOUR_S - 900 * world.chance.randrange(1, 14)
    customer = world.chance.choice(CUSTOMERS)
    world.source.append(total_of(customer, start_s, world.chance.randrange(50) * ONE, len(world.source), size_s=900))


def live(seed: int, steps: int = 400) -> World:
    """A whole life of a partition, then rest."""
    world = meters_world(seed)
    world.lost_replies = world.chance.choice((0.0, 0.2, 0.5))
    world.slow = world.chance.choice((0.0, 0.2))
    world.stripe.faults = {fault: world.chance.choice((0.0, 0.1, 0.3)) for fault in ("429", "500", "503")}
    for _ in range(steps):
        if world.chance.random() < 0.12:
            disturb(world, emit)
        if world.worker is not None:
            world.step(world.worker)
    world.wake()
    world.settle()
    world.pass_time(700_000)  # what is still on the wire arrives
    return world


def judged(world: World) -> list[str]:
    """What is wrong at the end."""
    faults = [] if held(world) == wanted(world) else [f"held {held(world)}, wanted {wanted(world)}"]
    return faults + world.stripe.errors + world.stripe.meters.errors + world.double_intents


@pytest.mark.parametrize("block", range(4))
def test_meters_end_with_the_latest_totals(block: int) -> None:
    """By hours, by days and as signed deltas alike: each meter ends exact, no key and no identifier is misused."""
    for seed in range(block * 25, block * 25 + 25):
        assert not judged(live(seed)), f"seed {seed}"


def total(customer: str, hours: int, units: int, through: int, size_s: int = HOUR_S) -> Any:
    """A total of an hour some hours ago."""
    start_s = START_S - START_S % HOUR_S - hours * HOUR_S
    return total_of(customer, start_s, units * ONE, through, size_s=size_s)


def receipts(world: World) -> list[CellReceipt]:
    """The last receipt of each cell."""
    return [receipt for receipt in world.last.values() if isinstance(receipt, CellReceipt)]


def test_one_reading_confirms_a_lane() -> None:
    """Some minutes after their delivery all cells of a customer's meter are confirmed by one call."""
    world = meters_world(1, {"zen": "sum"})
    world.source += [total("zen", hours, hours, hours) for hours in range(1, 30)]
    world.settle()
    assert {receipt.state for receipt in receipts(world)} == {"delivered"} and world.stripe.reads == 0
    world.pass_time(11 * 60_000)
    world.run(lambda: {receipt.state for receipt in receipts(world)} == {"confirmed"})
    assert world.stripe.reads == 1


def test_an_unchanged_total_needs_no_event() -> None:
    """A first total of nothing, and a correction to the same amount, are delivered without a call."""
    world = meters_world(2, {"zen": "sum"})
    world.source += [total("zen", 1, 0, 1), total("zen", 2, 5, 2)]
    world.settle()
    world.source.append(total("zen", 2, 5, 3))
    world.settle()
    assert world.stripe.posts == 1
    assert {(receipt.units, receipt.state) for receipt in receipts(world)} == {("0", "delivered"), ("5", "delivered")}


@pytest.mark.parametrize("seed", [358, 360, 1003, 1279])
def test_schedules_that_once_ended_wrong_end_exact(seed: int) -> None:
    """Identifiers used after a day, a failed attempt that was confirmed with an older event, an hour that two explanations fit: all end exact."""
    assert not judged(live(seed))
