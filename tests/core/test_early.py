"""Law 9 before a billing edge: what touches it goes out while the old period still takes it, and nothing that it holds changes by that."""

from __future__ import annotations

import json
import random

import pytest

from streams.early import PASSES, early_ms
from streams.partition import MeterPartition
from tests.core.meterlog import NOW_MS, Disk, Log, batch_of, control, customers, fresh, meters_record, usage
from topics.bindings import BINDING_TYPE, Item, ItemVersion, items_digest
from topics.definitions import deadline_of
from topics.instants import format_us
from topics.meters import BEGINNING_S, Meter, Timing
from topics.windows import Window

METER = Meter(slug="calls", event_type="api.request", window_s=3600, grace_ms=60_000)
TIMING = Timing(revision_delay_ms=30_000)
CUSTOMER = customers(1)[0]
EDGE_S = NOW_MS // 1000 + 1800
EDGE_MS = EDGE_S * 1000
ITEM = Item(meter="calls", item="si_1", period_anchor_s=EDGE_S - 86_400, period="day")


class Bench:
    """A partition whose customer's day ends half an hour after NOW_MS, in the middle of an hour."""

    def __init__(self, item: Item | None = ITEM) -> None:
        self.log, self.disk, self.chance = Log(), Disk(), random.Random(1)
        self.log.add(*meters_record((METER,), TIMING), NOW_MS)
        self.bound: str | None = None
        if item is not None:
            self.bind(item, NOW_MS)
        self.partition = self.recovered()
        self.catch_up()

    def bind(self, item: Item, stamp_ms: int) -> None:
        """Who bills the customer."""
        data = {"v": 1, "digest": items_digest((item,)), "replaces": self.bound, "items": (item,)}
        self.bound = items_digest((item,))
        self.log.add(*control(BINDING_TYPE, CUSTOMER, data, CUSTOMER.encode()), stamp_ms)

    def recovered(self) -> MeterPartition:
        """A worker that takes the partition now."""
        return fresh(self.disk, self.chance)

    def event(self, number: int, at_ms: int, stamp_ms: int | None = None) -> None:
        """One event that occurred at `at_ms`, folded and durable."""
        self.log.add(CUSTOMER.encode(), usage(CUSTOMER, f"e{number}", format_us(at_ms * 1000)), stamp_ms or at_ms)
        self.catch_up()

    def catch_up(self) -> None:
        """Fold and flush to the end."""
        start = self.partition.next_offset
        self.partition.apply(batch_of(self.log.records[start:], start, self.log.end))
        self.flush()

    def flush(self) -> None:
        """One flush, acknowledged."""
        flush = self.partition.begin_flush()
        if flush is not None:
            for send in (*flush.first, flush.counters, *flush.last):
                if send.topic == "usage.state":
                    self.disk.append(send.key, send.value)
            self.partition.end_flush(flush)

    def emitted(self, now_ms: int) -> list[str]:
        """Quantities emitted at the wall clock `now_ms`."""
        if self.partition.tick(now_ms, None):
            self.partition.tick(now_ms, self.log.end)
        due = self.partition.due(now_ms)
        self.partition.end_emission(due)
        self.flush()
        return [json.loads(emission.send.value or b"")["quantity"] for emission in due]

    def times(self, from_ms: int, to_ms: int, step_ms: int = 1000) -> list[tuple[int, str]]:
        """(milliseconds to the edge, quantity) of everything emitted while the clock goes from one instant to another."""
        return [(EDGE_MS - now_ms, quantity) for now_ms in range(from_ms, to_ms, step_ms) for quantity in self.emitted(now_ms)]


def test_a_window_that_ends_with_the_period_is_emitted_twice_before_and_once_after() -> None:
    """About ten minutes and about a minute before the edge it goes out as it stands, and after its grace once more, each time only if it grew."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    early = bench.times(NOW_MS + 2000, EDGE_MS - 300_000)
    assert [quantity for _, quantity in early] == ["1"]
    assert 360_000 <= early[0][0] <= 600_000
    bench.event(2, EDGE_MS - 200_000)
    second = bench.times(EDGE_MS - 200_000, EDGE_MS - 40_000)
    assert [quantity for _, quantity in second] == ["2"]
    assert 55_000 <= second[0][0] <= 85_000
    bench.event(3, EDGE_MS - 20_000)
    last = bench.times(EDGE_MS - 20_000, EDGE_MS + 70_000)
    assert [quantity for _, quantity in last] == ["3"]
    assert -61_000 <= last[0][0] <= -60_000
    assert bench.times(EDGE_MS + 70_000, EDGE_MS + 600_000, 10_000) == []


def test_what_did_not_grow_is_not_said_again() -> None:
    """A window without events after its first early emission is emitted once, and counts neither as open nor as due."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    assert len(bench.times(NOW_MS + 2000, EDGE_MS + 120_000)) == 1
    counts = bench.partition.windows(EDGE_MS - 1)
    assert (counts.open, counts.due, counts.reopened) == (0, 0, 0)


