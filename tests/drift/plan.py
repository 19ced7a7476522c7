"""What a seed decides of one account's fortnight: who uses what, how much, when it is sent, what is sent twice, wrongly or late."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from topics.meters import Meter, Timing

HOUR_S: Final = 3600
DAY_S: Final = 86_400
START_S: Final = 1_798_761_600
"""2027-01-01T00:00:00Z."""
EDGE_S: Final = START_S + 7 * DAY_S
"""The end of the first billing period of everybody; its invoices are final an hour later."""
UNTIL_S: Final = EDGE_S + 4 * DAY_S
"""When the books are looked at: the second period runs."""
QUIET_S: Final = 8 * HOUR_S
"""Nothing is used in the last hours before the books are looked at, so that all windows are closed by then."""
TIMING: Final = Timing(dedup_ms=DAY_S * 1000, revision_delay_ms=30_000)
"""Ids are kept for a day, so that a copy of an older event is counted, as one of seven days is in life."""


class Sort(NamedTuple):
    """One meter of ours, and how it is billed."""

    slug: str
    window_s: int
    mode: Literal["usage_records", "meters"]
    aggregation: Literal["", "hour", "day"]
    scale: str
    fractions: Literal["refuse", "ledger", "exact"]
    places: int
    """Decimal places of a quantity."""
    price: dict[str, Any]


SORTS: Final = (
    Sort("calls", HOUR_S, "usage_records", "", "1", "refuse", 0, {"unit_amount": 3}),
    Sort("data", HOUR_S, "usage_records", "", "1", "ledger", 3, {"unit_amount_decimal": "0.125"}),
    Sort("seats", 900, "usage_records", "", "1000", "refuse", 3, {"unit_amount_decimal": "0.5"}),
    Sort("hourly", HOUR_S, "meters", "hour", "1", "refuse", 0, {"unit_amount": 2}),
    Sort("daily", 6 * HOUR_S, "meters", "day", "1", "exact", 2, {"unit_amount": 5}),
)
METERS: Final = tuple(
    Meter(slug=sort.slug, event_type=f"used.{sort.slug}", value="n", window_s=sort.window_s, grace_ms=300_000, allow_negative=False)
    for sort in SORTS
)
SORT_OF: Final = {sort.slug: sort for sort in SORTS}


@dataclass(frozen=True)
class Person:
    """One customer and the meters it is billed for."""

    name: str
    meters: tuple[str, ...]


class Used(NamedTuple):
    """One event; `bad` ones are rejected."""

    sent_at_s: int
    customer: str
    meter: str
    id: str
    occurred_at_s: int
    quantity: str
    bad: bool = False


@dataclass
class Plan:
    """Everything of one seed."""

    seed: int
    people: tuple[Person, ...]
    used: list[Used] = field(default_factory=list)


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(seed)
    slugs = [sort.slug for sort in SORTS]
    names = [f"{chance.choice(('acme', 'a|b', 'ünï 顧客', 'c%7Cd'))}-{number}" for number in range(4)]
    # The first customer has all meters, so that every seed has every kind of cell.
    some = [slugs, [*chance.sample(slugs[:-1], 2), slugs[-1]], chance.sample(slugs, 2), chance.sample(slugs, 2)]
    people = tuple(Person(name, tuple(sorted(meters))) for name, meters in zip(names, some, strict=True))
    plan = Plan(seed, people)
    for person in people:
        for meter in person.meters:
            plan.used += _used(chance, person.name, SORT_OF[meter])
    plan.used.sort(key=lambda one: (one.sent_at_s, one.id))
    return plan


def _used(chance: random.Random, customer: str, sort: Sort) -> list[Used]:
    found: list[Used] = []
    for begin_s, end_s, windows in ((START_S, EDGE_S, 8), (EDGE_S, UNTIL_S - QUIET_S, 8)):
        starts = chance.sample(range(begin_s, end_s, max(sort.window_s, HOUR_S)), windows)
        for start_s in starts:
            for _ in range(chance.choice((1, 1, 2, 3))):
                found += _event(chance, customer, sort, start_s, end_s, len(found))
    return found


def _event(chance: random.Random, customer: str, sort: Sort, start_s: int, end_s: int, number: int) -> list[Used]:
    """An event of a window, and perhaps a copy of it within the promise or a bad one beside it."""
    occurred_at_s = start_s + chance.randrange(sort.window_s)
    # Late ones make revisions; they come while the period still runs.
    delay_s = chance.choice((1, 20, 60, 90, 4 * HOUR_S, 9 * HOUR_S))
    sent_at_s = min(occurred_at_s + delay_s, max(occurred_at_s + 1, end_s - 2 * HOUR_S))
    whole = chance.randrange(1, 10_000_000)
    quantity = str(whole) if not sort.places else f"{whole}.{chance.randrange(10**sort.places):0{sort.places}d}"
    used = Used(sent_at_s, customer, sort.slug, f"{sort.slug}-{number}", occurred_at_s, quantity)
    found = [used]
    draw = chance.random()
    if draw < 0.1:
        found.append(used._replace(sent_at_s=sent_at_s + chance.randrange(1, HOUR_S)))
    elif draw < 0.15:
        found.append(used._replace(id=f"{used.id}-bad", bad=True))
    return found
