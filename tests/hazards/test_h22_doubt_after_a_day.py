"""H22, law 13: no answer for 23 hours; what stands is read back from the item's total, while an old request may still be on its way."""

from __future__ import annotations

import random

from tests.core.report_world import START_S, World, total_of
from tests.hazards.fold import clean
from tests.hazards.test_h22_late_request import judged, world_of
from topics.quantity import ONE

HOUR_MS = 3_600_000


def _work(world: World, steps: int) -> None:
    """The worker goes on for a while; a worker that is gone is followed by another."""
    worker = world.worker or world.start()
    world.feed()
    for _ in range(steps):
        world.step(worker)
        world.pass_time(world.chance.choice((20, 400, 3_000)))


def seeded(seed: int) -> list[str]:
    """Cells of one item whose answers are lost for a day; some keys hold a saved failure of unknown effect; requests hang for ten minutes."""
    rng = random.Random(seed)
    world = world_of(seed, {"acme": "si_1"})
    world.slow = rng.choice((0.0, 0.5, 1.0))
    world.stripe.faults = {"500": rng.choice((0.0, 0.4, 0.8))}
    for turn in range(2):
        world.lost_replies = 1.0
        for number in range(3):
            world.source.append(total_of("acme", START_S - 3600 * (1 + number), rng.randrange(1, 90) * ONE, 100 * turn + number))
        _work(world, rng.randrange(10, 60))
        world.pass_time(23 * HOUR_MS - rng.randrange(15 * 60_000))
        world.stripe.faults = {}
        if rng.random() < 0.3:
            world.kill()
        for minute in range(12):
            world.lost_replies = rng.choice((0.0, 1.0))
            if rng.random() < 0.3:
                world.source.append(total_of("acme", START_S - 3600 * rng.randrange(1, 4), rng.randrange(1, 90) * ONE, 100 * turn + 20 + minute))
            _work(world, rng.randrange(5, 30))
            world.pass_time(rng.randrange(3 * 60_000))
        world.source.append(total_of("acme", START_S - 3600, rng.randrange(1, 90) * ONE, 100 * turn + 70))
    world.settle()
    world.pass_time(700_000)
    return judged(world, {"acme": "si_1"})


def test_h22_a_day_without_answers_ends_exact() -> None:
    """After a day of lost answers what stands is concluded only when nothing is under way any more, and each cell ends with its latest total."""
    assert not clean(seeded, 80)
