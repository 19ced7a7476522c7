"""Copies `usage.events` into ClickHouse, partition by partition, up to the marks that are archived (law 19)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from sinks.clickhouse.app_patience import Patience
from sinks.clickhouse.lanes import RawLane, not_the_same_log
from sinks.clickhouse.ports import ArchivedMark, RawChunk, RawLog, Store
from sinks.clickhouse.raw_block import Piece
from sinks.clickhouse.resume import gap_sentence, resume
from sinks.clickhouse.rows import RawRecord
from sinks.clickhouse.tables import PROGRESS, columns_of
from topics.catalog import DEFINITIONS, EVENTS
from topics.definitions import Definition
from topics.errors import LostLog

log = logging.getLogger(__name__)

READ_RECORDS: Final = 5_000
"""Records built between two awaits: 3 ms of one core, 70 ms where none is plain; short enough for the worker's other duties."""
INSERT_ROWS: Final = 50_000
"""Rows of one insert at most: beyond it the engine gains nothing, and a retry repeats more."""
INSERT_BYTES: Final = 32 * 1024 * 1024
"""Bytes of values of one insert at most: bounds memory where events are large."""
IDLE_S: Final = 0.5
"""How long the copier sleeps when no mark moved; a new mark wakes it."""


Reached = dict[RawLane, tuple[int, int]]
"""Lane → (generation, next offset) that is archived once the rows are in."""


