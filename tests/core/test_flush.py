"""`tidemark.flush`: what a customer used until an instant is emitted now, so that an application can change its plan (H32)."""

from __future__ import annotations

import json
import random

import pytest

from infra.control import flush_event
from tests.core.meterlog import NOW_MS, Disk, Log, batch_of, control, customers, fresh, meters_record, usage
from topics.flushes import FLUSH_TYPE, Flush
from topics.instants import format_us
from topics.meters import Meter, Timing

HOUR = Meter(slug="calls", event_type="api.request", window_s=3600)
NOW_S = NOW_MS // 1000
FIRST, SECOND = customers(2)


class Bench:
    """A partition that is folded, flushed and closed at once; what is acknowledged is on `disk`."""

    def __init__(self) -> None:
        self.log, self.disk, self.rng = Log(), Disk(), random.Random(1)
        self.log.add(*meters_record((HOUR,), Timing()), NOW_MS)
        self.partition = fresh(self.disk, self.rng)

    def event(self, customer: str, at_s: int) -> None:
        """One event, received half an hour after NOW_MS."""
        self.log.add(customer.encode(), usage(customer, f"e{self.log.end}", format_us(at_s * 10**6)), NOW_MS + 1_800_000)

    def flush(self, customer: str, until_s: int, unique: str = "f") -> None:
        """The control record."""
        record = flush_event(customer, until_s, unique)
        self.log.add(record.key, record.value, NOW_MS + 1_800_000)

    def fold(self) -> None:
        """All of the log, made durable."""
        start = self.partition.next_offset
        self.partition.apply(batch_of(self.log.records[start:], start, self.log.end))
        self.save()

    def save(self) -> None:
        """One flush to the changelog."""
        flush = self.partition.begin_flush()
        if flush is not None:
            for send in [*flush.first, flush.counters]:
                if send.topic == "usage.state":
                    self.disk.append(send.key, send.value)
            self.partition.end_flush(flush)

    def emitted(self, now_ms: int = NOW_MS + 1_800_001, *, noted: bool = True) -> list[tuple[str, int, str]]:
        """(customer, start relative to NOW_S, quantity) of what is emitted now."""
        self.partition.tick(now_ms, None)
        due = self.partition.due(now_ms)
        if noted:
            self.partition.end_emission(due)
        bodies = [(emission.row.window, json.loads(emission.send.value or b"")["quantity"]) for emission in due]
        return sorted((window.customer, window.start_s - NOW_S, quantity) for window, quantity in bodies)


def test_a_flush_emits_what_one_customer_used_until_then() -> None:
    """Windows of the customer that start before the instant go out as they stand; later ones, and other customers', wait."""
    bench = Bench()
    for at_s in (NOW_S - 60, NOW_S + 10, NOW_S + 20):
        bench.event(FIRST, at_s)
    bench.event(SECOND, NOW_S + 10)
    bench.flush(FIRST, NOW_S)
    bench.fold()
    assert bench.emitted(NOW_MS + 200_000) == [(FIRST, -3600, "1")]
    bench.flush(FIRST, NOW_S + 1800, "g")
    bench.fold()
    assert bench.emitted() == [(FIRST, 0, "2")]
    assert bench.emitted() == []
    assert bench.partition.windows(NOW_MS + 1_800_001) == (1, 0, 0)


def test_what_comes_after_a_flush_is_a_higher_revision() -> None:
    """Usage of a flushed window that comes later is emitted later, whole."""
    bench = Bench()
    bench.event(FIRST, NOW_S + 10)
    bench.flush(FIRST, NOW_S + 1800)
    bench.event(FIRST, NOW_S + 20)
    bench.fold()
    bench.emitted()
    bench.event(FIRST, NOW_S + 30)
    bench.fold()
    assert bench.emitted() == []
    assert bench.emitted(NOW_MS + 1_840_000) == [(FIRST, 0, "3")]


def test_a_window_that_began_after_the_flush_waits() -> None:
    """A window whose first event lies above the flush in the log is no business of it."""
    bench = Bench()
    bench.flush(FIRST, NOW_S + 1800)
    bench.event(FIRST, NOW_S + 10)
    bench.fold()
    assert bench.emitted() == []


def test_a_flush_survives_a_crash() -> None:
    """A worker that dies after a flush is durable and before its windows are emitted leaves that to the next one; once emitted it is done."""
    bench = Bench()
    bench.event(FIRST, NOW_S + 10)
    bench.flush(FIRST, NOW_S + 1800)
    bench.fold()
    assert len(bench.emitted(noted=False)) == 1
    bench.partition = fresh(bench.disk, bench.rng)
    assert bench.emitted() == [(FIRST, 0, "1")]
    bench.save()
    bench.partition = fresh(bench.disk, bench.rng)
    assert bench.emitted() == []
    assert bench.partition.windows(NOW_MS + 1_800_001) == (0, 0, 0)


@pytest.mark.parametrize("fault", ["key", "home", "instant", "shape"])
def test_a_flush_that_cannot_be_meant_is_refused(fault: str) -> None:
    """A flush under another key, away from the customer's home, or for no instant is `bad_control` and changes nothing."""
    bench = Bench()
    customer = customers(1, partition=1)[0] if fault == "home" else FIRST
    data = {"v": 1, "until_s": 10**15 if fault == "instant" else NOW_S, "id": "x"}
    if fault == "shape":
        del data["id"]
    bench.log.add(*control(FLUSH_TYPE, customer, data, b"other" if fault == "key" else customer.encode()), NOW_MS)
    start = bench.partition.next_offset
    bench.partition.apply(batch_of(bench.log.records[start:], start, bench.log.end))
    assert [record.reason for record in bench.partition.state.facts.rejected] == ["bad_control"]
    assert bench.partition.state.definitions.flushes == {}


def test_a_flush_is_published() -> None:
    """An application that waits for its flush finds it on `usage.definitions` once it is folded."""
    bench = Bench()
    bench.flush(FIRST, NOW_S + 1800, "mine")
    bench.partition.apply(batch_of(bench.log.records, 0, bench.log.end))
    assert Flush(customer=FIRST, until_s=NOW_S + 1800, id="mine", offset=1) in bench.partition.state.facts.definitions
