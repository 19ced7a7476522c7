"""H24, law 14: one key with other bytes is an error at Stripe; a saved 500 comes back under its key for a day."""

from __future__ import annotations

import json
import random

from sinks.outcomes import Answer, Delivered, Wanted, outcome_of
from tests.core.report_world import START_S, total_of
from tests.hazards.fold import clean
from tests.hazards.test_h22_late_request import ITEMS, judged, world_of
from topics.quantity import ONE

WITHIN_MS = 60_000


def seeded(seed: int) -> list[str]:
    """Some keys get a 500 that is saved; totals go up, down and back; the last total stands within a minute, each key with one body."""
    rng = random.Random(seed)
    world = world_of(seed)
    cursed = rng.randrange(1, 3)

    def sticky(key: str) -> bool:
        return len(world.stripe.keys) < cursed and key not in world.stripe.keys

    world.stripe.sticky = sticky
    world.start()
    faults: list[str] = []
    for number, units in enumerate(rng.choice(((5, 6, 5), (5, 5, 7), (0, 3, 0), (9,)))):
        world.source.append(total_of("acme", START_S - 3600, units * ONE, number))
        began_ms = world.now_ms
        world.run(limit=4_000)
        if world.now_ms - began_ms > WITHIN_MS:
            faults.append(f"revision {number + 1} stands only after {(world.now_ms - began_ms) / 1000:.0f} s")
    return faults + judged(world, ITEMS) + _believed(rng)


def _believed(rng: random.Random) -> list[str]:
    """A 200 for another item, second or quantity, as a cache on the way may give it, is no delivery."""
    wanted = Wanted("si_1", START_S, 7)
    told = {"object": "usage_record", "subscription_item": "si_1", "timestamp": START_S, "quantity": 7}
    told |= rng.choice(({"quantity": 8}, {"timestamp": START_S + 1}, {"subscription_item": "si_2"}, {"object": "list"}))
    found = outcome_of(Answer(200, json.dumps(told)), wanted)
    return ["the answer to another request is taken for a delivery"] if isinstance(found, Delivered) else []


def test_h24_a_saved_failure_is_passed_by_a_new_attempt() -> None:
    """Whatever Stripe has saved under a key, the latest total stands within a minute under a new attempt, and no key names two requests."""
    assert not clean(seeded, 60)
