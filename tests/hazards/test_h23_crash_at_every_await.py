"""H23, law 13: windows are committed while a delivery waits in memory; receipts are compacted to the last of each key before every recovery."""

from __future__ import annotations

import random

from tests.core.report_world import START_S, binding, item_of, total_of
from tests.hazards.fold import clean
from tests.hazards.test_h22_late_request import ITEMS, judged, world_of
from topics.quantity import ONE


def seeded(seed: int) -> list[str]:
    """Killed at three awaits, of which one is in a recovery; corrections come between; one customer is bound only later."""
    rng = random.Random(seed)
    world = world_of(seed)
    world.lost_replies = rng.choice((0.0, 0.3))
    names = ("acme", "acme", "zen", "late")
    for number in range(8):
        world.source.append(total_of(rng.choice(names), START_S - 3600 * rng.randrange(1, 4), (5 + number) * ONE, number))
    for turn in range(3):
        worker = world.start()
        world.feed()
        for _ in range(rng.randrange(1, 30)):
            world.step(worker)
            world.pass_time(rng.choice((20, 100, 2_000)))
        world.kill()
        for number in range(rng.randrange(4)):
            world.source.append(total_of(rng.choice(names), START_S - 3600 * rng.randrange(1, 4), rng.randrange(30) * ONE, 100 * turn + 100 + number))
        if rng.random() < 0.5:
            world.source.append(rng.choice(world.source))  # a meter that crashed says a revision again
    if rng.random() < 0.5:
        world.start()
        world.feed()
        world.run()
        world.kill()  # everything is delivered or parked: the receipts alone know it
    world.definitions.append(binding("late", item_of("si_3")))
    world.settle(limit=8_000)
    return judged(world, {**ITEMS, "late": "si_3"})


def test_h23_a_crash_at_any_await_loses_nothing() -> None:
    """Killed at any awaits, from receipts compacted to the last of each key, every committed window is delivered with its latest total."""
    assert not clean(seeded, 120)
