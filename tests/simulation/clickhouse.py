"""A ClickHouse that keeps rows: inserts in parts, answers that are lost, outages; and the archive's own reader of the log."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from sinks.clickhouse.ports import ArchivedMark, Progress, RawChunk
from sinks.clickhouse.raw_block import Piece
from sinks.clickhouse.rows import RawRecord
from sinks.clickhouse.tables import DEFINITION, MARK, PROGRESS, RAW, Columns, Table
from tests.core.native_reading import columns_of_pieces
from tests.simulation.broker import Broker, NoAnswer
from tests.simulation.kernel import Kernel
from topics.batch import TopicPartition
from topics.catalog import EVENTS
from topics.errors import LostLog, Unreachable

Answer = TypeVar("Answer")
Row = dict[str, Any]

IDENTITY: Final = {
    "raw_events": ("kafka_partition", "generation", "kafka_offset"),
    "verdict_log": ("kafka_partition", "generation", "kafka_offset"),
    "window_log": ("customer", "meter", "window_start", "window_end", "generation", "through_offset"),
    "definition_log": ("log_partition", "kind", "id", "meter", "valid_from", "control_offset"),
    "rejected_log": ("kafka_topic", "kafka_partition", "kafka_offset", "received_at"),
    "receipt_log": ("provider", "account", "cell", "revision", "generation", "attempt", "state"),
}
"""The sort keys of `schema/*.sql`: rows of one identity are one row under FINAL (law 18)."""


class Engine:
    """All tables. `partly`: how likely an insert is cut off after some of its rows; `lost`: its answer is lost."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.tables: dict[str, list[Row]] = defaultdict(list)
        self.is_down = False
        self.partly = 0.0
        self.lost = 0.0
        self.errors: list[str] = []

    def insert(self, table: Table, columns: Columns) -> bool:
        """All rows, or some; whether it was all. Law 19 is watched here: no raw row is ever there without its mark."""
        rows = [dict(zip(table.names, cells, strict=True)) for cells in zip(*columns, strict=True)]
        if table is RAW:
            self._watch(rows)
        if self.kernel.chance.random() < self.partly:
            self.tables[table.name] += rows[:: self.kernel.chance.choice((2, 3))]
            return False
        self.tables[table.name] += rows
        return True

    def _watch(self, rows: list[Row]) -> None:
        marks: dict[tuple[int, int], int] = defaultdict(int)
        for row in self.tables[MARK.name]:
            key = (row["kafka_partition"], row["generation"])
            marks[key] = max(marks[key], row["next_offset"])
        for row in rows:
            if row["kafka_offset"] >= marks[row["kafka_partition"], row["generation"]]:
                self.errors.append(f"raw event {row['kafka_partition']}/{row['kafka_offset']} is in the archive before its verdict's mark")

    def final(self, name: str) -> dict[tuple[Any, ...], Row]:
        """One row an identity, the last inserted, as a merge keeps it."""
        names = IDENTITY[name]
        return {tuple(row[part] for part in names): row for row in self.tables[name]}


