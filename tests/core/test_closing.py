"""Laws 3, 9 and 10: when revisions are emitted, and that it never changes what they hold."""

from __future__ import annotations

import json
import random

from streams.partition import MeterPartition
from tests.core.meterlog import NOW_MS, Disk, Log, batch_of, control, customers, fresh, meters_record, usage
from topics.instants import format_us
from topics.meters import Meter, Timing

METER = Meter(slug="calls", event_type="api.request", window_s=60, grace_ms=5_000)
TIMING = Timing(revision_delay_ms=30_000)
CUSTOMER = customers(1)[0]


class Bench:
    """A partition, its log, and a flush that always succeeds."""

    def __init__(self) -> None:
        self.log = Log()
        self.log.add(*meters_record((METER,), TIMING), NOW_MS)
        self.partition = fresh(Disk(), random.Random(1))
        self.catch_up()

    def event(self, number: int, at_ms: int, stamp_ms: int | None = None) -> None:
        """One event that occurred at `at_ms`."""
        self.log.add(CUSTOMER.encode(), usage(CUSTOMER, f"e{number}", format_us(at_ms * 1000)), stamp_ms or at_ms)

    def catch_up(self, upto: int | None = None) -> None:
        """Fold and flush up to an offset."""
        upto = self.log.end if upto is None else upto
        start = self.partition.next_offset
        found = [record for record in self.log.records if start <= record.offset < upto]
        self.partition.apply(batch_of(found, start, upto))
        self.flush()

    def flush(self) -> None:
        """One flush, acknowledged."""
        flush = self.partition.begin_flush()
        if flush is not None:
            self.partition.end_flush(flush)

    def emitted(self, now_ms: int) -> list[tuple[str, int]]:
        """(quantity, through_offset) of what is emitted at the wall clock `now_ms`."""
        return self.take(self.partition, now_ms)

    def take(self, partition: MeterPartition, now_ms: int) -> list[tuple[str, int]]:
        """A tick, the last stable offset where it is wanted, and the emission."""
        if partition.tick(now_ms, None):
            partition.tick(now_ms, self.log.end)
        due = partition.due(now_ms)
        partition.end_emission(due)
        bodies = [json.loads(emission.send.value or b"") for emission in due]
        return [(body["quantity"], body["through_offset"]) for body in bodies]


def test_a_silent_customers_window_closes_after_its_grace() -> None:
    """No further event is needed: the wall clock and a reached barrier close the window."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 64_999) == []
    assert bench.emitted(NOW_MS + 65_000) == [("1", 1)]
    assert bench.emitted(NOW_MS + 65_001) == []


def test_a_backlog_never_closes_early() -> None:
    """While events below the barrier are not folded and durable, the window stays open, however late it is."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.catch_up()
    bench.event(2, NOW_MS + 2000, NOW_MS + 3000)
    assert bench.emitted(NOW_MS + 600_000) == []
    bench.catch_up()
    assert bench.emitted(NOW_MS + 600_001) == [("2", 2)]


def test_a_log_that_ends_in_a_marker_closes() -> None:
    """The barrier counts markers, and so does the position: the last window closes (H19)."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.log.marker(2)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 65_000) == [("1", 1)]
    assert bench.partition.counters.skipped == 2


def test_what_is_not_durable_is_not_emitted() -> None:
    """A revision leaves only when the changelog holds it, else a crash could take it back."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.partition.apply(batch_of(bench.log.records[1:], 1, 2))
    assert bench.emitted(NOW_MS + 70_000) == []
    bench.flush()
    assert bench.emitted(NOW_MS + 70_001) == [("1", 1)]


def test_late_events_are_merged_into_one_revision() -> None:
    """After closing, late events wait `revision_delay` since the last one, and give one corrected total."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 65_000) == [("1", 1)]
    bench.event(2, NOW_MS + 2000, NOW_MS + 70_000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 70_000) == []
    bench.event(3, NOW_MS + 3000, NOW_MS + 90_000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 90_000) == []
    assert bench.partition.windows(NOW_MS + 90_000).reopened == 1
    assert bench.emitted(NOW_MS + 119_999) == []
    assert bench.emitted(NOW_MS + 120_000) == [("3", 3)]


def test_merging_has_a_maximum() -> None:
    """A window that is corrected all the time still shows a revision after ten delays."""
    bench = Bench()
    bench.event(0, NOW_MS + 1000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 65_000) == [("1", 1)]
    seen = []
    for number in range(1, 40):
        now_ms = NOW_MS + 65_000 + number * 20_000
        bench.event(number, NOW_MS + 1000, now_ms)
        bench.catch_up()
        seen += bench.emitted(now_ms)
    assert 1 <= len(seen) <= 3


def test_an_emission_that_died_before_its_note_repeats_byte_for_byte() -> None:
    """A worker killed between emission and its note emits the same revision with the same body (H20)."""
    disk, log = Disk(), Log()
    log.add(*meters_record((METER,), TIMING), NOW_MS)
    log.add(CUSTOMER.encode(), usage(CUSTOMER, "1", format_us(NOW_MS * 1000)), NOW_MS)
    bodies = []
    for seed in range(3):
        partition = fresh(disk, random.Random(seed))
        partition.apply(batch_of(log.records[partition.next_offset :], partition.next_offset, 2))
        flush = partition.begin_flush()
        for send in [*flush.first, flush.counters] if flush else []:
            disk.append(send.key, send.value) if send.topic == "usage.state" else None
        partition.end_flush(flush) if flush else None
        if partition.tick(NOW_MS + 70_000, None):
            partition.tick(NOW_MS + 70_000, 2)
        bodies += [(emission.send.key, emission.send.value) for emission in partition.due(NOW_MS + 70_000 + seed)]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


def test_a_close_record_emits_open_windows_now() -> None:
    """`tidemark.close` emits what is there; an event after it makes a higher revision."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.log.add(*control("tidemark.close", "all", {"v": 1}), NOW_MS + 1001)
    bench.catch_up()
    assert bench.partition.windows(NOW_MS + 2000).open == 1
    assert bench.emitted(NOW_MS + 2000) == [("1", 1)]
    bench.event(2, NOW_MS + 3000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 3000) == []
    assert bench.emitted(NOW_MS + 33_000) == [("2", 3)]


def test_each_window_is_counted_once() -> None:
    """Open and due windows are disjoint and together are all that has something to emit."""
    bench = Bench()
    for number in range(5):
        bench.event(number, NOW_MS + number * 60_000, NOW_MS + 240_000)
    bench.catch_up()
    counts = bench.partition.windows(NOW_MS + 125_000)
    assert (counts.open, counts.due, counts.reopened) == (3, 2, 0)
    bench.partition.tick(NOW_MS + 125_000, None)
    assert bench.partition.windows(NOW_MS + 125_000) == counts
