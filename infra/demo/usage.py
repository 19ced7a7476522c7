"""Real-looking usage, made from a seed, and beside it what must come of it: counted here with plain dictionaries and none of the product's code.

Eight customers of an API and of a language model over a few hours: busy and quiet ones, retries that repeat an event, devices that come online
late, producers with bugs, and one that hashes keys as librdkafka does.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

CUSTOMERS: Final = (
    ("northwind", 30),
    ("globex", 22),
    ("initech", 16),
    ("umbrella", 12),
    ("hooli", 9),
    ("stark", 6),
    ("wayne", 4),
    ("müller-söhne", 1),
)
"""Name and share of the traffic: a long tail, as real ones have; one is no ASCII."""
SPAN: Final = timedelta(hours=3)
WINDOW: Final = timedelta(hours=1)
Kind = Literal["usage", "duplicate", "late", "bad", "misplaced"]


class Made(NamedTuple):
    """One record to produce: `partition` None lets the producer's own (murmur2) choose; `misplaced` asks for a wrong one."""

    key: bytes | None
    value: bytes
    kind: Kind


@dataclass
class Expected:
    """What must come of the records, by (customer, meter): units and events; and how many of each kind there are."""

    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    showcase: tuple[str, str, datetime] | None = None
    """(customer, meter, start) of a window with a duplicate and a late event, to be taken apart at the end."""


class Usage(NamedTuple):
    """The built-in usage: records in the order in which they are produced; the late ones come last."""

    records: list[Made]
    late: list[Made]
    expected: Expected


def made_usage(now: datetime, count: int = 10_000, seed: int = 7) -> Usage:
    """About `count` records whose times end just before `now`; the same seed and now give the same bytes."""
    chance = random.Random(seed)
    expected = Expected(first=now - SPAN)
    start = now - SPAN
    records: list[Made] = []
    late: list[Made] = []
    names = [name for name, share in CUSTOMERS for _ in range(share)]
    for number in range(count):
        at = start + SPAN * (number / count) - timedelta(seconds=chance.expovariate(0.5))
        event = _event(chance, number, chance.choice(names), max(at, start))
        roll = chance.random()
        if roll < 0.02:
            _add(late, event, "late", expected)
        elif roll < 0.035:
            records.append(_bad(chance, event))
            expected.kinds["bad"] += 1
        else:
            kind: Kind = "misplaced" if roll < 0.05 else "usage"
            _add(records, event, kind, expected)
            if chance.random() < 0.03:
                again = Made(event["subject"].encode(), _bytes(event), "duplicate")
                records.insert(len(records) - chance.randrange(min(50, len(records))), again)
                expected.kinds["duplicate"] += 1
    expected.showcase = _showcase(records, late)
    return Usage(records, late, expected)


def _event(chance: random.Random, number: int, customer: str, at: datetime) -> dict[str, Any]:
    base: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{number:06d}-{chance.getrandbits(32):08x}",
        "source": f"edge-{chance.randrange(4)}",
        "subject": customer,
        "time": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
    }
    if chance.random() < 0.6:
        return base | {
            "type": "api.request",
            "data": {"path": chance.choice(["/v1/search", "/v1/items", "/v1/login"]), "ms": chance.randrange(4, 900)},
        }
    tokens = min(32_000, int(chance.lognormvariate(5.5, 1.1)) + 1)
    return base | {"type": "llm.request", "data": {"model": chance.choice(["small", "large"]), "tokens": tokens}}


def _bytes(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _add(to: list[Made], event: dict[str, Any], kind: Kind, expected: Expected) -> None:
    """An event that counts once."""
    to.append(Made(event["subject"].encode(), _bytes(event), kind))
    expected.kinds[kind] += 1
    meter = "api_calls" if event["type"] == "api.request" else "tokens"
    expected.events[event["subject"], meter] += 1
    expected.units[event["subject"], meter] += 1 if meter == "api_calls" else event["data"]["tokens"]


def _bad(chance: random.Random, event: dict[str, Any]) -> Made:
    """What producers with bugs send; none of these counts."""
    key = event["subject"].encode()
    broken = [
        Made(key, _bytes(event)[:-9], "bad"),
        Made(key, _bytes(event | {"type": "api.reqest"}), "bad"),
        Made(key, _bytes(event | {"type": "llm.request", "data": {"tokens": -5}}), "bad"),
        Made(key, _bytes(event | {"type": "llm.request", "data": {"tokens": "a lot"}}), "bad"),
        Made(key, _bytes(event | {"type": "llm.request", "data": {"model": "small"}}), "bad"),
        Made(key, _bytes(event | {"time": event["time"][:-1]}), "bad"),
        Made(None, _bytes(event), "bad"),
        Made(b"somebody-else", _bytes(event), "bad"),
        Made(key, _bytes({name: value for name, value in event.items() if name != "id"}), "bad"),
        Made(key, b'{"specversion":"1.0","subject":"\xff\xfe"}', "bad"),
    ]
    return chance.choice(broken)


def _showcase(records: list[Made], late: list[Made]) -> tuple[str, str, datetime] | None:
    """A window of a quiet customer, so that it can be read, with a duplicate and a late event."""

    def windows(of: list[Made], kind: Kind) -> Counter[tuple[str, str, datetime]]:
        return Counter(_window(made) for made in of if made.kind == kind)

    both = windows(records, "duplicate").keys() & windows(late, "late").keys()
    size = windows(records, "usage")
    return min(both, key=lambda window: (size[window], window), default=None)


def _window(made: Made) -> tuple[str, str, datetime]:
    event = json.loads(made.value)
    at = datetime.fromisoformat(event["time"])
    meter = "api_calls" if event["type"] == "api.request" else "tokens"
    return event["subject"], meter, at.replace(minute=0, second=0, microsecond=0)
