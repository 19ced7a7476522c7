"""H28, law 16: what comes after finalisation is answered 200 and billed nowhere. It is an adjustment, to the last unit, and nobody is called."""

from __future__ import annotations

import random

import pytest

from sinks.units import plus
from tests.core.report_world import ANCHOR_S, START_S, World
from tests.core.report_world import total_of as total
from tests.core.test_report_meters import meters_world
from tests.hazards.fold import clean
from tests.hazards.test_h22_late_request import ITEMS, world_of
from topics.adjustments import Settlement, SettleRecord
from topics.invoices import Invoice, InvoiceRecord
from topics.periods import period_at
from topics.quantity import ONE, parse_total
from topics.receipt import CellReceipt

PERIOD = period_at(ANCHOR_S, "month", 1, START_S)
LEAP_MS = (0, 20_000, 3_600_000, 26 * 3_600_000)


def seeded(seed: int) -> list[str]:
    """Late totals before and after finalisation or the period's end, with kills, lost answers and saved failures; operators settle on the way."""
    rng = random.Random(seed)
    world = world_of(seed)
    world.lost_replies = rng.choice((0.0, 0.3))
    if rng.random() < 0.5:
        world.stripe.sticky = lambda key: key[-1] in "01234567"
    through = 0
    for round_ in range(2):
        for _ in range(rng.randrange(2, 8)):
            through += 1
            _late_total(world, rng, through)
            _live(world, rng)
        if round_ == 0 and rng.random() < 0.5:
            world.settle()
    by_invoice = rng.random() < 0.7
    if by_invoice:
        # It is told to a worker, dead or alive; the sealed cells are those whose intents nobody has on the way any more.
        for customer in ITEMS:
            said = InvoiceRecord(
                invoice=f"in_{customer}", subscription="sub_1", items=(ITEMS[customer],), status="open",
                period_start_s=PERIOD.start_s, period_end_s=PERIOD.end_s, seen_at_s=1,
            )  # fmt: skip
            world.define(Invoice(customer=customer, said=said, offset=1))
    else:
        world.pass_time(PERIOD.end_s * 1000 - world.now_ms)
    world.settle()
    sealed, posts = dict(world.stripe.cells), world.stripe.posts
    settled: dict[bytes, set[str]] = {}
    for _ in range(rng.randrange(1, 8)):
        through += 1
        _late_total(world, rng, through)
        _live(world, rng)
        if rng.random() < 0.3:
            _settle_one(world, rng, settled)
    world.settle()
    faults = [] if world.stripe.cells == sealed else [f"a final cell changed: {sealed} became {world.stripe.cells}"]
    if world.stripe.posts != posts:
        faults.append(f"{world.stripe.posts - posts} calls were made for final cells")
    for key, sums in settled.items():
        found = world.last[key]
        assert isinstance(found, CellReceipt)
        if found.adjustment is not None and found.adjustment.settled not in {"0", *sums}:
            faults.append(f"{found.adjustment.settled} are settled, nobody settled up to that: {sums}")
    return faults + accounted(world) + world.stripe.errors[:2]


def _late_total(world: World, rng: random.Random, through: int) -> None:
    customer = rng.choice(sorted(ITEMS))
    world.source.append(total(customer, START_S - 3600 * rng.randrange(1, 4), rng.randrange(30) * ONE, through))


def _live(world: World, rng: random.Random) -> None:
    """A worker works, is killed, or is not there; time passes."""
    if world.worker is None:
        world.start()
    assert world.worker is not None
    world.feed()
    for _ in range(rng.choice((0, 3, 40, 200))):
        world.step(world.worker)
        world.pass_time(rng.choice((1, 20, 200)))
    if rng.random() < 0.3:
        world.kill()
    world.pass_time(rng.choice(LEAP_MS) if rng.random() < 0.2 else 0)


def _settle_one(world: World, rng: random.Random, settled: dict[bytes, set[str]]) -> None:
    """An operator settles all of an adjustment, as it was seen; sometimes twice."""
    adjusted = [(key, receipt) for key, receipt in world.last.items() if isinstance(receipt, CellReceipt) and receipt.adjustment is not None]
    if not adjusted:
        return
    key, receipt = rng.choice(adjusted)
    assert receipt.adjustment is not None
    settled.setdefault(key, set()).add(plus(receipt.adjustment.settled, receipt.adjustment.units))
    said = SettleRecord(target=key.decode(), units=receipt.adjustment.units, settled=receipt.adjustment.settled)
    for _ in range(rng.choice((1, 1, 2))):
        world.define(Settlement(customer=receipt.customer, said=said, offset=100 + len(world.definitions)))


def accounted(world: World) -> list[str]:
    """Of each cell: what stands, what is listed and what is settled are what is wanted; where something may stand it is said."""
    wanted = world.expected(ITEMS)
    faults = []
    for receipt in (receipt for receipt in world.last.values() if isinstance(receipt, CellReceipt)):
        cell = (receipt.item, receipt.timestamp_s)
        stands = world.stripe.cells.get(cell, 0)
        known = {0 if receipt.standing is None else int(receipt.standing.units), *map(int, receipt.maybe)}
        listed, settled = 0, 0
        if receipt.adjustment is not None:
            listed, settled = (parse_total(text) // ONE for text in (receipt.adjustment.units, receipt.adjustment.settled))
        # Once an operator has looked at what may stand, it is his word that counts.
        if stands not in known and (receipt.adjustment is None or receipt.adjustment.settled_to < 0):
            faults.append(f"{cell} holds {stands}, the receipt says {known}")
        standing = 0 if receipt.standing is None else int(receipt.standing.units)
        if standing + listed + settled != wanted.get(cell, 0):
            faults.append(f"{cell}: {standing} stand, {listed} are listed, {settled} settled, {wanted.get(cell, 0)} are wanted ({receipt.state})")
    return faults


def test_h28_what_comes_after_the_invoice_is_an_adjustment() -> None:
    """Whatever comes after finalisation or the period's end: no final cell changes, nobody is called, every unit is listed or settled once."""
    assert not clean(seeded, 40)


@pytest.mark.parametrize("aggregation", ["hour", "day", "sum"])
def test_h28_an_event_that_waited_over_finalisation_is_not_taken_for_billed(aggregation: str) -> None:
    """Where Stripe is down until the invoice is final, the open intent is driven to its answer, 200, and is an adjustment: no invoice bills it."""
    world = meters_world(1, {"acme": aggregation})
    world.source.append(total("acme", START_S - START_S % 3600 - 3600, 5 * ONE, 1))
    world.stripe.is_down = True
    world.start()
    world.run(lambda: any(isinstance(receipt, CellReceipt) and receipt.state == "intent" for receipt in world.last.values()))
    said = InvoiceRecord(
        invoice="in_1", subscription="sub_1", items=("si_acme",), status="open", period_start_s=PERIOD.start_s, period_end_s=PERIOD.end_s, seen_at_s=1
    )
    world.define(Invoice(customer="acme", said=said, offset=1))
    world.settle(lambda: any(isinstance(receipt, CellReceipt) and receipt.state == "adjustment" for receipt in world.last.values()))
    (receipt,) = [receipt for receipt in world.last.values() if isinstance(receipt, CellReceipt)]
    assert (receipt.state, receipt.outcome, receipt.standing) == ("adjustment", "open", None)
    assert receipt.adjustment is not None
    assert (receipt.adjustment.units, receipt.adjustment.invoice, receipt.adjustment.cause) == ("5", "in_1", "after_finalization")
