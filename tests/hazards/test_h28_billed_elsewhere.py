"""H28, law 16: what comes after finalisation is billed elsewhere, once and to the cent, whoever dies when and whatever Stripe answers."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import combinations

from sinks.remedy_calls import CreditLine
from sinks.stripe.costs import billed
from sinks.stripe.objects import Price, Tier
from tests.core.remedy_world import CENTS, PERIOD, RemedyWorld, invoice
from tests.core.report_world import START_S, binding, item_of, total_of
from tests.hazards.fold import clean
from topics.adjustments import Settlement, SettleRecord
from topics.meters import BEGINNING_S, Meter, MeterVersion
from topics.quantity import ONE
from topics.receipt import CellReceipt, receipt_key

ITEMS = {"acme": "si_1", "zen": "si_2"}
STOOD = 20
NEXT_S = (PERIOD.end_s + 86_400) // 3600 * 3600
"""The hour of the period that runs in which the story begins, a day after the invoiced one ended."""
TIERED = Price(
    "price_2", billing_scheme="tiered", tiers_mode="graduated", tiers=(Tier(10, "0"), Tier(30, "2.5", "40"), Tier(None, "0.3"))
)


def seeded(seed: int) -> list[str]:
    """Late totals of two customers under each policy, with kills, freezes, lost and slow answers, saved failures, outages, leaps of days and
    operators who settle what they see."""
    rng = random.Random(seed)
    world = _invoiced(seed, rng.choice(("invoice_item", "credit_note", "next_period")))
    world.stripe.price = rng.choice((CENTS, TIERED))
    world.stripe.lines = (CreditLine("il_1", 40), CreditLine("il_2", 40))
    world.lost_replies, world.slow = rng.choice((0.0, 0.4)), rng.choice((0.0, 0.2))
    world.stripe.faults = {fault: rng.choice((0.0, 0.2)) for fault in ("429", "500", "503")}
    if rng.random() < 0.5:
        world.stripe.sticky = lambda key: key[-1] in "0123456"
    operators = rng.random() < 0.4
    by_hand: dict[str, list[Fraction]] = {}
    for _ in range(rng.randrange(2, 14)):
        _emit(world, rng.randrange(60), rng.randrange(1, 5), rng.choice(sorted(ITEMS)))
        if rng.random() < 0.5:
            _emit(world, rng.randrange(60), rng.randrange(3), rng.choice(sorted(ITEMS)), NEXT_S)
        world.work(rng.choice((0, 5, 30, 150)), rng.choice((20, 2_000)))
        if rng.random() < 0.4:
            rng.choice((world.kill, world.suspend))()
            world.start()
        if world.asleep and rng.random() < 0.5:
            world.wake()
        if operators and rng.random() < 0.4:
            _settle_one(world, rng, by_hand)
        world.pass_time(rng.choice((0, 0, 60_000, 3_600_000, 25 * 3_600_000)))
    world.wake()
    for _ in range(2):
        world.settle(world.is_billed)
        world.pass_time(700_000)  # what is still on the wire arrives
    final = {cell: units for cell, units in world.standing().items() if cell[1] <= PERIOD.end_s}
    faults = world.stripe.errors[:2] + ([] if sum(final.values()) == STOOD * len(ITEMS) else [f"a final cell changed: {final}"])
    return faults + [fault for customer in ITEMS for fault in _judged(world, customer, by_hand)]


def _invoiced(seed: int, policy: str) -> RemedyWorld:
    """Both customers with one window delivered, their invoices final, and the next period a day old."""
    world = RemedyWorld(seed)
    world.definitions.append(MeterVersion(meter=Meter(slug="calls", event_type="x"), valid_from_s=BEGINNING_S, offset=0, digest="d"))
    for customer, item in ITEMS.items():
        world.definitions.append(binding(customer, item_of(item, late=policy, price="price_1")))
        _emit(world, STOOD, 1, customer)
    world.settle()
    for customer in ITEMS:
        world.define(invoice(customer))
    world.pass_time((PERIOD.end_s + 86_400) * 1000 - world.now_ms)
    return world


def _emit(world: RemedyWorld, units: int, hour: int, customer: str, from_s: int = START_S) -> None:
    start_s = from_s - 3600 * hour
    world.source.append(total_of(customer, start_s, units * ONE, len(world.source) + 1))


def _settle_one(world: RemedyWorld, rng: random.Random, by_hand: dict[str, list[Fraction]]) -> None:
    """An operator settles all of an adjustment as the newest receipt shows it, whatever is under way meanwhile."""
    found = [one for one in world.receipts() if one.adjustment is not None and one.adjustment.is_open]
    if not found:
        return
    receipt = rng.choice(found)
    assert receipt.adjustment is not None
    said = SettleRecord(target=receipt_key(receipt).decode(), units=receipt.adjustment.units, settled=receipt.adjustment.settled, how="by hand")
    by_hand.setdefault(receipt.adjustment.id, []).append(Fraction(said.units))
    world.define(Settlement(customer=receipt.customer, said=said, offset=1000 + len(world.definitions)))


def _judged(world: RemedyWorld, customer: str, by_hand: dict[str, list[Fraction]]) -> list[str]:
    """Every unit of a customer stands, is billed elsewhere once, or was settled by hand; the money is that of one invoice of everything."""
    mine = [one for one in world.receipts() if one.customer == customer and one.adjustment is not None]
    faults = [fault for receipt in mine for fault in _settled(world, receipt, by_hand)]
    made = [made for made in world.stripe.made if made.mark.partition("/")[0] in {one.adjustment.id for one in mine if one.adjustment is not None}]
    marks = [one.mark for one in made]
    if len(marks) != len(set(marks)):
        faults.append(f"{customer}: made twice under one mark: {marks}")
    expected = {second: units for (item, second), units in world.expected(ITEMS).items() if item == ITEMS[customer]}
    wanted = sum(units for second, units in expected.items() if second <= PERIOD.end_s)
    settled = sum((Fraction(one.adjustment.settled) for one in mine if one.adjustment is not None), Fraction(0))
    if settled != wanted - STOOD:
        faults.append(f"{customer}: {settled} units are settled of {wanted - STOOD}")
    carried = sum(int(part.units) for one in mine if one.adjustment is not None for part in one.adjustment.carried)
    following = {second: units for (item, second), units in world.standing().items() if item == ITEMS[customer] and second > PERIOD.end_s}
    used = {second: units for second, units in expected.items() if second > PERIOD.end_s}
    if any(following.get(second) != units for second, units in used.items()) or sum(following.values()) != carried + sum(used.values()):
        faults.append(f"{customer}: in the next period {following} stand, {used} were used and {carried} carried there")
    first, last = billed(world.stripe.price, Fraction(STOOD)), billed(world.stripe.price, Fraction(wanted))
    owed = None if first is None or last is None else last - first
    money = sum(one.amount for one in made)
    if money != owed and not by_hand and not carried:
        faults.append(f"{customer}: {money} cents are billed elsewhere, {owed} are owed")
    return faults


def _settled(world: RemedyWorld, receipt: CellReceipt, by_hand: dict[str, list[Fraction]]) -> list[str]:
    """What is settled of a cell is what was made for it, what came to nothing, and some of what operators said."""
    said = receipt.adjustment
    assert said is not None
    made = sum((Fraction(one.units) for one in world.stripe.made if one.mark.partition("/")[0] == said.id), Fraction(0))
    made += sum((Fraction(part.units) for part in said.carried), Fraction(0))
    hands = by_hand.get(said.id, [])
    sums = {sum(some, Fraction(0)) for size in range(len(hands) + 1) for some in combinations(hands, size)}
    if world.stripe.price is TIERED or Fraction(said.settled) - made in sums:
        return []
    return [f"{receipt.cell}: {said.settled} units are settled, {made} were billed elsewhere, and operators said {hands}"]


def test_h28_what_is_billed_elsewhere_is_billed_once() -> None:
    """Whatever comes after finalisation and whatever fails: every unit is billed elsewhere once, and all of it comes to what one invoice would."""
    assert not clean(seeded, 20)
