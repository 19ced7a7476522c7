"""H25, law 12: quarters of an hour on an hourly meter, an hour cut by a period's edge, two meters on one cell, an item that is replaced."""

from __future__ import annotations

import random
from fractions import Fraction

from tests.core.report_world import START_S, World, binding, total_of
from tests.core.test_report_meters import HOUR_S, meter_item
from tests.hazards.fold import clean, differences
from topics.bindings import Item
from topics.quantity import ONE
from topics.receipt import WindowReceipt
from topics.window_total import WindowTotal
from topics.windows import Window

FIRST_S = START_S - START_S % HOUR_S - 6 * HOUR_S
SIZE_S = 900
METERS = ("calls", "bytes")


def seeded(seed: int) -> list[str]:
    """Windows of one customer's two meters in a few hours; an edge of the period, or the first one, lies inside one of these; an item changes."""
    rng = random.Random(seed)
    world, edge_s = World(seed), FIRST_S + 2 * HOUR_S + rng.randrange(1, HOUR_S)
    billed_s = rng.choice((edge_s, edge_s - 86_400 * 3))  # the subscription's first edge, or one between two periods
    item = meter_item("acme", "hour", period_anchor_s=edge_s, starts_at_s=billed_s)
    world.stripe.meters.windows[item.event_name] = "hour"
    for number, meter in enumerate(METERS if rng.random() < 0.5 else METERS[:1]):
        world.definitions.append(binding("acme", item, number, meter))
    if rng.random() < 0.5:
        replaced = meter_item("acme", "hour", period_anchor_s=edge_s, starts_at_s=billed_s, item="si_2")
        world.definitions.append(binding("acme", replaced, 7, valid_from_s=FIRST_S + 3 * HOUR_S + SIZE_S))
    for through in range(rng.randrange(10, 40)):
        window = _window(rng, edge_s)
        size_s = window.end_s - window.start_s
        world.source.append(total_of("acme", window.start_s, rng.randrange(90) * ONE, through, size_s=size_s, meter=window.meter))
        if rng.random() < 0.3:
            world.settle()
    world.settle()
    return _judged(world, item)


def _window(rng: random.Random, edge_s: int) -> Window:
    """A quarter of an hour, cut at the edge; now and then a whole day."""
    start_s = FIRST_S + SIZE_S * rng.randrange(20)
    if rng.random() < 0.05:
        return Window("acme", rng.choice(METERS), FIRST_S, FIRST_S + 86_400)
    end_s = start_s + SIZE_S
    if start_s < edge_s < end_s:
        start_s, end_s = rng.choice(((start_s, edge_s), (edge_s, end_s)))
    return Window("acme", rng.choice(METERS), start_s, end_s)


def _judged(world: World, item: Item) -> list[str]:
    newest: dict[Window, WindowTotal] = {}
    owners: dict[int, tuple[str, int]] = {}
    bound = {version.meter for version in world.definitions if hasattr(version, "meter")}
    for total in world.source:
        window = total.window
        hour_s, period_s = _place(window, item)
        if window.meter in bound and window.end_s > item.billable_from_s and window.end_s <= hour_s + HOUR_S:
            owners.setdefault(hour_s, (window.meter, period_s))
        newest[window] = total
    wanted: dict[int, Fraction] = {}
    parked = 0
    for window, total in newest.items():
        hour_s, period_s = _place(window, item)
        if window.end_s > hour_s + HOUR_S or window.end_s <= item.billable_from_s or owners.get(hour_s) != (window.meter, period_s):
            parked += 1
        else:
            second = max(hour_s, period_s)
            wanted[second] = wanted.get(second, Fraction(0)) + Fraction(total.scaled, ONE)
    held = {event.second: event.value for event in world.stripe.meters.standing(item.event_name, item.stripe_customer)}
    shown = [receipt for receipt in world.last.values() if isinstance(receipt, WindowReceipt) and receipt.state == "parked"]
    faults = differences("second", {s: v for s, v in held.items() if v}, {s: v for s, v in wanted.items() if v})
    if len(shown) != parked:
        faults.append(f"{len(shown)} windows are shown as parked, {parked} have no cell")
    return faults + world.stripe.meters.errors


def _place(window: Window, item: Item) -> tuple[int, int]:
    """(the hour, the start of the period)."""
    period = item.period_at(max(window.start_s, item.billable_from_s))
    return window.start_s - window.start_s % HOUR_S, max(period.start_s, item.billable_from_s)


def test_h25_an_hour_holds_the_sum_of_its_windows_and_of_one_owner() -> None:
    """Each hour holds the sum of its windows, inside its period; a second period or meter on it is parked where it is seen, never overwritten."""
    assert not clean(seeded, 80)
