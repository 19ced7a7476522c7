"""H22, law 13: revision 1's request hangs, revision 2 lands, 1 executes last; or a worker that was frozen thaws after its successor."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from sinks.outcomes import Answer
from tests.core import test_report_simulation as simulation
from tests.core.report_stripe import DAY_MS, FakeStripe
from tests.core.report_world import START_S, World, binding, item_of, total_of
from tests.hazards.fold import clean, differences
from topics.quantity import ONE

ITEMS = {"acme": "si_1", "zen": "si_2"}
SLEEPS_MS = (0, 20_000, 59_000, 70_000, 3_600_000, DAY_MS - 120_000, DAY_MS + 120_000, 40 * DAY_MS)


@dataclass
class Watchful(FakeStripe):
    """Also notes when each key came first: one that comes again after a day is a new request to Stripe."""

    first_ms: dict[str, int] = field(default_factory=dict)

    def post(self, path: str, body: str, key: str, now_ms: int) -> Answer:
        """One request as it reaches Stripe."""
        if now_ms - self.first_ms.setdefault(key, now_ms) >= DAY_MS:
            self.errors.append(f"{key[:12]} is sent again after {(now_ms - self.first_ms[key]) / 3_600_000:.0f} hours, when it is forgotten")
        return super().post(path, body, key, now_ms)


def world_of(seed: int, customers: dict[str, str] | None = None) -> World:
    """Two bound customers at a watchful Stripe."""
    world = World(seed)
    world.stripe = Watchful(world.chance)
    for customer, item in (ITEMS if customers is None else customers).items():
        world.definitions.append(binding(customer, item_of(item)))
    return world


def judged(world: World, items: dict[str, str]) -> list[str]:
    """What Stripe bills against the latest totals."""
    faults = differences("cell", world.standing(), world.expected(items))
    return faults + world.stripe.errors[:2] + [f"two intents of {cell} are open at once" for cell in world.double_intents[:1]]


def seeded(seed: int) -> list[str]:
    """Frozen at one await between intent and socket; a successor delivers a correction; the frozen one thaws soon, or days later."""
    rng = random.Random(seed)
    world = world_of(seed)
    world.lost_replies = rng.choice((0.0, 0.3))
    for number, (customer, hours) in enumerate((("acme", 1), ("acme", 2), ("zen", 1))):
        world.source.append(total_of(customer, START_S - 3600 * hours, (5 + number) * ONE, number))
    worker = world.start()
    world.feed()
    for _ in range(rng.randrange(1, 26)):
        world.step(worker)
        world.pass_time(100)
    world.suspend()
    world.lost_replies = 0.0
    world.start()
    for number, total in enumerate(list(world.source)):
        world.source.append(total_of(total.customer, total.window.start_s, total.scaled + ONE, 100 + number))
    world.run()
    world.pass_time(rng.choice(SLEEPS_MS))
    for _ in range(60):
        for sleeper in world.asleep:
            world.step(sleeper)
    world.asleep.clear()
    world.run()
    return judged(world, ITEMS)


def seeded_storm(seed: int) -> list[str]:
    """A life of lost and hanging requests, outages of hours and days, crashes, freezes; slow requests land up to ten minutes later."""
    world = World(seed)
    world.stripe = Watchful(world.chance)
    world.lost_replies = world.chance.choice((0.2, 0.5))
    world.slow = world.chance.choice((0.2, 0.6))
    world.stripe.faults = {fault: world.chance.choice((0.0, 0.1, 0.3)) for fault in ("429", "500", "503")}
    for customer, item in simulation.ITEMS.items():
        world.definitions.append(binding(customer, item_of(item)))
    for _ in range(250):
        if world.chance.random() < 0.15:
            simulation.disturb(world)
        if world.worker is not None:
            world.step(world.worker)
    world.wake()
    world.settle(limit=15_000)
    world.pass_time(700_000)  # what is still on the wire arrives
    return judged(world, simulation.ITEMS)


def test_h22_a_request_that_lands_late_changes_nothing() -> None:
    """Frozen at any await and thawed before or after Stripe forgot its key, a worker leaves its successor's correction standing."""
    assert not clean(seeded, 150)


def test_h22_storms_of_hanging_requests_end_exact() -> None:
    """Whatever hangs, is lost, answered late or not at all, Stripe ends with the latest totals, and no key is used after a day."""
    assert not clean(seeded_storm, 60)
