"""The demo's own usage: what it expects is what a naive count of its records gives."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from infra.demo.compare import lines
from infra.demo.usage import SPAN, made_usage

NOW = datetime(2026, 11, 21, 4, 40, 12, tzinfo=UTC)


def test_the_expectation_is_a_naive_count_of_the_records() -> None:
    """Units and events by customer and meter are those of the good records, each id once."""
    usage = made_usage(NOW, count=3000)
    seen: set[str] = set()
    events: Counter[tuple[str, str]] = Counter()
    units: Counter[tuple[str, str]] = Counter()
    for made in [*usage.records, *usage.late]:
        if made.kind == "bad":
            continue
        event = json.loads(made.value)
        assert NOW - SPAN - timedelta(seconds=1) <= datetime.fromisoformat(event["time"]) <= NOW
        assert made.key == event["subject"].encode()
        if event["id"] in seen:
            assert made.kind in {"duplicate", "usage", "misplaced"}
            continue
        seen.add(event["id"])
        meter = {"api.request": "api_calls", "llm.request": "tokens"}[event["type"]]
        events[event["subject"], meter] += 1
        units[event["subject"], meter] += event["data"].get("tokens", 1)
    assert events == usage.expected.events
    assert units == usage.expected.units
    assert set(usage.expected.kinds) == {"usage", "duplicate", "late", "bad", "misplaced"}


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Two runs at the same instant produce the same records."""
    assert made_usage(NOW, count=500) == made_usage(NOW, count=500)


def test_drift_shows_wherever_a_number_differs() -> None:
    """One differing count of four, or usage that nobody sent, is a drift of that size."""
    at = ("acme", "api_calls")
    assert [line.drift for line in lines({at: 5}, {at: 5}, {at: 5}, {at: 5}, {at: 5})] == [0]
    assert [line.drift for line in lines({at: 5}, {at: 5}, {at: 5}, {at: 4}, {at: 5})] == [1]
    assert [line.drift for line in lines({}, {}, {at: 5}, {at: 5}, {at: 5})] == [5]
