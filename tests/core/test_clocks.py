"""Laws 0 and 9 for customers who live by a test clock: their time is in the log, and everything of theirs follows it (DESIGN 5)."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from infra.control import clock_event
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.rows import RawRecord, RawRows
from streams.conservation import postings_residual
from tests.core.meterlog import NOW_MS, Disk, Log, batch_of, control, customers, fresh, meters_record, state_sends, usage
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.clocks import CLOCK_TYPE, ClockRecord
from topics.instants import format_us
from topics.meters import Meter, Timing, meters_digest

HOUR = Meter(slug="calls", event_type="api.request", window_s=3600, grace_ms=300_000)
TIMING = Timing(horizon_ms=2 * 86_400_000, revision_delay_ms=30_000)
THEN_S = NOW_MS // 1000 - 300 * 86_400
"""Where the test clock begins: three hundred days before the log's now."""
ANCHOR_S = THEN_S + 86_400 + 1425
OLD, PLAIN, LATE = customers(3)


def item(**changes: Any) -> Item:
    """What bills the customer, on a test clock."""
    return msgspec.structs.replace(Item(meter="calls", item="si_1", period_anchor_s=ANCHOR_S, clock="clock_1"), **changes)


class Bench:
    """A partition with one customer on a test clock and one without; folded, flushed and closed at will."""

    def __init__(self) -> None:
        self.log, self.disk, self.rng = Log(), Disk(), random.Random(1)
        self.bound: dict[str, str] = {}
        self.stamp_ms = NOW_MS
        self.log.add(*meters_record((HOUR,), TIMING), NOW_MS)
        self.bind(OLD, item())
        self.partition = fresh(self.disk, self.rng)

    def bind(self, customer: str, *items: Item) -> None:
        """A binding."""
        data = {"v": 1, "digest": items_digest(items), "replaces": self.bound.get(customer), "items": items}
        self.bound[customer] = items_digest(items)
        self.log.add(*control(BINDING_TYPE, customer, data, customer.encode()), self.stamp_ms)

    def clock(self, now_s: int, customer: str = OLD, clock: str = "clock_1") -> None:
        """A word of the clock."""
        record = clock_event(customer, ClockRecord(clock=clock, now_s=now_s))
        self.log.add(record.key, record.value, self.stamp_ms)

    def event(self, at_s: int | None, customer: str = OLD) -> int:
        """One event; without an instant it has no time of its own."""
        value = usage(customer, f"e{self.log.end}", None if at_s is None else format_us(at_s * 10**6))
        return self.log.add(customer.encode(), value, self.stamp_ms)

    def fold(self) -> list[str]:
        """All of the log, made durable; returns the reasons of what was refused."""
        start = self.partition.next_offset
        self.partition.apply(batch_of(self.log.records[start:], start, self.log.end))
        reasons = [record.reason for record in self.partition.state.facts.rejected]
        self.save()
        return reasons

    def save(self) -> None:
        """One flush to the changelog."""
        flush = self.partition.begin_flush()
        if flush is not None:
            for key, value in state_sends([*flush.first, flush.counters, *flush.last]):
                self.disk.append(key, value)
            self.partition.end_flush(flush)

    def emitted(self, now_ms: int = NOW_MS) -> list[tuple[str, int, str]]:
        """(customer, start relative to THEN_S, quantity) of what is emitted now."""
        if self.partition.tick(now_ms, None):
            self.partition.tick(now_ms, self.log.end)
        due = self.partition.due(now_ms)
        self.partition.end_emission(due)
        self.save()
        return [
            (one.row.window.customer, one.row.window.start_s - THEN_S, json.loads(one.send.value or b"")["quantity"]) for one in due
        ]

    def windows(self, customer: str = OLD) -> list[tuple[int, int, int]]:
        """(start, end, events) relative to THEN_S of a customer's rows."""
        rows = (row for row in self.partition.state.rows.all() if row.window.customer == customer)
        return sorted((row.window.start_s - THEN_S, row.window.end_s - THEN_S, row.events) for row in rows)