class Gathered:
    """Rows for one insert, and how far each lane will be archived once they are in."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.rows = 0
        self.bytes = 0
        self.reached: Reached = {}

    @property
    def is_full(self) -> bool:
        """Whether no more should be added."""
        return self.rows >= INSERT_ROWS or self.bytes >= INSERT_BYTES

    def add(self, lane: RawLane, chunk: RawChunk) -> None:
        """Rows of a chunk but for those that are archived already."""
        fresh = [record for record in chunk.records if record.offset not in lane.skip] if lane.skip else chunk.records
        for piece in lane.rows.written(fresh):
            self.pieces.append(piece)
            self.rows += piece.rows
            self.bytes += piece.value_bytes
        self.reached[lane] = (lane.generation, chunk.next_offset)


class RawCopier:
    """All raw lanes of one worker and the task that serves them in turn."""

    def __init__(self, store: Store, raw_log: RawLog, patience: Patience, definitions_read: Callable[[int], int]) -> None:
        """`patience` is for ClickHouse; `definitions_read(partition)`: how far `usage.definitions` of the partition is read."""
        self.lanes: dict[int, RawLane] = {}
        self.turns = 0
        self._store = store
        self._log = raw_log
        self._patience = patience
        self.log_patience = Patience()
        """For reads, which may fail half-way through a turn: a turn that is tried again goes on with what it has gathered."""
        self._definitions_read = definitions_read
        self._wake = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        """The last write; it waits for the one before it."""
        self._writes: list[asyncio.Task[None]] = []
        self._answered = asyncio.Event()
        """The rows of the last write are in, and the progress of the one before."""
        self._gathered = Gathered()

    async def open(self, partition: int, definitions: list[Definition]) -> None:
        """Take a partition: go on after what is archived of it."""
        lane = RawLane(partition, definitions)
        progress = await self._patience.insist(lambda: self._store.progress(EVENTS, partition))
        if progress is not None:
            generation, archived = progress
            present = await self._patience.insist(lambda: self._store.present_raw(partition, generation, archived))
            lane.resume(generation, *resume(archived, present, archived))
        mark = await self._patience.insist(lambda: self._store.mark(partition))
        if mark is not None:
            lane.marked(mark)
        self.lanes[partition] = lane
        self._wake.set()

    def close(self, partitions: Iterable[int]) -> None:
        """Let partitions go; what is being written of them is finished, which is harmless: rows have identities."""
        gone = [partition for partition in partitions if self.lanes.pop(partition, None) is not None]
        self._log.forget(gone)

    def learn(self, partition: int, definitions: Iterable[Definition]) -> None:
        """Definitions arrived on `usage.definitions`."""
        if (lane := self.lanes.get(partition)) is not None:
            for definition in definitions:
                lane.learn(definition)
            self._wake.set()

    def marked(self, partition: int, mark: ArchivedMark) -> None:
        """A mark is in ClickHouse."""
        if (lane := self.lanes.get(partition)) is not None:
            lane.marked(mark)
            self._wake.set()

    def begin_at(self, partition: int, generation: int, offset: int) -> None:
        """A new archive starts here: the verdicts of earlier events are gone from their topic."""
        if (lane := self.lanes.get(partition)) is not None and lane.is_fresh:
            lane.resume(generation, offset, frozenset())

    @property
    def halted(self) -> str | None:
        """Why a partition is not copied any more."""
        return next((lane.halted for lane in self.lanes.values() if lane.halted is not None), None)

    async def run(self) -> None:
        """Copy for ever; ends only by being cancelled, after the insert under way."""
        try:
            while True:
                self._wake.clear()
                if not await self.log_patience.insist(self.turn):
                    await self._sleep()
        finally:
            for write in (writes := list(self._writes)):
                write.cancel()
            if writes:
                await asyncio.wait(writes)

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(IDLE_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def turn(self) -> bool:
        """Read one insert's worth and hand it to the writer; False where there is nothing to copy.

        Rows are read, built and packed while the insert before them is under way, and its progress row is written while they are inserted:
        the engine is not kept waiting between two inserts. At most one insert's worth is ahead: no more is read before the insert under
        way has its answer.
        A read that fails leaves what was gathered before it in place: lanes have moved past those records already.
        """
        for lane in list(self.lanes.values()):
            while not self._gathered.is_full and await self._may_read(lane):
                before = lane.next_offset
                await self._read(lane, self._gathered)
                if lane.next_offset == before:
                    break
        insert = await self._store.packed(self._gathered.pieces) if self._gathered.rows else None
        if self._writing is not None:
            await self._answered.wait()
            if self._writing.done():
                await self.written()
        if not self._gathered.reached:
            return False
        reached, self._gathered = self._gathered.reached, Gathered()
        self._answered.clear()
        self._writing = asyncio.ensure_future(self._write(insert, reached, self._writing))
        self._writes.append(self._writing)
        self._writing.add_done_callback(self._writes.remove)
        return True

    async def written(self) -> None:
        """Wait for all that is being written. Raises what ended a write: nothing is written after it."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None

    async def _may_read(self, lane: RawLane) -> bool:
        """Whether there is something below the mark, in the right log, with every definition up to the mark known."""
        if self.lanes.get(lane.partition) is not lane or lane.next_offset >= lane.wanted:
            return False
        if not lane.is_checked and not await self._check(lane):
            return False
        if lane.next_offset < lane.cleared_offset:
            return True
        if lane.clearing is None:
            # Asked after the mark was consumed: the meter published every definition below the mark before it wrote the mark.
            wanted, definitions = lane.wanted, (DEFINITIONS, lane.partition)
            lane.clearing = (wanted, (await self._log.bounds([definitions]))[definitions][1])
        offset, end = lane.clearing
        if self._definitions_read(lane.partition) < end:
            return False
        lane.cleared_offset, lane.clearing = offset, None
        return lane.next_offset < min(lane.wanted, lane.cleared_offset)

    async def _check(self, lane: RawLane) -> bool:
        """Law 3 for the archive: go on only in the log whose records it holds, and only if that has what comes next."""
        generation = lane.generation
        begin, end = (await self._log.bounds([(EVENTS, lane.partition)]))[(EVENTS, lane.partition)]
        start = max(lane.next_offset, begin) if lane.is_fresh else lane.next_offset
        if not begin <= start <= end:
            self._halt(lane, gap_sentence(EVENTS, lane.partition, start, begin, end))
            return False
        present = frozenset(await self._store.present_raw(lane.partition, generation, start)) if lane.is_fresh else lane.skip
        last = await self._store.last_raw(lane.partition, generation, start)
        if last is not None and begin <= last.offset:
            chunk = await self._log.read(lane.partition, last.offset, last.offset + 1, 1)
            if not chunk.records and chunk.next_offset <= last.offset:
                return False  # nothing fetched yet: asked again in the next turn
            if not chunk.records or not _is_same(chunk.records[0], last):
                self._halt(lane, not_the_same_log(lane.partition, last.offset))
                return False
        if lane.generation != generation:
            return False  # a mark of an adopted log came in meanwhile: that one is to be checked
        lane.next_offset, lane.skip, lane.is_checked = start, present, True
        lane.archived_offset = max(lane.archived_offset, start)
        return True

    def _halt(self, lane: RawLane, sentence: str) -> None:
        lane.halted = sentence
        log.critical("%s", sentence)

    async def _read(self, lane: RawLane, gathered: Gathered) -> None:
        end, before = min(lane.wanted, lane.cleared_offset), (lane.generation, lane.next_offset)
        try:
            chunk = await self._log.read(lane.partition, lane.next_offset, end, READ_RECORDS)
        except LostLog:
            begin, last = (await self._log.bounds([(EVENTS, lane.partition)]))[(EVENTS, lane.partition)]
            self._halt(lane, gap_sentence(EVENTS, lane.partition, lane.next_offset, begin, last))
            return
        self.turns += 1
        await asyncio.sleep(0)  # what was fetched before is handed out without a pause: let the worker's other tasks have their turn
        # A mark of an adopted log may have come in meanwhile: what was read belongs to the log before.
        if (lane.generation, lane.next_offset) == before and chunk.next_offset > lane.next_offset:
            gathered.add(lane, chunk)
            lane.next_offset, lane.is_fresh = chunk.next_offset, False

    async def _write(self, insert: Callable[[], Awaitable[None]] | None, reached: Reached, before: asyncio.Task[None] | None) -> None:
        """In this order, with what a crash between costs:

        1. the rows. A crash before their progress: they are read back on assignment and skipped (`resume.py`), and so are those of the
           write before, whose progress may still be under way;
        2. the progress row of the write before, which has been under way beside these rows: progress never passes a write that failed;
        3. the progress row, while the next rows may be inserted. A crash after it costs nothing: it is what the next owner starts from.
        """
        try:
            if insert is not None:
                await self._patience.insist(insert)
            if before is not None:
                await before
        finally:
            self._answered.set()
        rows = [(EVENTS, lane.partition, generation, offset) for lane, (generation, offset) in reached.items()]
        await self._patience.insist(lambda: self._store.insert(PROGRESS, columns_of(rows, PROGRESS)))
        for lane, (generation, offset) in reached.items():
            if lane.generation == generation:
                lane.archived_offset = max(lane.archived_offset, offset)


def _is_same(one: RawRecord, other: RawRecord) -> bool:
    return (one.key, one.value, one.timestamp_ms) == (other.key, other.value, other.timestamp_ms)
