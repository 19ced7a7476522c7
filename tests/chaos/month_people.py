"""Who lives through a month on real Kafka: anchors, billing modes and prices mixed, and what their lines must cost, by arithmetic of our own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

from infra.demo.month import Subscriber
from infra.demo.month_usage import DAY_S, HOUR_S, Counted

CALLS = Counted("calls", "api.request", "count")
TOKENS = Counted("tokens", "llm.request", "tokens")
SECONDS = Counted("gpu_seconds", "gpu.job", "seconds")
MESSAGES = Counted("messages", "message.sent", "count")
LEGACY, METERED = (CALLS, TOKENS), (SECONDS, MESSAGES)
CONFIGURATION = """
[stripe]
calls_per_second = 400
[timing]
revision_delay = "1s"
[[meters]]
slug = "calls"
event_type = "api.request"
value = "count"
window = "1h"
grace = "1m"
unit_amount = "3"
[[meters]]
slug = "tokens"
event_type = "llm.request"
value = "tokens"
window = "15m"
grace = "1m"
[[meters]]
slug = "gpu_seconds"
event_type = "gpu.job"
value = "seconds"
window = "1h"
grace = "1m"
stripe_mode = "meters"
stripe_aggregation = "hour"
[[meters]]
slug = "messages"
event_type = "message.sent"
value = "count"
window = "1h"
grace = "1m"
stripe_mode = "meters"
stripe_aggregation = "sum"
unit_amount = "2"
"""
FIRST_TIER, FLAT = 50_000, 700
"""Of the graduated price for tokens: two units of money each up to here, then 700 once and one each."""
UNIT_AMOUNTS = {"calls": 3, "tokens": 1, "gpu_seconds": 1, "messages": 2}


class Person(NamedTuple):
    """One of them: how many seconds ago its month began, what it uses, and whether its tokens are tiered."""

    name: str
    since_s: int
    meters: tuple[Counted, ...]
    is_tiered: bool
    late: int


def people(now: datetime, seed: int) -> list[Person]:
    """Nine: four by usage records with any second as anchor, one of them on the last day of a month; three by Billing Meters on whole hours; two
    by both at once. Every second one has stragglers."""
    chance = Random(seed)
    now_s = int(now.timestamp())
    kinds = [LEGACY, LEGACY, LEGACY, LEGACY, METERED, METERED, METERED, (*LEGACY, *METERED), (*LEGACY, *METERED)]
    found = []
    for number, meters in enumerate(kinds):
        since_s = now_s - chance.randrange(33 * DAY_S, 60 * DAY_S)
        if number == 0:
            since_s = _last_day(now) + 23 * HOUR_S + chance.randrange(HOUR_S)
        if SECONDS in meters:
            since_s -= since_s % HOUR_S
        found.append(Person(f"company-{number}", since_s, meters, number % 3 == 0, 6 * (number % 2)))
    return found


def _last_day(now: datetime) -> int:
    """The last day of a month, more than a month ago."""
    days = (int(now.timestamp()) // DAY_S - ago for ago in range(35, 100))
    return next(day for day in days if datetime.fromtimestamp((day + 1) * DAY_S, UTC).day == 1) * DAY_S


def subscriber(person: Person, prices: Mapping[str, str], tiered: str, seed: int = 1) -> Subscriber:
    """With a subscription for each billing mode: Stripe takes no legacy price and price on a meter by one call."""
    chosen = {**prices, "tokens": tiered} if person.is_tiered else prices
    modes = [[(meter.slug, chosen[meter.slug]) for meter in mode if meter in person.meters] for mode in (LEGACY, METERED)]
    plans = tuple(tuple(mode) for mode in modes if mode)
    return Subscriber(person.name, person.since_s, person.meters, plans, hours=40, late=person.late, seed=seed)


def cost(person: Person, slug: str, units: int) -> int:
    """What so many units cost."""
    if slug == "tokens" and person.is_tiered:
        rest = max(0, units - FIRST_TIER)
        return 2 * min(units, FIRST_TIER) + (FLAT + rest if rest else 0)
    return UNIT_AMOUNTS[slug] * units
