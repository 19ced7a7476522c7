"""Law 9 before a billing edge, for windows that end before it and close after it, and for corrections that are merged across it (H21)."""

from __future__ import annotations

import random

import pytest

from streams.early import early_ms
from tests.core.meterlog import NOW_MS, Disk, Log, batch_of, control, customers, fresh, meters_record, usage
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.instants import format_us
from topics.meters import Meter, Timing
from topics.windows import Window

NOW_S = NOW_MS // 1000
HOUR = Meter(slug="calls", event_type="api.request", window_s=3600, grace_ms=300_000)
MINUTE = Meter(slug="minutes", event_type="api.request", window_s=60, grace_ms=300_000)
EDGE_S = NOW_S + 7200 + 1425
HOME = customers(8)
DELAY_MS = 30_000


def moments_ms(customer: str) -> tuple[int, int]:
    """Both moments before the edge at which a customer's usage goes out."""
    first_ms = early_ms(customer, EDGE_S, 0, was_emitted=False) or 0
    return first_ms, early_ms(customer, EDGE_S, first_ms, was_emitted=False) or 0


class Edge:
    """A partition whose customers' periods end at `EDGE_S`, driven by turns of the wall clock; `said` holds what was emitted when."""

    def __init__(self, *meters: Meter, ends_at_s: int | None = None) -> None:
        self.log, self.disk, self.rng = Log(), Disk(), random.Random(1)
        self.log.add(*meters_record(meters or (HOUR,), Timing(revision_delay_ms=DELAY_MS)), NOW_MS)
        for customer in HOME:
            items = tuple(
                Item(meter=meter.slug, item=f"si_{customer}_{meter.slug}", period_anchor_s=EDGE_S, ends_at_s=ends_at_s)
                for meter in meters or (HOUR,)
            )
            data = {"v": 1, "digest": items_digest(items), "replaces": None, "items": items}
            self.log.add(*control(BINDING_TYPE, customer, data, customer.encode()), NOW_MS)
        self.partition = fresh(self.disk, self.rng)
        self.wants = False
        self.said: list[tuple[int, Window, int]] = []

    def event(self, customer: str, at_ms: int, stamp_ms: int | None = None) -> None:
        """One event."""
        self.log.add(customer.encode(), usage(customer, f"e{self.log.end}", format_us(at_ms * 1000)), stamp_ms or at_ms)

    def turn(self, now_ms: int) -> int:
        """Fold, flush, close, emit; returns how many were emitted."""
        start = self.partition.next_offset
        self.partition.apply(batch_of([record for record in self.log.records[start:] if record.offset >= start], start, self.log.end))
        flush = self.partition.begin_flush()
        if flush is not None:
            for send in [*flush.first, flush.counters]:
                if send.topic == "usage.state":
                    self.disk.append(send.key, send.value)
            self.partition.end_flush(flush)
        self.wants = self.partition.tick(now_ms, self.log.end if self.wants else None)
        due = self.partition.due(now_ms)
        for emission in due:
            self.said.append((now_ms, emission.row.window, emission.row.events))
        self.partition.end_emission(due)
        return len(due)

    def until(self, start_ms: int, end_ms: int, step_ms: int = 5000) -> None:
        """Turns from one instant to another."""
        for now_ms in range(start_ms, end_ms, step_ms):
            self.turn(now_ms)

    def restart(self) -> None:
        """The worker dies, and another takes over."""
        self.partition, self.wants = fresh(self.disk, self.rng), False


def test_h21_one_event_a_second_across_an_edge_with_zero_tolerance() -> None:
    """H21: all that was received 90 s before the edge is emitted a minute before it, of windows of an hour and of a minute, each exactly."""
    bench = Edge(HOUR, MINUTE)
    edge_ms = EDGE_S * 1000
    for now_ms in range(edge_ms - 2_000_000, edge_ms + 60_000, 1000):
        for customer in HOME[:3]:
            bench.event(customer, now_ms)
        bench.turn(now_ms)
    bench.until(edge_ms + 60_000, edge_ms + 600_000)
    for customer in HOME[:3]:
        before = {
            window: events
            for at_ms, window, events in bench.said
            if window.customer == customer and at_ms <= edge_ms - 59_000 and window.end_s <= EDGE_S
        }
        for meter in ("calls", "minutes"):
            assert sum(events for window, events in before.items() if window.meter == meter) >= 2000 - 90
    ended = {row.window: row.events for row in bench.partition.state.rows.all() if row.window.end_s <= EDGE_S}
    assert ended == {window: events for _, window, events in bench.said if window.end_s <= EDGE_S}
    assert bench.partition.counters.rejected == bench.partition.counters.too_late == 0


