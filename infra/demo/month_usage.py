"""One month of one customer, made from a seed: what it uses in each week of its test clock's time, and beside it what must be on its invoice,
counted here with plain dictionaries and none of the product's code.

Most usage is sent in the week in which it happened; some of it a week late, and some twice.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from infra.demo.usage import Kind, Made

HOUR_S: Final = 3600
DAY_S: Final = 86_400
WEEKS: Final = 4
BEFORE_EDGE_S: Final = 240
"""The last look before the period's edge: what is used until then and within the product's tolerance for the future is sent while the old
period still takes it."""
AFTER_EDGE_S: Final = 7200
"""Stripe finalises a period's invoice about an hour after its edge."""
DRAFT_S: Final = 600
"""So long after the edge the invoice is still a draft, but legacy usage records are no longer taken."""
WEEK_S: Final = 7 * DAY_S
SETTLING_S: Final = 2 * HOUR_S
"""What happened so long before the clock's time lies in windows that its word closes: an hour, and their grace."""


class Counted(NamedTuple):
    """A meter: its events' type, and the property with the quantity ("count": each counts one)."""

    slug: str
    event_type: str
    value: str


class Event(NamedTuple):
    """Something used: how many units of which meter, and the bytes that say so."""

    slug: str
    units: int
    value: bytes


class Chapter(NamedTuple):
    """The clock shows `now_s`; then these are sent. `sums`: what must be delivered by meter, once all of them are counted; None where nobody
    can say, because the period is over and its invoice may be final at any moment."""

    now_s: int
    records: tuple[Made, ...]
    sums: Counter[str] | None


@dataclass
class Month:
    """A period `[start_s, end_s)` of a customer. `units` are used in time; `stragglers` are sent after the edge, while the invoice is a draft."""

    customer: str
    start_s: int
    end_s: int
    chapters: list[Chapter] = field(default_factory=list)
    units: Counter[str] = field(default_factory=Counter)
    stragglers: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)


def made_month(customer: str, meters: Sequence[Counted], start_s: int, end_s: int, *, hours: int = 70, late: int = 0, seed: int = 11) -> Month:
    """About three events of each meter in so many hours of the period, the last of them in its last hour; in `late` hours more they come after
    the edge."""
    chance = random.Random(f"{seed} {customer}")
    month = Month(customer, start_s, end_s)
    looks = [start_s + (end_s - start_s) * week // WEEKS for week in range(1, WEEKS)] + [end_s - BEFORE_EDGE_S]
    when = sorted(chance.randrange(start_s + 1, end_s - HOUR_S) for _ in range(hours - 1))
    delayed: list[Event] = []
    since_s = 0
    for now_s in looks:
        until_s = end_s if now_s == looks[-1] else now_s - SETTLING_S
        hours_s = [at_s for at_s in when if since_s <= at_s < until_s] + ([end_s - HOUR_S // 2] if until_s == end_s else [])
        events = [event for at_s in hours_s for event in _hour(chance, customer, meters, at_s, until_s)]
        waiting = [event for event in events if until_s < end_s and chance.random() < 0.03]
        records = _sent(month, chance, [event for event in events if event not in waiting], "usage") + _sent(month, chance, delayed, "late")
        month.chapters.append(Chapter(now_s, tuple(records), Counter(month.units)))
        delayed, since_s = waiting, until_s
    if late:
        _add_stragglers(month, chance, meters, late)
    return month


def _add_stragglers(month: Month, chance: random.Random, meters: Sequence[Counted], hours: int) -> None:
    """A chapter ten minutes after the edge, with usage of the period's last week."""
    when = [chance.randrange(month.end_s - WEEK_S, month.end_s - HOUR_S) for _ in range(hours)]
    events = [event for at_s in when for event in _hour(chance, month.customer, meters, at_s, month.end_s)]
    for event in events:
        month.stragglers[event.slug] += event.units
    records = tuple(Made(month.customer.encode(), event.value, "late") for event in events)
    month.chapters.append(Chapter(month.end_s + DRAFT_S, records, None))


def _hour(chance: random.Random, customer: str, meters: Sequence[Counted], at_s: int, until_s: int) -> list[Event]:
    """A few events of each meter within half an hour."""
    found: list[Event] = []
    for meter in (each for each in meters for _ in range(chance.randrange(1, 6))):
        happened_s = min(at_s + chance.randrange(HOUR_S // 2), until_s - 1)
        found.append(_made(chance, customer, meter, f"{at_s}-{len(found)}-{chance.getrandbits(32):08x}", happened_s))
    return found


def _sent(month: Month, chance: random.Random, events: Sequence[Event], kind: Kind) -> list[Made]:
    """The records of these events, some of them twice; counted into the month once."""
    records: list[Made] = []
    for event in events:
        records.append(Made(month.customer.encode(), event.value, kind))
        month.units[event.slug] += event.units
        month.events[event.slug] += 1
        month.kinds[kind] += 1
        if chance.random() < 0.03:
            records.append(Made(month.customer.encode(), event.value, "duplicate"))
            month.kinds["duplicate"] += 1
    return records


def _made(chance: random.Random, customer: str, meter: Counted, event_id: str, at_s: int) -> Event:
    units = 1 if meter.value == "count" else chance.randrange(1, 4000)
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "month",
        "type": meter.event_type,
        "subject": customer,
        "time": datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{chance.randrange(1000):03d}Z",
        "data": {} if meter.value == "count" else {meter.value: units},
    }
    return Event(meter.slug, units, json.dumps(event, separators=(",", ":")).encode())
