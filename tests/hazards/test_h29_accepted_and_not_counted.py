"""H29, law 15: a meter event answers 200 and does not count: its customer is unknown, or the meter was archived."""

from __future__ import annotations

import random

from tests.core.report_world import World
from tests.core.test_report_meters import held, meters_world, receipts, total, wanted
from tests.hazards.fold import clean
from topics.meter_errors import MeterError, MeterErrorRecord
from topics.receipt import cell_key

HOURS_MS = 3_600_000


def _report(world: World, told: set[str]) -> None:
    """The provider's thin event about what it did not count, as a webhook brings it: sometimes twice."""
    keys = tuple(event.key for event in world.stripe.meters.events if not event.counts and event.key not in told)
    told.update(keys)
    for number in range(world.chance.choice((1, 2)) if keys else 0):
        said = MeterErrorRecord(event=f"evt_{len(told)}", code="meter_event_customer_not_found", sentence="gone", count=len(keys), keys=keys)
        world.define(MeterError(said=said, offset=100 + number))


def seeded(seed: int) -> list[str]:
    """Events that are accepted and not counted, with webhooks and without; then the cause is removed and the cells are released."""
    rng = random.Random(seed)
    modes, webhooks = {"acme": rng.choice(("hour", "day", "sum"))}, rng.random() < 0.5
    world = meters_world(seed, modes)
    for hours in range(1, 4):
        world.source.append(total("acme", hours, 10 + hours, hours))
    world.settle()
    world.stripe.meters.refuses = lambda _event: True
    for hours in range(1, 6):
        world.source.append(total("acme", hours, 20 + hours, 10 + hours))
    told: set[str] = set()
    for _ in range(30):
        world.settle(lambda: True)
        world.run(lambda: all(receipt.state != "intent" for receipt in receipts(world)))
        if webhooks:
            _report(world, told)
        elif rng.random() < 0.3:
            world.kill()
            world.start()
            world.feed()
        _rest(world)
        world.pass_time(HOURS_MS)
    refused = [receipt for receipt in receipts(world) if receipt.state == "refused"]
    faults = [f"{receipt.cell} reads as {receipt.state}, and its event does not count" for receipt in receipts(world) if receipt.state != "refused"]
    if webhooks:
        faults += [f"{receipt.cell} does not say why: {receipt.reason}" for receipt in refused if receipt.reason != "meter_event_customer_not_found"]
    world.stripe.meters.refuses = lambda _event: False
    for receipt in refused:
        world.release(cell_key(receipt.provider, receipt.account, receipt.cell))
    world.settle()
    if held(world, modes) != wanted(world, modes):
        faults.append(f"after the release held {held(world, modes)}, wanted {wanted(world, modes)}")
    return faults + world.stripe.meters.errors


def _rest(world: World) -> None:
    """Whatever is due is done."""
    assert world.worker is not None
    for _ in range(60):
        world.step(world.worker)


def test_h29_what_is_accepted_and_does_not_count_is_refused() -> None:
    """With webhooks by the provider's error, without them by reading back, such a cell ends as refused; a release sends it again, exactly once."""
    assert not clean(seeded, 60)
