"""Seeded usage and every kind of bad input, as raw records to produce."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import NamedTuple

from tests.oracle.hashes import java_partition

Headers = tuple[tuple[str, bytes], ...]


class Message(NamedTuple):
    """One record to produce; `partition` None lets the producer choose. `label` says what it is for."""

    key: bytes | None
    value: bytes
    headers: Headers = ()
    partition: int | None = None
    label: str = "usage"


def rfc3339(instant_s: float, zone_minutes: int = 0) -> str:
    """An instant with its microseconds, in a zone of so many minutes east."""
    return datetime.fromtimestamp(instant_s, UTC).astimezone(timezone(timedelta(minutes=zone_minutes))).isoformat()


def member(name: str, text: str) -> str:
    """A JSON object with one member whose value stands as it is given."""
    return f'{{"{name}": {text}}}'


def event(customer: str, event_id: str, event_type: str, data: str | None = None, time: str | None = None, source: str = "gateway") -> bytes:
    """A CloudEvent whose `data` is JSON text, so that digits stand exactly as they are given."""
    parts = {"specversion": "1.0", "id": event_id, "source": source, "type": event_type, "subject": customer}
    head = json.dumps(parts, ensure_ascii=False)[:-1]
    head += "" if time is None else f', "time": {json.dumps(time)}'
    head += "" if data is None else f', "data": {data}'
    return (head + "}").encode()


def usage(rng: Random, prefix: str, customers: tuple[str, ...], count: int, now_s: float, back_s: float = 1500.0) -> Iterator[Message]:
    """`count` good events of the last `back_s` seconds, some without time, some sent twice, some days late; ids begin with `prefix`."""
    kept: list[Message] = []
    for number in range(count):
        if kept and rng.random() < 0.06:
            yield rng.choice(kept)
            continue
        customer = rng.choice(customers)
        event_type, data = _kind(rng)
        draw = rng.random()
        time = None
        if draw > 0.05:
            days_s = 3 * 86_400 if draw > 0.98 else 0
            time = rfc3339(now_s - days_s - rng.uniform(0.0, back_s), rng.choice((0, 0, 120, -570)))
        message = Message(customer.encode(), event(customer, f"{prefix}-{number}", event_type, data, time))
        kept.append(message)
        yield message


def _kind(rng: Random) -> tuple[str, str | None]:
    """An event type with its data as JSON text."""
    kind = rng.choice(("api", "api", "llm", "llm", "storage", "credit"))
    if kind == "api":
        return "api.request", rng.choice((None, '{"region": "eu"}', '{"region": "us"}', '{"region": 1}'))
    if kind == "llm":
        tokens = rng.randrange(1, 5000)
        return "llm.request", member("tokens", rng.choice((str(tokens), f'"{tokens}"', f"{tokens}.000", f"{tokens}e0")))
    if kind == "storage":
        return "storage.sample", member("gib", rng.choice(("0.125", '"0.000000000001"', "3", "1.5e-3")))
    return "credit.change", member("amount", str(rng.randrange(-20, 60)))


def bad_inputs(prefix: str, customer: str, now_s: float, partitions: int) -> list[Message]:
    """One record for each thing that may be wrong; the label is the reason that it must be refused for."""
    now = rfc3339(now_s)
    key = customer.encode()
    found: list[Message] = []

    def add(label: str, value: bytes, key: bytes | None = key, headers: Headers = (), partition: int | None = None) -> None:
        found.append(Message(key, value, headers, partition, label))

    def sent(label: str, data: str | None = None, time: str | None = now, event_type: str = "llm.request") -> None:
        add(label, event(customer, f"{prefix}-bad-{len(found)}", event_type, data, time))

    for value in (b"hello", b"", b"\xff\xfe\x00", b'{"specversion": "1.0"', b"[" * 70 + b"]" * 70):
        add("not_json", value)
    for number in ("NaN", "Infinity", "-Infinity"):
        sent("not_json", member("tokens", number))
    for value in (b"[1, 2]", b"17", b'{"specversion": "0.3", "id": "a", "source": "b", "type": "c", "subject": "d"}', b'{"a": 1}'):
        add("not_cloudevents", value)
    for name in ("id", "source", "type", "subject"):
        whole = json.loads(event(customer, f"{prefix}-lacks-{name}", "api.request", None, now))
        del whole[name]
        add("missing_field", json.dumps(whole).encode())
    sent("missing_field", '{"other": 1}')
    sent("missing_field")
    sent("no_meter", event_type="nobody.counts.this")
    for data in ('{"tokens": "twelve"}', '{"tokens": "0x1F"}', '{"tokens": ""}', '{"tokens": null}', '{"tokens": [1]}', '{"tokens": true}'):
        sent("bad_quantity", data)
    for digits in ("1e400", "9" * 39, "0.1234567890123", '"0.1234567890123"', "1000000000000000001"):
        sent("out_of_range", member("tokens", digits))
    sent("negative", '{"tokens": -1}')
    for time in (now[:19], "2026-01-01T00:00:60Z", "yesterday", "2026-02-30T00:00:00Z"):
        sent("bad_time", '{"tokens": 1}', time)
    for time in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", rfc3339(now_s - 11 * 86_400)):
        sent("too_late", '{"tokens": 1}', time)
    for time in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", rfc3339(now_s + 301)):
        sent("future", '{"tokens": 1}', time)
    sent("too_large", member("blob", '"' + "x" * 1_000_000 + '"'))
    sent("bad_time", '{"tokens": 1}', "")
    good = event(customer, f"{prefix}-key", "api.request", None, now)
    add("key_mismatch", good, key=b"somebody else")
    add("key_mismatch", good, key=None)
    add("key_mismatch", good, key=b"\xc3\x28")
    elsewhere = (java_partition(key, partitions) + 1) % partitions
    add("routing_loop", good, headers=(("tidemark-origin-partition", b"0"), ("trace", b"\x00\xff")), partition=elsewhere)
    add("bad_control", event(customer, f"refused-{prefix}", "tidemark.unknown", "{}"))
    add("bad_control", event("tidemark", f"refused-{prefix}-2", "tidemark.meters", '{"v": 1, "digest": "x"}'), key=b"tidemark")
    return found
