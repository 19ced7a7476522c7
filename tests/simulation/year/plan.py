"""What a seed decides of a year: who subscribes when to what, what becomes of it, who sends what, how late."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.simulation.year.subscriber import DAY_S, START_S, Subscriber, ends_of, subscriber_of

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
    subscribers = tuple(subscriber_of(chance, number, days) for number in range(customers))
    used = sorted((one for each in subscribers for one in used_of(chance, each, until_s, events_a_day)), key=lambda one: (one.sent_at_s, one.id))
    return Plan(seed, until_s, subscribers, tuple(used))


def groups_of(plan: Plan, size: int) -> list[Plan]:
    """The same customers, so many at a time, each group with an account, a clock and a log of its own: nobody's bill depends on another's."""
    found: list[Plan] = []
    for first in range(0, len(plan.subscribers), size):
        members = plan.subscribers[first : first + size]
        numbers = {each.number for each in members}
        used = tuple(one for one in plan.used if one.customer in numbers)
        found.append(Plan(plan.seed * 1000 + len(found), plan.until_s, members, used))
    return found


def used_of(chance: random.Random, each: Subscriber, until_s: int, events_a_day: float) -> list[Used]:
    """What a customer uses until it ends, and when each event is sent: most within a minute, the latest four weeks after."""
    found: list[Used] = []
    at_s, ends_at_s = float(each.joins_at_s), min(until_s, ends_of(each))
    while True:
        at_s += chance.expovariate(events_a_day / DAY_S)
        occurred_at_s = int(at_s)
        if occurred_at_s >= ends_at_s:
            return found
        draw = chance.random()
        most_s = next(seconds for share, seconds in LATE if draw <= share)
        sent_at_s, quantity = occurred_at_s + chance.randrange(1, most_s), chance.choice((1, 1, 2, 7, 40))
        found.append(Used(occurred_at_s, sent_at_s, each.number, quantity, f"e{each.number}-{len(found)}"))
