"""How fast rows go in: the archive's own path against the engine's own rate, in turns, over the same rows.

The archive: Kafka record batches as fetched, framed by the worker's own reader, judged, made into rows and written by the worker's
`RawCopier` through the same client to the same engine, fsync and progress rows included. The engine: the same rows as finished blocks, sent
the same way, one after the other. The sums of both are compared, so neither can be quick by leaving something out.

Fair in both directions: one engine, one client, the same settings of an insert (`client.INSERT_SETTINGS`), an empty table for each turn,
and each insert is waited for. Blocks have 50,000 rows; the archive's end with the read that fills them, so they have up to a read more. The
engine's turn includes sending the bytes over loopback and parsing, sorting, writing and syncing them, but no reading, judging or packing,
no progress rows, and no first block that is made while the engine waits: a bound that no copier can exceed but by luck with merges, which
run on in the background of both turns. What the archive is spared is Kafka's network: its fetches have arrived.
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass
from typing import Any

import psutil
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords

from infra.delivery_columns import ColumnRecords
from infra.delivery_headers import MendingRecords
from infra.delivery_raw import batch_of
from infra.worker import GC_THRESHOLDS
from sinks.clickhouse.app_patience import Patience
from sinks.clickhouse.app_raw import INSERT_ROWS, RawCopier
from sinks.clickhouse.client import ClickHouse, ClickHouseStore
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.ports import ArchivedMark
from sinks.clickhouse.raw_block import raw_block
from sinks.clickhouse.raw_log import FETCH_BYTES, KafkaRawLog
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import MARK, columns_of
from tests.benchmarks.archive.events import DEFINITION, log
from topics.batch import Batch
from topics.catalog import EVENTS

PARTITIONS = 4


@dataclass(frozen=True)
class Round:
    """One turn of each: rows a second, and microseconds of CPU a row of the archive's process and of the engine's."""

    engine_rows_per_s: float
    archive_rows_per_s: float
    archive_us: float
    engine_us: float

    @property
    def ratio(self) -> float:
        """The archive's rate as a part of the engine's."""
        return self.archive_rows_per_s / self.engine_rows_per_s


class FetchedConsumer:
    """An aiokafka consumer whose fetches have arrived: what it hands out is read from record batches by aiokafka's own code."""

    def __init__(self, logs: dict[int, list[bytes]], rows: int) -> None:
        self._logs = logs
        self._rows = rows
        self._assigned: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        self._reading: dict[TopicPartition, Any] = {}
        self._fetcher = None

    def assignment(self) -> set[TopicPartition]:
        """Partitions that are read."""
        return self._assigned

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read these."""
        self._assigned = set(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on from an offset."""
        self._positions[partition] = offset
        self._reading.pop(partition, None)

    async def position(self, partition: TopicPartition) -> int:
        """Where the partition is read from next."""
        return self._positions[partition]

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """All logs begin at 0."""
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Where each log ends."""
        return dict.fromkeys(partitions, self._rows)

    async def fetched(self, partition: TopicPartition) -> list[Batch]:
        """A batch of the fetch under way, or of the next one, as `infra.delivery_raw.fetched` hands it out."""
        if self._positions[partition] >= self._rows:
            return []
        fetch = self._reading.get(partition) or self._fetch(partition)
        found = next(fetch, None)
        self._positions[partition] = fetch.next_fetch_offset
        if found is None:
            self._reading.pop(partition)
            return await self.fetched(partition)
        return [batch_of(partition, found)]

    def _fetch(self, partition: TopicPartition) -> ColumnRecords:
        offset, batches = self._positions[partition], self._logs[partition.partition]
        data = bytearray()
        for batch in batches:
            base, size = int.from_bytes(batch[:8], "big"), int.from_bytes(batch[57:61], "big")
            if base + size > offset and len(data) < FETCH_BYTES:
                data += batch
        found = ColumnRecords(partition, MendingRecords(bytes(data)), [], offset, None, None, True, READ_COMMITTED)
        self._reading[partition] = found
        return found


def measure(clickhouse: ClickHouse, engine: psutil.Process, rows: int, rounds: int) -> list[Round]:
    """Several rounds; the first warms both up and is thrown away."""
    gc.set_threshold(*GC_THRESHOLDS)  # as the worker does
    each = rows // PARTITIONS
    logs = {partition: log(partition, each, 1) for partition in range(PARTITIONS)}
    blocks = finished(logs, each)
    found = [one_round(clickhouse, engine, logs, blocks, each) for _ in range(rounds + 1)]
    return found[1:]


def finished(logs: dict[int, list[bytes]], each: int) -> list[bytes]:
    """The archive's own rows, as blocks of the size it inserts."""
    rows = {partition: RawRows(partition, 0, known()) for partition in logs}
    records: list[tuple[int, RawRecord]] = []
    for partition, batches in logs.items():
        for record in PartitionRecords(TopicPartition(EVENTS, partition), MemoryRecords(b"".join(batches)), [], 0, None, None, False, READ_COMMITTED):
            records.append((partition, RawRecord(record.offset, record.timestamp, record.key, record.value, ())))
    made: list[bytes] = []
    for partition in logs:
        own = [record for of, record in records if of == partition]
        made += [raw_block(rows[partition].written(own[at : at + INSERT_ROWS])) for at in range(0, each, INSERT_ROWS)]
    return made