def test_a_window_emitted_early_is_open_and_not_due() -> None:
    """Before its end and grace an early-emitted window is neither due nor counted twice; what comes then makes it open, and it closes as always."""
    bench, customer, edge_ms = Edge(), HOME[0], EDGE_S * 1000
    bench.event(customer, edge_ms - 1_000_000)
    first_ms, last_ms = moments_ms(customer)
    bench.turn(first_ms - 1)
    assert bench.partition.windows(first_ms - 1) == (1, 0, 0) and not bench.said
    assert bench.turn(first_ms) == 1
    assert bench.partition.windows(first_ms) == (0, 0, 0)
    assert bench.partition.oldest_due_ms(first_ms) is None
    bench.event(customer, first_ms + 10)
    assert bench.turn(first_ms + 20) == 0
    assert bench.partition.windows(first_ms + 20) == (1, 0, 1)
    assert bench.partition.oldest_due_ms(last_ms - 1) is None
    bench.until(first_ms + 25, last_ms, 10_000)
    assert len(bench.said) == 1
    assert bench.turn(last_ms) == 1
    bench.event(customer, edge_ms - 1)
    bench.until(edge_ms, edge_ms + 300_000, 10_000)
    assert bench.partition.windows(edge_ms + 1000) == (1, 0, 1)
    assert len(bench.said) == 2
    bench.until(edge_ms + 300_000, edge_ms + 302_000, 1000)
    assert [events for *_, events in bench.said] == [1, 2, 3]


def test_unchanged_after_an_early_emission_nothing_is_emitted_again() -> None:
    """A window that nothing changed since its early emission is emitted once."""
    bench, edge_ms = Edge(), EDGE_S * 1000
    bench.event(HOME[0], edge_ms - 1_000_000)
    bench.until(edge_ms - 1_000_000, edge_ms + 600_000)
    assert len(bench.said) == 1


def test_a_late_event_does_not_wait_for_its_merging_beyond_the_edge() -> None:
    """A closed window of the ending period that is corrected just before the last moment is emitted at it, however long corrections go on."""
    bench, customer, edge_ms = Edge(MINUTE), HOME[0], EDGE_S * 1000
    last_ms = moments_ms(customer)[1]
    bench.event(customer, edge_ms - 1_800_000)
    bench.until(edge_ms - 1_790_000, edge_ms - 1_300_000)
    assert len(bench.said) == 1
    for now_ms in range(last_ms - 120_000, last_ms + 1, 1000):
        bench.event(customer, edge_ms - 1_800_000, now_ms - 1)
        bench.turn(now_ms)
    assert bench.said[-1][0] == last_ms
    assert bench.said[-1][2] == 122


@pytest.mark.parametrize("seed", range(6))
def test_early_emissions_change_no_total(seed: int) -> None:
    """Random usage, corrections and restarts around an edge: counts are those of the rows at every turn, and the last word is each row's total."""
    rng, bench = random.Random(seed), Edge(HOUR, MINUTE)
    now_ms = (EDGE_S - 1200) * 1000
    for _ in range(150):
        now_ms += rng.choice((300, 3000, 20_000))
        for _ in range(rng.randrange(4)):
            bench.event(rng.choice(HOME), now_ms - rng.randrange(1_000_000), now_ms)
        bench.turn(now_ms)
        if rng.random() < 0.05:
            bench.restart()
        counts = bench.partition.windows(now_ms)
        rows = bench.partition.state.rows.all()
        assert counts.open + counts.due == sum(row.pending for row in rows)
        assert counts.reopened == sum(row.pending and row.emitted >= 0 for row in rows)
    bench.until(now_ms, now_ms + 4_200_000, 30_000)
    assert {window: events for _, window, events in bench.said} == {row.window: row.events for row in bench.partition.state.rows.all()}
