"""The demo's own usage: what it expects is what a naive count of its records gives."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from infra.demo.compare import lines
from infra.demo.month_usage import AFTER_EDGE_S, HOUR_S, Counted, made_month
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


METERS = (Counted("api_calls", "api.request", "count"), Counted("tokens", "llm.request", "tokens"))
START_S = int(NOW.timestamp()) - 40 * 86_400
END_S = START_S + 30 * 86_400


def test_a_months_invoice_is_a_naive_count_of_its_records() -> None:
    """Each id counts once in the month's units, whatever is sent twice or a week late, and each chapter's sums hold what was sent by then."""
    month = made_month("acme", METERS, START_S, END_S)
    units: Counter[str] = Counter()
    seen: set[str] = set()
    for chapter in month.chapters:
        for made in chapter.records:
            event = json.loads(made.value)
            if event["id"] not in seen:
                seen.add(event["id"])
                units[{"api.request": "api_calls", "llm.request": "tokens"}[event["type"]]] += event["data"].get("tokens", 1)
        assert units == chapter.sums
    assert units == month.units
    assert len(seen) == sum(month.events.values())
    assert set(month.kinds) == {"usage", "duplicate", "late"}


def test_a_months_events_are_neither_future_nor_too_late() -> None:
    """Every event lies in the period, at most five minutes ahead of its customer's clock and less than thirty days behind it; the last are in
    the period's last hour, and the clock never passes the edge before the invoice is to be made."""
    month = made_month("acme", METERS, START_S, END_S)
    last_s = 0.0
    for chapter in month.chapters:
        assert chapter.now_s < END_S < END_S + AFTER_EDGE_S
        for made in chapter.records:
            at_s = datetime.fromisoformat(json.loads(made.value)["time"]).timestamp()
            assert START_S <= at_s < END_S
            assert chapter.now_s - 30 * 86_400 < at_s < chapter.now_s + 300
            last_s = max(last_s, at_s)
    assert last_s > END_S - HOUR_S


def test_another_customer_uses_something_else() -> None:
    """The same customer's month is the same bytes; another's is not."""
    assert made_month("acme", METERS, START_S, END_S).chapters == made_month("acme", METERS, START_S, END_S).chapters
    assert made_month("acme", METERS, START_S, END_S).units != made_month("globex", METERS, START_S, END_S).units


def test_stragglers_are_counted_apart() -> None:
    """What is sent after the edge is of the period's last week, counts nowhere else, and changes nothing of what was used in time."""
    month = made_month("acme", METERS, START_S, END_S, late=3)
    assert month.units == made_month("acme", METERS, START_S, END_S).units
    *_, last = month.chapters
    assert last.sums is None
    assert END_S < last.now_s < END_S + HOUR_S
    events = [json.loads(made.value) for made in last.records]
    assert all(END_S - 7 * 86_400 <= datetime.fromisoformat(event["time"]).timestamp() < END_S for event in events)
    assert sum(event["data"].get("tokens", 1) for event in events) == sum(month.stragglers.values()) > 0