def known() -> InForce:
    """The one meter, in force from the beginning."""
    in_force = InForce(at_once=True)
    in_force.add(DEFINITION)
    return in_force


def one_round(clickhouse: ClickHouse, engine: psutil.Process, logs: dict[int, list[bytes]], blocks: list[bytes], each: int) -> Round:
    """The engine's turn, then the archive's, each into an empty table."""
    rows = each * len(logs)
    empty(clickhouse)
    begun_s = time.perf_counter()
    for block in blocks:
        clickhouse.insert_raw_block(block)
    engine_s = time.perf_counter() - begun_s
    wanted = summed(clickhouse)
    empty(clickhouse)
    asyncio.run(mark_all(clickhouse, each))
    own, before, other = psutil.Process(), cpu_s(psutil.Process()), cpu_s(engine)
    begun_s = time.perf_counter()
    asyncio.run(archive(clickhouse, logs, each))
    archive_s = time.perf_counter() - begun_s
    result = Round(rows / engine_s, rows / archive_s, (cpu_s(own) - before) / rows * 1e6, (cpu_s(engine) - other) / rows * 1e6)
    if summed(clickhouse) != wanted or wanted[0] != rows:
        raise RuntimeError(f"the archive wrote {summed(clickhouse)}, the engine {wanted} of {rows} rows")
    return result


async def mark_all(clickhouse: ClickHouse, each: int) -> None:
    """Every event has its verdict: the archive may copy all."""
    rows = [(partition, 0, each, 0, each, 0, 0, 0, 0, 0, 0, each) for partition in range(PARTITIONS)]
    await ClickHouseStore(clickhouse).insert(MARK, columns_of(rows, MARK))


async def archive(clickhouse: ClickHouse, logs: dict[int, list[bytes]], each: int) -> None:
    """The worker's copier over all partitions, up to the last progress row."""
    consumer = FetchedConsumer(logs, each)
    raw_log = KafkaRawLog("none", lambda _consumer, partition, _timeout_s: consumer.fetched(partition))
    raw_log._consumer = consumer
    copier = RawCopier(ClickHouseStore(clickhouse), raw_log, Patience(), lambda _: each)
    for partition in logs:
        await copier.open(partition, [DEFINITION])
        copier.marked(partition, ArchivedMark(0, each, 0))
    while await copier.turn():
        pass
    await copier.written()
    if any(lane.archived_offset != each for lane in copier.lanes.values()):
        raise RuntimeError(f"the archive stopped early: {copier.halted}")


def empty(clickhouse: ClickHouse) -> None:
    """No rows, no progress, no marks."""
    for table in ("raw_events", "progress", "mark_log"):
        clickhouse.command(f"TRUNCATE TABLE {table}")


def summed(clickhouse: ClickHouse) -> tuple[Any, ...]:
    """What all rows add up to, their exact bytes included."""
    return clickhouse.rows(
        "SELECT count(), sum(cityHash64(record_value, customer, occurred_at, event_id, quantities, window_starts, record_received_at))"
        " FROM raw_events"
    )[0]


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)
