"""The archive worker: takes batches of our topics, writes them, and copies raw events up to the marks that are written (laws 18, 19).

Nothing here decides about money. Whatever fails is tried again; what cannot be read is said, halts its own partition and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sinks.clickhouse.app_patience import Patience
from sinks.clickhouse.app_raw import RawCopier
from sinks.clickhouse.lanes import Lane, Taken
from sinks.clickhouse.migrate import SchemaMismatch
from sinks.clickhouse.ports import ArchivedMark, RawLog, Store
from sinks.clickhouse.record_rows import TABLE_OF, Row, batch_rows, mark_row
from sinks.clickhouse.resume import gap_sentence, resume
from sinks.clickhouse.tables import MARK, PROGRESS, Table, columns_of
from topics.batch import Batch, Flow, TopicPartition
from topics.catalog import DEFINITIONS, EVENTS, VERDICTS
from topics.definitions import Definition, decode_definition
from topics.errors import MalformedRecord
from topics.positions import log_of, offset_of, position

log = logging.getLogger(__name__)

ARCHIVE_TOPICS: Final = tuple(TABLE_OF)
"""What delivery hands over. `usage.events` is read apart (`raw_log.py`)."""


@dataclass(frozen=True, kw_only=True)
class ArchiveSettings:
    """How the archive paces itself, and where its servers are; the password is in no repr.

    `flush_age_s`: rows wait at most about this long: two inserts a second and table keep ClickHouse's parts few and what is seen fresh.
    `flush_rows`: rows of one insert at most. `pending_rows`, `pending_bytes`: with more waiting, delivery is made to wait too.
    """

    url: str
    user: str = "default"
    password: str = field(default="", repr=False)
    database: str = "tidemark"
    bootstrap: str = "localhost:9092"
    flush_age_s: float = 0.5
    flush_rows: int = 50_000
    pending_rows: int = 200_000
    pending_bytes: int = 64 * 1024 * 1024


class ArchiveWorker:
    """The `Listener` of its delivery, the receiver of its batches, and what `/status` shows."""

    def __init__(self, settings: ArchiveSettings, *, flow: Flow, store: Store, raw_log: RawLog) -> None:
        self._settings = settings
        self._flow = flow
        self._store = store
        self._patience = Patience()
        self._raw_log = raw_log
        self._raw = RawCopier(store, raw_log, self._patience, self._definitions_read)
        self._lanes: dict[TopicPartition, Lane] = {}
        self._flushing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._ends: dict[TopicPartition, int] = {}
        self._halted: str | None = None

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────
    @property
    def halted(self) -> str | None:
        """Why a partition, or all of them, is not archived any more; None while everything is."""
        lane = next((lane.halted for lane in self._lanes.values() if lane.halted is not None), None)
        return self._halted or lane or self._raw.halted

    @property
    def progress(self) -> int:
        """Rises while the worker is alive: with deliveries, raw reads, and each try at a server that does not answer."""
        return self._flow.progress + self._raw.turns + self._patience.attempts + self._raw.log_patience.attempts

    def status(self) -> dict[str, Any]:
        """The worker's part of `/status`, from memory."""
        lines = {lane.tp: lane.archived_offset for lane in self._lanes.values()}
        lines |= {(EVENTS, lane.partition): lane.archived_offset for lane in self._raw.lanes.values()}
        # Raw events follow the meter's marks: whether they stand still is seen against those, not against the log's end.
        marked = {(EVENTS, lane.partition): {"marked_offset": lane.wanted} for lane in self._raw.lanes.values()}
        return {
            "partitions": [
                {
                    "topic": tp[0],
                    "partition": tp[1],
                    "archived_offset": archived,
                    "end_offset": self._ends.get(tp, archived),
                    **marked.get(tp, {}),
                }
                for tp, archived in sorted(lines.items())
            ],
            "halted": self.halted,
            "waiting": self._patience.waiting or self._raw.log_patience.waiting,
            "progress": self.progress,
        }

    async def refresh(self) -> None:
        """Ask Kafka for the ends that `status` shows."""
        tps = [*self._lanes, *((EVENTS, partition) for partition in self._raw.lanes)]
        if tps:
            self._ends |= {tp: end for tp, (_, end) in (await self._raw_log.bounds(tps)).items()}

    def _definitions_read(self, partition: int) -> int:
        lane = self._lanes.get((DEFINITIONS, partition))
        return -1 if lane is None else lane.next_offset

    # ── Listener ────────────────────────────────────────────────────────────────────────────────────────────────
    async def start_offsets(self, tps: frozenset[TopicPartition], epoch: int) -> Mapping[TopicPartition, int]:
        """See `topics.batch.Listener.start_offsets`: where the archive's own progress ends, never where the group committed (law 18)."""
        await self._prepare()
        for tp in sorted(tps):
            self._lanes[tp] = await self._open(tp, epoch)
        for topic, partition in sorted(tps):
            if topic == VERDICTS and (DEFINITIONS, partition) in self._lanes:
                await self._raw.open(partition, await self._known_definitions(partition))
        return {tp: self._lanes[tp].next_offset for tp in tps}

    async def _prepare(self) -> None:
        try:
            await self._patience.insist(self._store.prepare)
        except SchemaMismatch as error:
            self._halted = str(error)
            log.critical("%s", error)
            await asyncio.Event().wait()  # for ever: a revoke cancels this call; nothing may be written into another schema

    async def _open(self, tp: TopicPartition, epoch: int) -> Lane:
        topic, partition = tp
        table = TABLE_OF[topic]
        progress = await self._patience.insist(lambda: self._store.progress(topic, partition))
        place = progress.next_offset if progress else await self._flow.beginning_offset(tp)
        log, begin = log_of(place), offset_of(place)
        present = await self._patience.insist(lambda: self._store.present(table, partition, place))
        start, skip = resume(begin, {offset_of(found) for found in present}, begin)
        return Lane(tp, epoch, start, start, skip, log, is_trimmed=topic == VERDICTS and await self._is_trimmed(tp))

    async def _is_trimmed(self, tp: TopicPartition) -> bool:
        """Whether the archive has no mark of the partition yet and the first verdicts are gone: earlier events can never be judged here."""
        mark = await self._patience.insist(lambda: self._store.mark(tp[1]))
        return mark is None and await self._flow.beginning_offset(tp) > 0

    async def _known_definitions(self, partition: int) -> list[Definition]:
        bodies = await self._patience.insist(lambda: self._store.definitions(partition))
        return [decode_definition(body, f"definition_log of partition {partition}") for body in bodies]

    async def on_revoked(self, tps: frozenset[TopicPartition]) -> None:
        """See `topics.batch.Listener.on_revoked`. What is not written in time is read again by the next owner."""
        try:
            await self.flush()
        finally:
            for tp in tps:
                self._lanes.pop(tp, None)
            self._raw.close(partition for topic, partition in tps if topic in {VERDICTS, DEFINITIONS})
            self._room.set()

    async def on_out_of_range(self, tp: TopicPartition, wanted: int, begin: int, end: int) -> None:
        """See `topics.batch.Listener.on_out_of_range`: that partition stops, visibly; the views show nothing past its mark (H34)."""
        if (lane := self._lanes.get(tp)) is not None:
            self._halt(lane, gap_sentence(*tp, wanted, begin, end))

    def _halt(self, lane: Lane, sentence: str) -> None:
        lane.halted = sentence
        log.critical("%s", sentence)

    # ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def take(self, batch: Batch) -> None:
        """Take one batch; returns when there is room for another."""
        lane = self._lanes.get(batch.tp)
        if lane is None or lane.epoch != batch.epoch or self._flow.epoch(batch.tp) != batch.epoch or lane.halted is not None:
            return
        if batch.start_offset != lane.next_offset:
            self._halt(lane, f"{batch.topic} {batch.partition}: delivery went from {lane.next_offset} to {batch.start_offset}; restart the worker")
            return
        try:
            found = batch_rows(batch, lane.skip, lane.log)
        except MalformedRecord as error:
            self._halt(lane, str(error))
            return
        lane.add(found, batch.next_offset)
        if batch.topic == DEFINITIONS:
            self._raw.learn(batch.partition, found.definitions)
        self._wake.set()
        while self._is_full() and self._lanes.get(batch.tp) is lane:
            self._room.clear()
            await self._room.wait()

    def _is_full(self) -> bool:
        rows = sum(len(lane.rows) for lane in self._lanes.values())
        return rows >= self._settings.pending_rows or sum(lane.bytes for lane in self._lanes.values()) >= self._settings.pending_bytes

    async def run(self) -> None:
        """Write what waits, once a second or sooner when there is much, and copy raw events; for ever."""
        parts = {asyncio.ensure_future(self._raw.run()), asyncio.ensure_future(self._flush_often())}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()  # neither ends but by an error, which ends the worker
        finally:
            for part in parts:
                part.cancel()
            await asyncio.wait(parts)
            await self._raw_log.close()

    async def _flush_often(self) -> None:
        while True:
            await self._pause()
            await self.flush()

    async def _pause(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        if not self._is_full():
            await asyncio.sleep(self._settings.flush_age_s)

    async def flush(self) -> None:
        """Write everything that waits."""
        async with self._flushing:
            taken = [found for lane in self._lanes.values() if (found := lane.take()) is not None]
            if taken:
                await self._write(taken)
        self._room.set()

    async def _write(self, taken: list[Taken]) -> None:
        """In this order, with what a crash between costs:

        1. rows: without their progress they are found on assignment and skipped;
        2. marks, after every verdict below them: a mark without its verdicts would show duplicates as counted. Before them, where retention
           has taken the beginning of usage.verdicts from a new archive, that raw events are archived only from the first mark on;
        3. progress rows: without the commit they are believed all the same;
        4. commits, which only tell other tools how far the archive is;
        5. raw events may follow up to the marks: without that step the marks are read back on assignment.
        """
        for table in dict.fromkeys(TABLE_OF[found.lane.tp[0]] for found in taken):
            await self._insert(table, [row for found in taken if TABLE_OF[found.lane.tp[0]] is table for row in found.rows])
        marks = [found.mark for found in taken if found.mark is not None]
        floors = [found.floor for found in taken if found.floor is not None]
        await self._insert(PROGRESS, [(EVENTS, floor.partition, floor.generation, floor.next_offset) for floor in floors])
        await self._insert(MARK, [mark_row(mark) for mark in marks])
        await self._insert(PROGRESS, [(*found.lane.tp, 0, position(found.lane.log, found.next_offset)) for found in taken])
        for found in taken:
            found.lane.archived_offset = found.next_offset
            self._flow.commit(found.lane.tp, found.next_offset)
        for floor in floors:
            self._raw.begin_at(floor.partition, floor.generation, floor.next_offset)
        for mark in marks:
            self._raw.marked(mark.partition, ArchivedMark(mark.generation, mark.next_offset, mark.counters.base))

    async def _insert(self, table: Table, rows: list[Row]) -> None:
        for at in range(0, len(rows), self._settings.flush_rows):
            columns = columns_of(rows[at : at + self._settings.flush_rows], table)
            await self._patience.insist(lambda columns=columns: self._store.insert(table, columns))  # type: ignore[misc]
