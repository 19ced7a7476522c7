"""H24 at meters, law 14: a saved 500 whose event had landed; the next attempt has another key and the same identifier."""

from __future__ import annotations

import json
import random

from sinks.outcomes import Answer, Delivered, WantedEvent, outcome_of
from tests.core.report_world import START_S
from tests.core.test_report_meters import held, judged, meters_world, total, wanted
from tests.hazards.fold import clean
from tests.hazards.test_h22_late_request import Watchful

WITHIN_MS = 60_000


def seeded(seed: int) -> list[str]:
    """Some keys get a 500 that is saved, with or without effect; totals go up, down and back; the last one stands within a minute, once."""
    rng = random.Random(seed)
    modes = {"acme": rng.choice(("hour", "sum"))}
    world = meters_world(seed, modes)
    meters, world.stripe = world.stripe.meters, Watchful(world.chance)
    world.stripe.meters = meters
    cursed = rng.randrange(1, 3)
    world.stripe.sticky = lambda key: len(world.stripe.keys) < cursed and key not in world.stripe.keys
    world.start()
    faults: list[str] = []
    for number, units in enumerate(rng.choice(((5, 6, 5), (5, 5, 7), (0, 3, 0), (9,)))):
        world.source.append(total("acme", 1, units, number))
        began_ms = world.now_ms
        world.run(limit=4_000)
        if world.now_ms - began_ms > WITHIN_MS:
            faults.append(f"revision {number + 1} stands only after {(world.now_ms - began_ms) / 1000:.0f} s")
    if held(world, modes) != wanted(world, modes):
        faults.append(f"held {held(world, modes)}, wanted {wanted(world, modes)}")
    return faults + world.stripe.errors + world.stripe.meters.errors + _believed(rng)


def _believed(rng: random.Random) -> list[str]:
    """A 200 for another event, as a cache on the way may give it, is no delivery."""
    payload = {"value": "7", "stripe_customer_id": "cus_1"}
    said = {"object": "billing.meter_event", "event_name": "calls", "identifier": "i1", "timestamp": START_S, "payload": payload}
    changes: tuple[dict[str, object], ...] = (
        {"identifier": "i2"},
        {"timestamp": START_S + 1},
        {"event_name": "other"},
        {"payload": {**payload, "value": "8"}},
        {"payload": {**payload, "stripe_customer_id": "cus_2"}},
    )
    found = outcome_of(Answer(200, json.dumps({**said, **rng.choice(changes)})), WantedEvent("calls", "i1", START_S, payload))
    return ["the answer to another event is taken for a delivery"] if isinstance(found, Delivered) else []


def seeded_storm(seed: int) -> list[str]:
    """A life of lost answers, saved failures, outages of hours and days, crashes and freezes."""
    from tests.core.test_report_meters import live

    return judged(live(seed))


def test_h24_the_next_attempt_is_the_same_event() -> None:
    """Whatever Stripe has saved under a key, the latest total stands within a minute, and no event counts twice."""
    assert not clean(seeded, 60)


def test_h24_storms_leave_every_meter_exact() -> None:
    """In storms of lost answers and saved failures each meter ends with the latest totals, and no identifier is used again once it is forgotten."""
    assert not clean(seeded_storm, 40)