class SimulatedStore:
    """`sinks.clickhouse.ports.Store`: every call is a request to the engine."""

    def __init__(self, engine: Engine, kernel: Kernel) -> None:
        self.engine = engine
        self.kernel = kernel

    async def _ask(self, work: Callable[[], Answer]) -> Answer:
        """One request; a client that hears nothing says Unreachable, whatever the engine did."""
        chance = self.kernel.chance
        await asyncio.sleep(chance.random() * 0.05)
        if self.engine.is_down:
            raise Unreachable("ClickHouse does not answer")
        found = work()
        await asyncio.sleep(chance.random() * 0.05)
        if chance.random() < self.engine.lost:
            raise Unreachable("ClickHouse did not answer in time")
        return found

    async def prepare(self) -> None:
        """See `ports.Store`."""
        await self._ask(lambda: None)

    async def insert(self, table: Table, columns: Columns) -> None:
        """See `ports.Store`."""
        if not await self._ask(lambda: self.engine.insert(table, columns)):
            raise Unreachable("ClickHouse went away in the middle of an insert")

    async def packed(self, pieces: Sequence[Piece]) -> Callable[[], Awaitable[None]]:
        """See `ports.Store`: the work of a moment, and no request."""
        await asyncio.sleep(self.kernel.chance.random() * 0.05)
        columns = columns_of_pieces(pieces)
        return lambda: self.insert(RAW, columns)

    async def progress(self, topic: str, partition: int) -> Progress | None:
        """See `ports.Store`."""
        rows = await self._ask(lambda: self._of(PROGRESS, partition))
        rows = [row for row in rows if row["topic"] == topic]
        return max((Progress(row["generation"], row["next_offset"]) for row in rows), default=None)

    async def present(self, table: Table, partition: int, from_offset: int) -> set[int]:
        """See `ports.Store`."""
        rows = await self._ask(lambda: [row for row in self.engine.tables[table.name] if row["log_partition"] == partition])
        return {row["log_offset"] for row in rows if row["log_offset"] >= from_offset}

    async def present_raw(self, partition: int, generation: int, from_offset: int) -> set[int]:
        """See `ports.Store`."""
        rows = await self._ask(lambda: self._raw(partition, generation))
        return {row["kafka_offset"] for row in rows if row["kafka_offset"] >= from_offset}

    async def mark(self, partition: int) -> ArchivedMark | None:
        """See `ports.Store`."""
        rows = await self._ask(lambda: self._of(MARK, partition))
        return max((ArchivedMark(row["generation"], row["next_offset"], row["base"]) for row in rows), default=None)

    async def definitions(self, partition: int) -> list[bytes]:
        """See `ports.Store`."""
        rows = await self._ask(lambda: [row for row in self.engine.final(DEFINITION.name).values() if row["log_partition"] == partition])
        return [row["body"] for row in sorted(rows, key=lambda row: int(row["log_offset"]))]

    async def last_raw(self, partition: int, generation: int, below: int) -> RawRecord | None:
        """See `ports.Store`."""
        rows = [row for row in await self._ask(lambda: self._raw(partition, generation)) if row["kafka_offset"] < below]
        if not rows:
            return None
        row = max(rows, key=lambda row: int(row["kafka_offset"]))
        key, value = None if row["key_is_null"] else row["customer"], None if row["value_is_null"] else row["value"]
        return RawRecord(row["kafka_offset"], row["log_time"], key, value, ())

    def _of(self, table: Table, partition: int) -> list[Row]:
        return [row for row in self.engine.tables[table.name] if row["kafka_partition"] == partition]

    def _raw(self, partition: int, generation: int) -> list[Row]:
        return [row for row in self.engine.tables[RAW.name] if (row["kafka_partition"], row["generation"]) == (partition, generation)]


class SimulatedRawLog:
    """`sinks.clickhouse.ports.RawLog`."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def _ask(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await self.broker.ask(work)
        except NoAnswer:
            raise Unreachable("Kafka does not answer") from None

    async def read(self, partition: int, start: int, end: int, limit: int) -> RawChunk:
        """See `ports.RawLog`."""
        log = self.broker.events(partition)
        upto = min(end, log.stable, start + self.broker.kernel.chance.choice((1, 10, 100)))
        records = await self._ask(lambda: log.committed(start, upto))
        if start < log.begin:
            raise LostLog(f"{EVENTS} {partition}: the log no longer has offset {start}")
        return RawChunk([RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in records], max(start, upto))

    async def bounds(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """See `ports.RawLog`."""
        wanted = list(tps)
        return await self._ask(lambda: self.broker.bounds(wanted))

    def forget(self, partitions: Iterable[int]) -> None:
        """Nothing is remembered here."""

    async def close(self) -> None:
        """Nothing is open."""