def test_a_customers_clock_decides_what_is_future_and_what_is_too_late() -> None:
    """Usage is judged by the customer's clock: as far ahead of it as is let in counts, a second more does not, nor what its horizon has passed."""
    bench = Bench()
    bench.clock(THEN_S)
    for at_s in (THEN_S, THEN_S + 300, THEN_S + 301, THEN_S - 2 * 86_400, THEN_S - 2 * 86_400 - 1):
        bench.event(at_s)
    assert bench.fold() == ["future", "too_late"]
    assert sum(events for *_, events in bench.windows()) == 3
    bench.clock(THEN_S + 2)
    bench.event(THEN_S + 301)
    bench.event(THEN_S - 2 * 86_400 + 1)
    assert bench.fold() == ["too_late"]


def test_an_event_without_a_time_occurred_when_the_clock_says() -> None:
    """An event without a time lies in the window of the clock's now, in the meter's table and in the archive alike."""
    bench = Bench()
    bench.clock(THEN_S + 7300)
    offset = bench.event(None)
    bench.partition.apply(batch_of(bench.log.records, 0, bench.log.end))
    assert bench.windows() == [(7200, 10_800, 1)]
    in_force = InForce()
    for definition in bench.partition.state.facts.definitions:
        in_force.add(definition)
    stored = bench.log.records[offset]
    raw = RawRows(0, 0, in_force)._read(RawRecord(offset, stored.timestamp_ms, stored.key, stored.value, ()))
    assert raw.occurred_at_us == (THEN_S + 7300) * 10**6
    assert [posting.window.start_s - THEN_S for posting in raw.postings] == [7200]
    assert raw.received_at_ms == NOW_MS