def test_a_window_that_grew_waits_for_its_grace_and_is_reopened() -> None:
    """Between an early emission and its close a grown window is open, one that was emitted before, and due only after its grace."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.times(NOW_MS + 2000, EDGE_MS - 50_000)
    bench.event(2, EDGE_MS - 10_000)
    assert bench.emitted(EDGE_MS - 9_000) == []
    counts = bench.partition.windows(EDGE_MS - 9_000)
    assert (counts.open, counts.due, counts.reopened) == (1, 0, 1)
    assert bench.emitted(EDGE_MS + 40_000) == []
    assert bench.emitted(EDGE_MS + 60_000) == ["2"]


def test_windows_that_touch_no_edge_wait_for_their_grace() -> None:
    """Without an item, or away from its edges, nothing is emitted before end and grace."""
    unbound = Bench(None)
    unbound.event(1, NOW_MS + 1000)
    assert unbound.times(NOW_MS + 2000, NOW_MS + 3_659_000, 7000) == []
    bench = Bench()
    bench.event(1, EDGE_MS + 1000)
    assert bench.times(EDGE_MS + 2000, EDGE_MS + 1_850_000, 7000) == []


def test_the_end_of_a_subscription_is_an_edge() -> None:
    """Windows are cut where the item ends, and what was used until then goes out before it."""
    bench = Bench(Item(meter="calls", item="si_1", period_anchor_s=EDGE_S - 7 * 86_400 - 900, period="month", ends_at_s=EDGE_S))
    bench.event(1, NOW_MS + 1000)
    bench.event(2, EDGE_MS + 1000)
    assert {row.window.end_s for row in bench.partition.state.rows.all()} == {EDGE_S, NOW_MS // 1000 + 3600}
    assert [quantity for _, quantity in bench.times(NOW_MS + 2000, EDGE_MS - 50_000)] == ["1"]


def test_an_edge_that_a_new_binding_brings_is_heeded() -> None:
    """A binding that comes when the window is already filling plans its emission before the edge, which lies inside the whole row."""
    bench = Bench(None)
    bench.event(1, NOW_MS + 1000)
    assert bench.emitted(NOW_MS + 2000) == []
    bench.bind(ITEM, NOW_MS + 3000)
    bench.catch_up()
    assert [quantity for _, quantity in bench.times(NOW_MS + 4000, EDGE_MS - 300_000)] == ["1"]


def test_a_worker_that_was_down_says_it_at_once() -> None:
    """A window that was never emitted, found between the last early time and the edge, goes out when it is found."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.partition = bench.recovered()
    assert bench.emitted(EDGE_MS - 30_000) == ["1"]
    assert bench.emitted(EDGE_MS - 29_000) == []


@pytest.mark.parametrize("seed", range(40))
def test_early_emissions_change_no_total(seed: int) -> None:
    """Whatever is emitted when, with restarts in between: the last revision of every window holds all of its events."""
    chance, bench = random.Random(seed), Bench()
    times = sorted(chance.randrange(NOW_MS + 1000, EDGE_MS + 600_000) for _ in range(30))
    told: dict[tuple[str, str], tuple[int, int]] = {}
    at_ms = NOW_MS
    for number, event_ms in enumerate([*times, EDGE_MS + 8_000_000]):
        while at_ms < event_ms:
            at_ms = min(event_ms, at_ms + chance.choice((1000, 7000, 60_000)))
            if bench.partition.tick(at_ms, None):
                bench.partition.tick(at_ms, bench.log.end)
            due = bench.partition.due(at_ms)
            for emission in due:
                body = json.loads(emission.send.value or b"")
                told[body["start"], body["end"]] = max(told.get((body["start"], body["end"]), (-1, 0)), (body["through_offset"], body["events"]))
            if chance.random() < 0.9:
                bench.partition.end_emission(due)
            else:
                bench.partition = bench.recovered()
            bench.flush()
        if number < len(times):
            bench.event(number, event_ms)
    held = {(format_us(row.window.start_s * 10**6), format_us(row.window.end_s * 10**6)): row.events for row in bench.partition.state.rows.all()}
    assert sum(held.values()) == len(times)
    assert {window: events for window, (_, events) in told.items()} == held


def test_customers_are_spread_and_each_keeps_its_second() -> None:
    """Customers with one edge go out over the whole spread, each at a second that depends on its name only."""
    for number, one in enumerate(PASSES):
        now_ms = EDGE_MS - one.before_ms - 1
        times = [early_ms(f"customer {n}", EDGE_S, now_ms, was_emitted=False) for n in range(1000)]
        assert times == [early_ms(f"customer {n}", EDGE_S, now_ms, was_emitted=True) for n in range(1000)], number
        ahead = [EDGE_MS - at_ms for at_ms in times if at_ms is not None]
        assert one.before_ms - one.spread_ms <= min(ahead) < one.before_ms - one.spread_ms * 0.95
        assert one.before_ms * 1.0 >= max(ahead) > one.before_ms - one.spread_ms * 0.05


def test_the_deadline_of_a_window_is_its_first_edge() -> None:
    """A period's end, a change of item and an item's end are deadlines where they lie in (start, end] or up to where one looks; nothing else is."""

    def version(item: Item | None, valid_from_s: int = BEGINNING_S) -> ItemVersion:
        return ItemVersion(customer="c", meter="calls", item=item, valid_from_s=valid_from_s, offset=1, digest="d")

    hour = Window("c", "calls", EDGE_S - 3600, EDGE_S)
    assert deadline_of([version(ITEM)], hour, hour.end_s) == EDGE_S
    assert deadline_of([version(ITEM)], hour._replace(start_s=EDGE_S, end_s=EDGE_S + 3600), EDGE_S + 3600) is None
    assert deadline_of([version(ITEM)], hour._replace(end_s=EDGE_S + 10), EDGE_S) == EDGE_S
    assert deadline_of([version(None)], hour, hour.end_s) is None
    assert deadline_of([version(None), version(ITEM, EDGE_S - 60)], hour, hour.end_s) == EDGE_S - 60
    assert deadline_of([version(ITEM), version(None, EDGE_S)], hour, hour.end_s) == EDGE_S
    minute = Window("c", "calls", EDGE_S - 120, EDGE_S - 60)
    assert deadline_of([version(ITEM)], minute, EDGE_S - 1) is None
    assert deadline_of([version(ITEM)], minute, EDGE_S) == EDGE_S
