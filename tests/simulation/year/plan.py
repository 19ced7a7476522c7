"""What a seed decides of a year: who subscribes when to what, who cancels, who sends what, how late."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from topics.periods import Interval, edge

DAY_S: Final = 86_400
START_S: Final = 1_798_761_600
"""2027-01-01T00:00:00Z."""
PRICES: Final[dict[str, dict[str, Any]]] = {
    "unit": {"unit_amount": 3},
    "decimal": {"unit_amount_decimal": "0.125"},
    "graduated": {
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers": [{"up_to": 20, "unit_amount": 10}, {"up_to": 100, "unit_amount": 5, "flat_amount": 100}, {"up_to": "inf", "unit_amount": 1}],
    },
    "volume": {"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": 50, "unit_amount": 7}, {"up_to": "inf", "unit_amount": 2}]},
    "package": {"unit_amount": 250, "transform_quantity": {"divide_by": 25, "round": "up"}},
}
MODES: Final[dict[str, Literal["", "hour", "day", "sum"]]] = {"calls": "", "hourly": "hour", "daily": "day", "deltas": "sum"}
"""Our meters, and how each is billed at Stripe: by usage records, or on a Billing Meter that keeps the newest of an hour or day, or adds all up."""
INTERVALS: Final[tuple[tuple[Interval, int], ...]] = (("month", 1), ("month", 1), ("month", 1), ("week", 1), ("month", 3), ("year", 1))
WHOLE_S: Final = {"hourly": 3600, "daily": DAY_S}
"""What Stripe keeps apart by UTC hours or days must be billed by whole ones (law 12)."""
LATE: Final = ((0.80, 60), (0.90, 3 * 3600), (0.97, 3 * DAY_S), (1.0, 28 * DAY_S))
"""(up to this draw, so many seconds late at most)."""


class Used(NamedTuple):
    """One event: when it happened, when it is sent, how much of it."""

    occurred_at_s: int
    sent_at_s: int
    customer: int
    quantity: int
    id: str


@dataclass(frozen=True)
class Subscriber:
    """One customer of one meter of `MODES`, billed every `count` intervals. `anchor_s`: the cycle's first edge, where it is not an interval after
    joining. `cancels_at_s`: when it asks for the end (None: never), `at_once` or at the period's end."""

    number: int
    name: str
    joins_at_s: int
    meter: str
    interval: Interval
    price: str
    count: int = 1
    anchor_s: int | None = None
    cancels_at_s: int | None = None
    at_once: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything of one year."""

    seed: int
    until_s: int
    subscribers: tuple[Subscriber, ...]
    used: tuple[Used, ...]


def plan_of(seed: int, customers: int, days: int, events_a_day: float = 1.0) -> Plan:
    """The plan of a seed."""
    chance = random.Random(seed)
    until_s = START_S + days * DAY_S
    subscribers = tuple(_subscriber(chance, number, days) for number in range(customers))
    used = sorted((one for each in subscribers for one in _used(chance, each, until_s, events_a_day)), key=lambda one: (one.sent_at_s, one.id))
    return Plan(seed, until_s, subscribers, tuple(used))


def _subscriber(chance: random.Random, number: int, days: int) -> Subscriber:
    # A month's last days are no edge of every month: a fifth joins there.
    month_s = min(days // 2, 31) * DAY_S
    joins_at_s = START_S + (28 * DAY_S + chance.randrange(3 * DAY_S) if chance.random() < 0.2 and days > 62 else chance.randrange(month_s))
    meter = chance.choice(sorted(MODES))
    joins_at_s = _whole(joins_at_s, meter)
    interval, count = chance.choice(INTERVALS)
    anchor_s = None
    if chance.random() < 0.3:
        anchor_s = _whole(chance.randrange(joins_at_s, edge(joins_at_s, interval, count, 1)), meter)
    cancels = chance.random() < 0.15
    return Subscriber(
        number=number,
        name=chance.choice(("acme", "a|b", "ünï 顧客", "c%7Cd")) + f"-{number}",
        joins_at_s=joins_at_s,
        meter=meter,
        interval=interval,
        count=count,
        anchor_s=None if anchor_s == joins_at_s else anchor_s,
        price=chance.choice(sorted(PRICES)),
        cancels_at_s=joins_at_s + chance.randrange(days * DAY_S) if cancels else None,
        at_once=chance.random() < 0.3,
    )


def _whole(at_s: int, meter: str) -> int:
    return at_s - at_s % WHOLE_S.get(meter, 1)


def edges_of(each: Subscriber, until_s: int) -> list[int]:
    """The edges of its billing periods before an instant."""
    anchor_s, k = (each.joins_at_s, 1) if each.anchor_s is None else (each.anchor_s, 0)
    found: list[int] = []
    while (edge_s := edge(anchor_s, each.interval, each.count, k + len(found))) < until_s:
        found.append(edge_s)
    return found


def _used(chance: random.Random, each: Subscriber, until_s: int, events_a_day: float) -> list[Used]:
    found: list[Used] = []
    at_s = float(each.joins_at_s)
    while True:
        at_s += chance.expovariate(events_a_day / DAY_S)
        occurred_at_s = int(at_s)
        if occurred_at_s >= until_s or (each.cancels_at_s is not None and occurred_at_s >= each.cancels_at_s):
            return found
        draw = chance.random()
        most_s = next(seconds for share, seconds in LATE if draw <= share)
        sent_at_s, quantity = occurred_at_s + chance.randrange(1, most_s), chance.choice((1, 1, 2, 7, 40))
        found.append(Used(occurred_at_s, sent_at_s, each.number, quantity, f"e{each.number}-{len(found)}"))