def test_other_customers_live_by_the_log() -> None:
    """One customer's clock changes nothing for another: its old events are too late, its present ones count."""
    bench = Bench()
    bench.clock(THEN_S)
    bench.event(THEN_S, PLAIN)
    bench.event(NOW_MS // 1000, PLAIN)
    bench.event(NOW_MS // 1000)
    assert bench.fold() == ["too_late", "future"]
    assert [events for *_, events in bench.windows(PLAIN)] == [1]


def test_a_clock_that_is_not_named_or_goes_back_says_nothing() -> None:
    """A word of another clock, an earlier time and a word before any binding change nothing and are no faults."""
    bench = Bench()
    bench.clock(THEN_S + 100)
    bench.clock(THEN_S + 50)
    bench.clock(THEN_S + 9000, clock="clock_2")
    bench.clock(THEN_S, PLAIN)
    assert bench.fold() == []
    assert bench.partition.state.definitions.clocks[OLD].now_s == THEN_S + 100
    assert PLAIN not in bench.partition.state.definitions.clocks


@pytest.mark.parametrize("fault", ["key", "home", "instant"])
def test_a_clock_record_that_cannot_be_meant_is_refused(fault: str) -> None:
    """A record under another key, away from the customer's home, or for no instant is `bad_control`."""
    bench = Bench()
    customer = customers(1, partition=1)[0] if fault == "home" else OLD
    data = {"v": 1, "clock": "clock_1", "now_s": 10**15 if fault == "instant" else THEN_S}
    bench.log.add(*control(CLOCK_TYPE, customer, data, b"other" if fault == "key" else customer.encode()), NOW_MS)
    assert bench.fold() == ["bad_control"]


def test_windows_close_by_the_clock_and_not_by_the_wall() -> None:
    """A window of a customer on a test clock is open until the clock has passed its end and grace, and is emitted with that word."""
    bench = Bench()
    bench.clock(THEN_S)
    bench.event(THEN_S + 10)
    bench.fold()
    assert bench.emitted() == []
    assert bench.partition.windows(NOW_MS) == (1, 0, 0)
    assert bench.partition.oldest_due_ms(NOW_MS) is None
    bench.clock(THEN_S + 3899)
    bench.fold()
    assert bench.emitted() == []
    bench.clock(THEN_S + 3900)
    bench.fold()
    assert bench.emitted() == [(OLD, 0, "1")]
    assert bench.partition.windows(NOW_MS) == (0, 0, 0)


def test_a_clock_that_jumps_over_an_edge_emits_what_lies_before_it() -> None:
    """What waits before a billing edge goes out with the clock's word that comes near the edge or passes it, before end and grace."""
    bench = Bench()
    edge_s = ANCHOR_S
    bench.clock(edge_s - 1420)
    bench.event(edge_s - 1400)
    bench.fold()
    assert bench.emitted() == []
    bench.clock(edge_s - 500)
    bench.fold()
    assert [quantity for *_, quantity in bench.emitted()] == ["1"]
    bench.event(edge_s - 400)
    bench.fold()
    assert bench.emitted() == []
    bench.clock(edge_s + 1)
    bench.fold()
    assert [quantity for *_, quantity in bench.emitted()] == ["2"]


def test_rows_are_let_go_by_the_clock_and_neither_sooner_nor_never() -> None:
    """The log's now lets go of none of a test clock's rows; the clock does, and a recovered worker has the same rows and the same account."""
    bench = Bench()
    bench.clock(THEN_S)
    bench.event(THEN_S + 10)
    bench.event(NOW_MS // 1000, PLAIN)
    bench.fold()
    bench.clock(THEN_S + 7200)
    bench.event(THEN_S + 7200)
    bench.fold()
    assert len(bench.emitted(NOW_MS + 5_000_000)) == 2
    bench.stamp_ms = NOW_MS + 10 * 86_400_000
    bench.event(bench.stamp_ms // 1000, PLAIN)
    bench.fold()
    assert bench.windows() == [(0, 3600, 1), (7200, 10_800, 1)]
    assert len(bench.windows(PLAIN)) == 1
    bench.event(THEN_S + 20)
    assert bench.fold() == []
    assert bench.windows()[0] == (0, 3600, 2)
    bench.clock(THEN_S + 3600 + 2 * 86_400)
    bench.fold()
    bench.emitted(bench.stamp_ms)
    bench.emitted(bench.stamp_ms + 31_000)
    bench.fold()
    assert bench.windows() == [(7200, 10_800, 1)]
    assert bench.partition.state.all_retired().rows == 2
    before = bench.partition.status()
    bench.partition = fresh(bench.disk, bench.rng)
    assert bench.partition.status() == before
    assert bench.windows() == [(7200, 10_800, 1)]
    assert postings_residual(bench.partition.state) == 0


def test_a_customer_that_was_billed_before_keeps_what_is_final() -> None:
    """A clock given to a customer that lived by the log's now brings nothing final back, and no change is in force where events may lie."""
    bench = Bench()
    bench.bind(LATE, item(item="si_2", clock=""))
    bench.event(NOW_MS // 1000, LATE)
    bench.bind(LATE, item(item="si_2"))
    bench.clock(THEN_S, LATE)
    bench.event(THEN_S, LATE)
    assert bench.fold() == ["too_late"]
    clock = bench.partition.state.definitions.clocks[LATE]
    assert clock.final_until_us >= (NOW_MS - TIMING.horizon_ms) * 1000
    assert clock.ahead_until_us > NOW_MS * 1000


def test_a_clock_that_is_named_again_brings_nothing_final_back() -> None:
    """Rows that were let go while the customer lived by the log's now never begin again when its old clock, which shows less, is named once more."""
    bench = Bench()
    bench.clock(THEN_S)
    bench.event(THEN_S + 10)
    bench.fold()
    bench.bind(OLD, item(clock=""))
    bench.fold()
    bench.emitted(NOW_MS + 5_000_000)
    bench.fold()
    bench.emitted(NOW_MS + 5_100_000)
    bench.fold()
    assert bench.windows() == []
    bench.bind(OLD, item())
    bench.event(THEN_S + 20)
    assert bench.fold() == ["too_late"]
    before = bench.partition.status()
    bench.partition = fresh(bench.disk, bench.rng)
    assert bench.partition.status() == before
    bench.clock(NOW_MS // 1000)
    bench.event(NOW_MS // 1000)
    assert bench.fold() == []
    assert [events for _, _, events in bench.windows()] == [1]


def test_new_grids_begin_after_what_a_clock_let_in() -> None:
    """Where a test clock is ahead of the log, meters change only after it: no counted event's window changes (H2)."""
    bench = Bench()
    ahead_s = NOW_MS // 1000 + 40 * 86_400
    bench.clock(ahead_s)
    bench.event(ahead_s)
    day = Meter(slug="calls", event_type="api.request", window_s=86_400)
    bench.log.add(*meters_record((day,), TIMING, meters_digest(TIMING, (HOUR,))), NOW_MS)
    bench.event(ahead_s + 1)
    assert bench.fold() == []
    assert [end - start for start, end, _ in bench.windows()] == [3600]
    assert bench.partition.state.definitions.meters["calls"][-1].valid_from_s > ahead_s


def random_log(seed: int) -> Bench:
    """Customers on clocks and off, words of clocks, bindings that give, take and change clocks, and usage around all of these times."""
    rng, bench = random.Random(seed), Bench()
    names = {OLD: "clock_1", PLAIN: "", LATE: ""}
    shown = {"clock_1": THEN_S, "clock_2": THEN_S + 5 * 86_400}
    for _ in range(250):
        bench.stamp_ms += rng.choice((0, 10, 1000, 60_000, 7_200_000))
        customer = rng.choice((OLD, OLD, PLAIN, LATE))
        if rng.random() < 0.12:
            clock = rng.choice(("clock_1", "clock_2"))
            shown[clock] += rng.choice((-50, 10, 3600, 40_000, 200_000))
            bench.clock(shown[clock], customer, clock)
        elif rng.random() < 0.05:
            names[customer] = rng.choice(("", "clock_1", "clock_2"))
            new = item(item=f"si_{customer}", clock=names[customer], price=str(rng.random()))
            bench.bind(customer, new)
        else:
            base_s = shown.get(names[customer], bench.stamp_ms // 1000) if rng.random() < 0.9 else bench.stamp_ms // 1000
            bench.event(None if rng.random() < 0.1 else base_s - rng.choice((-200, 0, 100, 5000, 150_000, 400_000)), customer)
    return bench


def facts_of(bench: Bench, rng: random.Random, dying: float) -> tuple[dict[int, tuple[str, str]], dict[str, Any], dict[Any, int]]:
    """(verdict by offset, definitions' bodies, events by window of all rows ever emitted or live), folded with kills and restarts."""
    verdicts: dict[int, tuple[str, str]] = {}
    published: dict[str, Any] = {}
    totals: dict[Any, int] = {}
    disk = Disk()
    partition = fresh(disk, rng)
    while partition.next_offset < bench.log.end:
        for batch in bench.log.batches(partition.next_offset, rng, min(bench.log.end, partition.next_offset + rng.choice((1, 9, 60)))):
            partition.apply(batch)
        wall_ms = NOW_MS + rng.randrange(10**9)
        partition.tick(wall_ms, None)
        for emission in (due := partition.due(wall_ms)):
            totals[emission.row.window] = max(totals.get(emission.row.window, 0), emission.row.events)
        partition.end_emission(due)
        for rejected in partition.state.facts.rejected:
            verdicts[rejected.offset] = (rejected.reason, rejected.sentence)
        for _, verdict in partition.state.facts.verdicts:
            verdicts.setdefault(verdict.offset, (verdict.verdict, ""))
        flush = partition.begin_flush()
        sends = [*flush.first, flush.counters, *flush.last] if flush else []
        if dies := rng.random() < dying:
            sends = sends[: rng.randrange(len(sends) + 1)]
        for send in sends:
            if send.topic == "usage.definitions":
                held = published.setdefault((send.key or b"").decode(), send.value)
                assert held == send.value
        for key, value in state_sends(sends):
            disk.append(key, value)
        if dies:
            partition = fresh(disk, rng)
        elif flush:
            partition.end_flush(flush)
        assert partition.counters.residual == 0
        assert postings_residual(partition.state) == 0
    for row in partition.state.rows.all():
        totals[row.window] = max(totals.get(row.window, 0), row.events)
    return verdicts, published, totals


@pytest.mark.parametrize("seed", range(12))
def test_h2_with_clocks_the_verdicts_are_a_function_of_the_log(seed: int) -> None:
    """Cut anywhere, killed anywhere, by any wall clock: each record has the same verdict, each version the same bytes, each window its events."""
    bench = random_log(seed)
    verdicts, published, totals = facts_of(bench, random.Random(seed), 0.0)
    again, published_again, totals_again = facts_of(bench, random.Random(seed + 1000), 0.3)
    assert again == verdicts
    assert published_again == published
    assert totals_again == totals
    assert {reason for reason, _ in verdicts.values()} <= {"future", "too_late", "bad_control"}
    usages = sum(b'"type": "api.request"' in (record.value or b"") for record in bench.log.records)
    refused = sum(reason in ("future", "too_late") for reason, _ in verdicts.values())
    assert sum(totals.values()) == usages - refused
