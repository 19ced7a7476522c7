"""A world for the archive: topics filled by the real meter core, a model of ClickHouse that can be killed at any insert, a delivery.

The model keeps every inserted row, as a crashed worker would leave it, and answers as FINAL would: one row an identity.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from sinks.clickhouse.app import ARCHIVE_TOPICS, ArchiveSettings, ArchiveWorker
from sinks.clickhouse.ports import ArchivedMark, Progress, RawChunk
from sinks.clickhouse.raw_block import Piece
from sinks.clickhouse.rows import RawRecord
from sinks.clickhouse.tables import DEFINITION, MARK, PROGRESS, RAW, VERDICT, WINDOW, Columns, Table
from tests.core.meterlog import NOW_MS, Disk, Log, Stored, batch_of, fresh
from tests.core.native_reading import columns_of_pieces
from topics.batch import NOT_ASSIGNED, Batch, TopicPartition
from topics.catalog import DEFINITIONS, EVENTS, REJECTED, VERDICTS, WINDOWS
from topics.errors import LostLog

Row = dict[str, Any]
IDENTITY = {
    RAW.name: ("kafka_partition", "generation", "kafka_offset"),
    VERDICT.name: ("kafka_partition", "generation", "kafka_offset"),
    WINDOW.name: ("customer", "meter", "window_start", "window_end", "generation", "through_offset"),
    DEFINITION.name: ("log_partition", "kind", "id", "meter", "valid_from", "control_offset"),
    "rejected_log": ("kafka_topic", "kafka_partition", "kafka_offset", "received_at"),
}


class Killed(BaseException):
    """The process is gone: nothing may catch it."""


class ModelStore:
    """`ports.Store` in memory. `kill(table)` is asked before and after each insert takes effect, `fault()` before every call."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = defaultdict(list)
        self.kill: Callable[[str], bool] = lambda _: False
        self.fault: Callable[[], Exception | None] = lambda: None

    def _maybe_fail(self) -> None:
        if (error := self.fault()) is not None:
            raise error

    async def prepare(self) -> None:
        """The model needs no schema."""
        self._maybe_fail()

    async def insert(self, table: Table, columns: Columns) -> None:
        """All rows, some of them (a crash leaves parts of a batch), or none."""
        await asyncio.sleep(0)
        self._maybe_fail()
        rows = [dict(zip(table.names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        if table is RAW:
            self._check_visible(rows)
        if self.kill(table.name):
            self.tables[table.name] += rows[::2]
            raise Killed
        self.tables[table.name] += rows
        if self.kill(table.name):
            raise Killed

    async def packed(self, pieces: Sequence[Piece]) -> Callable[[], Awaitable[None]]:
        """See `ports.Store`."""
        await asyncio.sleep(0)
        columns = columns_of_pieces(pieces)
        return lambda: self.insert(RAW, columns)

    def _check_visible(self, rows: list[Row]) -> None:
        """Law 19: no raw row is ever there without its mark."""
        for row in rows:
            marks = [m["next_offset"] for m in self.tables[MARK.name] if m["generation"] == row["generation"]]
            assert row["kafka_offset"] < max(marks, default=0), f"offset {row['kafka_offset']} is archived past its mark"

    def final(self, table: Table) -> dict[tuple[Any, ...], Row]:
        """One row an identity, the first one."""
        found: dict[tuple[Any, ...], Row] = {}
        for row in self.tables[table.name]:
            found.setdefault(tuple(row[name] for name in IDENTITY[table.name]), row)
        return found

    async def progress(self, topic: str, partition: int) -> Progress | None:
        """See `ports.Store`."""
        self._maybe_fail()
        rows = [row for row in self.tables[PROGRESS.name] if (row["topic"], row["kafka_partition"]) == (topic, partition)]
        return max((Progress(row["generation"], row["next_offset"]) for row in rows), default=None)

    async def present(self, table: Table, partition: int, from_offset: int) -> set[int]:
        """See `ports.Store`."""
        rows = self.tables[table.name]
        return {row["log_offset"] for row in rows if row["log_partition"] == partition and row["log_offset"] >= from_offset}

    async def present_raw(self, partition: int, generation: int, from_offset: int) -> set[int]:
        """See `ports.Store`."""
        found = (row for row in self.tables[RAW.name] if (row["kafka_partition"], row["generation"]) == (partition, generation))
        return {row["kafka_offset"] for row in found if row["kafka_offset"] >= from_offset}

    async def mark(self, partition: int) -> ArchivedMark | None:
        """See `ports.Store`."""
        rows = [row for row in self.tables[MARK.name] if row["kafka_partition"] == partition]
        return max((ArchivedMark(row["generation"], row["next_offset"], row["base"]) for row in rows), default=None)

    async def definitions(self, partition: int) -> list[bytes]:
        """See `ports.Store`."""
        rows = [row for row in self.final(DEFINITION).values() if row["log_partition"] == partition]
        return [row["body"] for row in sorted(rows, key=lambda row: int(row["log_offset"]))]

    async def last_raw(self, partition: int, generation: int, below: int) -> RawRecord | None:
        """See `ports.Store`."""
        rows = [row for row in self.final(RAW).values() if row["generation"] == generation and row["kafka_offset"] < below]
        if not rows:
            return None
        row = max(rows, key=lambda row: int(row["kafka_offset"]))
        key = None if row["key_is_null"] else row["customer"]
        return RawRecord(row["kafka_offset"], row["log_time"], key, None if row["value_is_null"] else row["value"], ())


class Topics:
    """All logs of partition 0: usage.events as given, the others as the meter core writes them."""

    def __init__(self, seed: int, events: Log, *, doubled: bool = False) -> None:
        self.rng = random.Random(seed)
        self.events = events
        self.logs: dict[str, Log] = {topic: Log() for topic in ARCHIVE_TOPICS} | {EVENTS: events}
        self._doubled = doubled
        disk = Disk()
        self.meter = fresh(disk, self.rng)
        for batch in events.batches(0, self.rng):
            self.meter.apply(batch)
            if self.rng.random() < 0.4 or batch.next_offset == events.end:
                self._flush()
            if self.rng.random() < 0.1 or batch.next_offset == events.end:
                self._emit()
        self._flush()

    def _flush(self) -> None:
        flush = self.meter.begin_flush()
        if flush is not None:
            for send in (*flush.first, *flush.last):
                self._write(send)
            self.meter.end_flush(flush)

    def _emit(self) -> None:
        now_ms = NOW_MS + 10 * 86_400_000
        self.meter.tick(now_ms, self.meter.durable_offset)
        self.meter.tick(now_ms, self.meter.durable_offset)
        emissions = self.meter.due(now_ms)
        for emission in emissions:
            self._write(emission.send)
        self.meter.end_emission(emissions)

    def _write(self, send: Any) -> None:
        if send.topic not in self.logs or send.topic == EVENTS:
            return
        for _ in range(2 if self._doubled and self.rng.random() < 0.5 else 1):
            if self.rng.random() < 0.03:
                self.logs[send.topic].marker()
            self.logs[send.topic].add(send.key, send.value, NOW_MS + 5, tuple(send.headers))

    def records(self, topic: str) -> list[Stored]:
        """What was written to a topic."""
        return self.logs[topic].records


class ModelFlow:
    """`topics.batch.Flow` over `Topics`; `deliver` is what delivery does."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.current = NOT_ASSIGNED
        self.progress = 1
        self.begins: dict[str, int] = {}
        self.positions: dict[TopicPartition, int] = {}
        self.commits: dict[TopicPartition, int] = {}

    def epoch(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow`."""
        return self.current if tp in self.positions else NOT_ASSIGNED

    def assigned(self) -> frozenset[TopicPartition]:
        """See `topics.batch.Flow`."""
        return frozenset(self.positions)

    def position(self, tp: TopicPartition) -> int | None:
        """See `topics.batch.Flow`."""
        return self.positions.get(tp)

    def commit(self, tp: TopicPartition, next_offset: int) -> None:
        """See `topics.batch.Flow`."""
        self.commits[tp] = max(next_offset, self.commits.get(tp, 0))

    async def committed(self, tp: TopicPartition) -> int | None:
        """See `topics.batch.Flow`."""
        return self.commits.get(tp)

    async def last_stable_offset(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow`."""
        return self.topics.logs[tp[0]].end

    async def beginning_offset(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow`."""
        return self.begins.get(tp[0], 0)

    async def assign(self, worker: ArchiveWorker, epoch: int) -> None:
        """A new assignment of every topic's partition 0."""
        tps: frozenset[TopicPartition] = frozenset((topic, 0) for topic in ARCHIVE_TOPICS)
        starts = await worker.start_offsets(tps, epoch)
        self.current, self.positions = epoch, dict(starts)

    async def revoke(self, worker: ArchiveWorker) -> None:
        """Everything is taken away."""
        tps, self.positions = frozenset(self.positions), {}
        await worker.on_revoked(tps)

    async def deliver(self, worker: ArchiveWorker, topics: Iterable[str], rng: random.Random, most: int = 10**9) -> None:
        """Hand over what is new of `topics`, in random cuts and turns, up to `most` batches."""
        waiting = [topic for topic in topics if self.positions[(topic, 0)] < self.topics.logs[topic].end]
        while waiting and most:
            topic = rng.choice(waiting)
            await worker.take(self._cut(topic, rng))
            most -= 1
            waiting = [topic for topic in waiting if self.positions[(topic, 0)] < self.topics.logs[topic].end]

    def _cut(self, topic: str, rng: random.Random) -> Batch:
        start, log = self.positions[(topic, 0)], self.topics.logs[topic]
        upto = min(log.end, start + rng.choice((1, 3, 20, 200)))
        found = [record for record in log.records if start <= record.offset < upto]
        self.positions[(topic, 0)] = upto
        plain = batch_of(found, start, upto, self.current)
        return Batch(**{name: getattr(plain, name) for name in Batch.__slots__} | {"topic": topic})


class ModelRawLog:
    """`ports.RawLog` over a log."""

    def __init__(self, topics: Topics, rng: random.Random) -> None:
        self.topics = topics
        self.rng = rng
        self.begin = 0
        self.reads = 0
        self.fault: Callable[[], Exception | None] = lambda: None

    async def read(self, partition: int, start: int, end: int, limit: int) -> RawChunk:
        """See `ports.RawLog`."""
        await asyncio.sleep(0)
        if (error := self.fault()) is not None:
            raise error
        if start < self.begin:
            raise LostLog(f"{EVENTS} {partition}: the log no longer has offset {start}")
        self.reads += 1
        upto = min(end, start + min(limit, self.rng.choice((0, 1, 10, 100))))
        found = [record for record in self.topics.events.records if start <= record.offset < upto]
        return RawChunk([RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in found], upto)

    async def bounds(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """See `ports.RawLog`."""
        return {tp: (self.begin if tp[0] == EVENTS else 0, self.topics.logs[tp[0]].end) for tp in tps}

    def forget(self, partitions: Iterable[int]) -> None:
        """See `ports.RawLog`."""

    async def close(self) -> None:
        """See `ports.RawLog`."""


class Process:
    """One life of an archive worker: its tasks die with it."""

    def __init__(self, topics: Topics, store: ModelStore, rng: random.Random, **settings: Any) -> None:
        self.flow = ModelFlow(topics)
        self.raw_log = ModelRawLog(topics, rng)
        options = {"flush_age_s": 0.001, **settings}
        self.worker = ArchiveWorker(ArchiveSettings(url="", **options), flow=self.flow, store=store, raw_log=self.raw_log)
        self.running: asyncio.Task[None] | None = None

    async def start(self, epoch: int = 1) -> None:
        """Assigned and running."""
        self.running = asyncio.ensure_future(self.worker.run())
        await self.flow.assign(self.worker, epoch)

    async def archived(self, topics: Topics) -> None:
        """Return when everything is archived; whatever ended the worker is raised."""
        while not self.is_done(topics):
            assert self.worker.halted is None, self.worker.halted
            if self.running is not None and self.running.done():
                self.running.result()
            await asyncio.sleep(0.001)

    def is_done(self, topics: Topics) -> bool:
        """Whether every topic is archived to its end."""
        lines = {line["topic"]: line["archived_offset"] for line in self.worker.status()["partitions"]}
        return all(lines.get(topic, -1) >= log.end for topic, log in topics.logs.items())

    async def end(self) -> None:
        """SIGKILL, as far as a task can be killed."""
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait({self.running})
            if not self.running.cancelled():
                self.running.exception()


__all__ = ["DEFINITIONS", "REJECTED", "VERDICTS", "WINDOWS", "Killed", "ModelStore", "Process", "Topics"]
