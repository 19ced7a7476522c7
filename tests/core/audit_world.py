"""A partition for audits: a hostile log with changing meters and bindings, every topic as the meter's core writes it, and hands that tamper."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from infra.auditing.findings import PartitionAudit
from infra.auditing.partition import Order, PartitionRun
from infra.auditing.recount import LogRecord
from infra.auditing.sources import Bounds, Kept
from infra.control import binding_event, close_event, meters_event, release_event
from streams.adopt import adopt
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, Stored, fresh
from tests.core.test_fold import HOME, METERS, TIMING, build_log
from topics.batch import Headers
from topics.bindings import Item
from topics.catalog import DEFINITIONS, EVENTS, REJECTED, STATE, VERDICTS, WINDOWS
from topics.meters import Meter, meters_digest

FAR_MS = NOW_MS + 10 * 86_400_000
CHANGED = (*METERS[:2], Meter(slug="credit", event_type="wallet.change", value="amount", allow_negative=True, window_s=30))


def busy_log(seed: int, length: int = 300) -> Log:
    """`build_log` with control records between: grids that change and change back, bindings with edges, releases, closings, stale and wrong ones."""
    rng, log = random.Random(seed), Log()
    held: tuple[Meter, ...] = METERS
    bound: dict[str, Any] = dict.fromkeys(HOME)
    before = -1
    for record in build_log(seed, length).records:
        log.marker(record.offset - before - 1)
        before = record.offset
        log.add(record.key, record.value, record.timestamp_ms, record.headers)
        if before and rng.random() < 0.08:
            made, held = _control(rng, held, bound, record.timestamp_ms)
            log.add(made[0], made[1], record.timestamp_ms)
    log.marker(rng.randrange(3))
    return log


def _control(
    rng: random.Random, held: tuple[Meter, ...], bound: dict[str, Any], now_ms: int
) -> tuple[tuple[bytes | None, bytes], tuple[Meter, ...]]:
    kind = rng.choice(("meters", "binding", "binding", "release", "close", "stale", "bad"))
    customer = rng.choice(HOME)
    if kind == "meters":
        new = CHANGED if held is METERS else METERS
        event = meters_event(TIMING, new, meters_digest(TIMING, held))
        return (event.key, event.value), new
    if kind == "binding":
        anchor_s = now_ms // 1000 - rng.randrange(3600)
        items = (Item(meter="calls", item=f"si_{customer}", period_anchor_s=anchor_s, period=rng.choice(("day", "month"))),)
        event = binding_event(customer, items, bound[customer])
        bound[customer] = event.digest
        return (event.key, event.value), held
    others = {
        "release": release_event(customer, f"cell {rng.random()}", "a test"),
        "close": close_event(str(rng.random())),
        "stale": meters_event(TIMING, METERS[:1], "no such version"),
        "bad": release_event(customer, "cell", "a test")._replace(key=b"somebody else"),
    }
    return (others[kind].key, others[kind].value), held


@dataclass
class AuditWorld:
    """One partition after the meter has counted its log. `infra.auditing.sources.Source`; tests change `logs`, `states` and `begins` by hand."""

    seed: int
    events: Log
    until: int | None = None
    logs: dict[str, Log] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    """First offset that retention has left, by topic."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.logs = {topic: Log() for topic in (STATE, WINDOWS, DEFINITIONS, VERDICTS, REJECTED)}
        self.meter = fresh(Disk(), self.rng)
        self.go_on(self.until)

    def go_on(self, until: int | None = None) -> None:
        """Count the log up to an offset (its end)."""
        rng = self.rng
        for batch in self.events.batches(self.meter.next_offset, rng, until):
            self.meter.apply(batch)
            if rng.random() < 0.3:
                self.flush()
            if rng.random() < 0.2:
                self.emit(self.meter.log_now_ms + rng.choice((0, 7_200_000)))
        self.flush()

    def adopt(self, events: Log) -> None:
        """The log is another one from here on: a new generation of the same state counts it from its start."""
        record = adopt(self.meter.state, self.meter.changelog, begin=0, cluster_id="another")
        self.logs[STATE].add(record.key, record.value, NOW_MS)
        disk = Disk()
        disk.records = [(stored.key, stored.value, stored.offset) for stored in self.logs[STATE].records]
        self.meter, self.events = fresh(disk, self.rng), events
        self.go_on()
        self.emit()

    def flush(self) -> None:
        """One flush, acknowledged."""
        flush = self.meter.begin_flush()
        if flush is None:
            return
        for send in (*flush.first, flush.counters, *flush.last):
            if send.topic != EVENTS:
                self.logs[send.topic].add(send.key, send.value, NOW_MS, tuple(send.headers))
        self.meter.end_flush(flush)

    def emit(self, now_ms: int = FAR_MS) -> None:
        """One round of closing, acknowledged and made durable."""
        for _ in range(2):
            self.meter.tick(now_ms, self.meter.durable_offset)
        emissions = self.meter.due(now_ms)
        for emission in emissions:
            self.logs[WINDOWS].add(emission.send.key, emission.send.value, NOW_MS, tuple(emission.send.headers))
        self.meter.end_emission(emissions)
        self.flush()

    def change(self, topic: str, chosen: Callable[[Stored], bool], changed: Callable[[Stored], Stored | None]) -> int:
        """Tamper: every chosen record becomes another, or none; how many there were."""
        log = self.events if topic == EVENTS else self.logs[topic]
        count = sum(map(chosen, log.records))
        log.records = [new for record in log.records if (new := changed(record) if chosen(record) else record) is not None]
        return count

    # ── Source ───────────────────────────────────────────────────────────────────────────────────────────────────────
    async def bounds(self, topic: str) -> Bounds:
        """See `Source.bounds`."""
        return Bounds(self.begins.get(topic, 0), self.events.end if topic == EVENTS else self.logs[topic].end)

    async def kept(self, topic: str) -> list[Kept]:
        """See `Source.kept`."""
        begin = self.begins.get(topic, 0)
        return [Kept(record.offset, record.key, record.value) for record in self.logs[topic].records if record.offset >= begin]

    async def log(self, start: int) -> AsyncGenerator[LogRecord, None]:
        """See `Source.log`."""
        for record in self.events.records:
            if record.offset >= max(start, self.begins.get(EVENTS, 0)):
                headers: Headers = record.headers
                yield LogRecord(record.offset, record.timestamp_ms, record.key, record.value, headers)

    async def audited(self, **order: Any) -> PartitionAudit:
        """The audit of this partition."""
        run = PartitionRun(self, 0, PARTITIONS, Order(**order))
        await run.audit()
        return run.result
