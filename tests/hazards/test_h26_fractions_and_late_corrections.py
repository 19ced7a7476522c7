"""H26, law 17: parts of a unit over a period's cells, with late corrections, crashes, lost answers and refusals."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

from tests.core.report_world import START_S, World, binding, item_of, total_of
from tests.core.test_report_meters import HOUR_S, meter_item
from tests.core.test_report_simulation import disturb
from tests.hazards.fold import clean
from tests.hazards.test_h22_late_request import Watchful
from topics.bindings import Item
from topics.invoices import Invoice, InvoiceRecord
from topics.quantity import ONE
from topics.receipt import CellReceipt
from topics.window_total import WindowTotal
from topics.windows import Window

WINDOWS = 24
FIRST_S = START_S - START_S % HOUR_S - WINDOWS * HOUR_S
PERIODS: dict[str, Any] = {"fractions": "ledger", "period_anchor_s": FIRST_S + 12 * HOUR_S, "starts_at_s": FIRST_S - 86_400, "clock": "clock_1"}
"""An edge in the middle. By the clock that the customer lives by both periods still take usage."""
ITEMS = (
    item_of("si_1", scale="0.001", **PERIODS),
    item_of("si_1", **PERIODS),
    meter_item("acme", "sum", scale="0.5", **PERIODS),
    meter_item("acme", "hour", **PERIODS),
)


def _emit(world: World, most: int = 4000) -> None:
    """A total of some hour, with a fraction, of less than `most` units: more often more than before, sometimes less, sometimes nothing."""
    tenths, units = world.chance.randrange(10 * min(most, 4)), world.chance.randrange(most * ONE)
    scaled = world.chance.choice((0, ONE // 10 * tenths, units)) if most > 1 else ONE // 10 * tenths
    start_s = FIRST_S + HOUR_S * world.chance.randrange(WINDOWS)
    world.source.append(total_of("acme", start_s, scaled, len(world.source)))


def seeded(seed: int) -> list[str]:
    """A life of totals with fractions; at the end each period's units are the whole part of its exact usage, to the last one."""
    rng = random.Random(seed)
    item, most = rng.choice(ITEMS), rng.choice((1, 1, 4, 4000))
    world = World(seed)

    def emit(_world: World) -> None:
        _emit(world, most)

    world.stripe = Watchful(world.chance)
    world.stripe.meters.windows[item.event_name] = item.aggregation
    world.definitions.append(binding("acme", item))
    if rng.random() < 0.6:
        world.lost_replies, world.slow = rng.choice((0.0, 0.3)), rng.choice((0.0, 0.2))
        world.stripe.faults = {fault: rng.choice((0.0, 0.1)) for fault in ("429", "500", "503")}
    for _ in range(150):
        if world.chance.random() < 0.2:
            disturb(world, emit)
        if world.worker is not None:
            world.step(world.worker)
    world.wake()
    world.settle()
    for _ in range(rng.randrange(6)):  # late corrections, one after the other
        emit(world)
        world.settle()
    if rng.random() < 0.5:
        world.kill()
        world.start()
        world.feed()
    for _ in range(300):  # a cell that evens another one out holds nothing that is undelivered: nobody waits for it
        if world.worker is not None:
            world.step(world.worker)
        world.pass_time(3_000)
    return _judged(world, item) + world.stripe.errors + world.stripe.meters.errors


def seeded_after_the_invoice(seed: int) -> list[str]:
    """The same, with invoices that become final in between: what stands and what is listed add up to each period's whole units."""
    rng = random.Random(seed)
    item, most = rng.choice(ITEMS), rng.choice((1, 1, 4))
    world = World(seed)
    world.stripe.meters.windows[item.event_name] = item.aggregation
    world.definitions.append(binding("acme", item))
    for turn in range(30):
        _emit(world, most)
        if turn == 8 or (turn > 8 and rng.random() < 0.1):
            world.define(_final(item, FIRST_S + HOUR_S * rng.choice((0, WINDOWS - 1))))
        if rng.random() < 0.1:
            world.kill()
        if rng.random() < 0.8:
            world.settle()
    world.settle()
    for _ in range(300):  # what was taken between the invoices' becoming final evens itself out without a total of its own
        if world.worker is not None:
            world.step(world.worker)
        world.pass_time(3_000)
    return _judged(world, item)


def _final(item: Item, at_s: int) -> Invoice:
    period = item.period_at(at_s)
    said = InvoiceRecord(
        invoice=f"in_{period.start_s}", subscription="sub_1", status="open", period_start_s=period.start_s, period_end_s=period.end_s, seen_at_s=1
    )
    return Invoice(customer="acme", said=said, offset=1)


def _listed(world: World) -> list[tuple[int, Fraction]]:
    receipts = [receipt for receipt in world.last.values() if isinstance(receipt, CellReceipt)]
    return [(one.timestamp_s, Fraction(one.adjustment.units)) for one in receipts if one.adjustment is not None]


def _judged(world: World, item: Item) -> list[str]:
    latest: dict[Window, WindowTotal] = {}
    for total in world.source:
        if total.window not in latest or total.revision > latest[total.window].revision:
            latest[total.window] = total
    exact: dict[int, Fraction] = {}
    for window, total in latest.items():
        period = item.period_at(window.start_s).start_s
        exact[period] = exact.get(period, Fraction(0)) + Fraction(total.scaled, ONE) * Fraction(item.scale)
    held: dict[int, Fraction] = {}
    for second, units in _standing(world, item) + _listed(world):
        period = item.period_at(second).start_s
        held[period] = held.get(period, Fraction(0)) + units
    wanted = {period: exact[period].numerator // exact[period].denominator for period in exact}
    return [f"period {period}: {held.get(period, 0)} units, {exact[period]} exactly" for period in wanted if held.get(period, 0) != wanted[period]]


def _standing(world: World, item: Item) -> list[tuple[int, Fraction]]:
    if item.mode == "usage_records":
        return [(second, Fraction(units)) for (_, second), units in world.stripe.cells.items()]
    return [(event.second, event.value) for event in world.stripe.meters.standing(item.event_name, item.stripe_customer)]


def test_h26_no_unit_is_lost_or_made_up_by_fractions() -> None:
    """Whatever is corrected when, in each mode the units of a period add up to the whole part of its exact usage."""
    assert not clean(seeded, 60)


def test_h26_no_unit_is_lost_or_made_up_after_the_invoice() -> None:
    """Whatever is corrected after an invoice is final, what stands and what is listed as adjustments are its exact usage's whole units."""
    assert not clean(seeded_after_the_invoice, 60)
