"""From aiokafka's fetches to the columns of batches without an object a record.

A fetched answer is framed as a whole by compiled code (`infra/delivery_frames.py`): where each key and value lies in its bytes. A batch's keys
and values are spans of those bytes, so nothing is copied and no record becomes an object before somebody asks for it. Batches that have no
frame (older formats, bytes that are no row of whole records) are read by aiokafka's reader, with its words for what it refuses.
`python -m tests.benchmarks.fetching` shows what is left.

What a reader of committed records must do besides is here as aiokafka does it (`PartitionRecords._unpack_records`, pinned in
`infra/delivery_overrides.py`), and `tests/core/test_delivery_columns.py` holds both against each other: checksums, aborted transactions,
markers, holes, a start in the middle of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

import numpy as np
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException

from infra.delivery_frames import KEY, KEY_LENGTH, OFFSET, ROWS, STAMP, VALUE, VALUE_LENGTH, Cells, Framed, Frames, Part, framed_lists, unpacked
from infra.delivery_headers import MendingBatch, MendingRecords
from topics.batch import Batch, Headers, TopicPartition
from topics.spans import Spans

MAX_RECORDS: Final = 20_000
"""A batch's cap. Below a few thousand the fixed cost per batch shows (facts/performance.md: 1.6 µs an event at 100,
0.6 at 20,000); above it nothing is gained and the app's reaction time to a revoke grows."""

LOG_APPEND_TIME: Final = 1
"""A record batch's type of time where the broker set it: its one time counts for all its records."""

NO_HEADERS: Final[Headers] = ()
"""Shared by all records that have none."""


class Columns:
    """The columns of one batch while records are read into it; `next_offset` is the position behind what was read."""

    __slots__ = ("_headers", "_parts", "_stamp_runs", "next_offset", "timestamps_ms")

    def __init__(self, position: int) -> None:
        self.next_offset = position
        self.timestamps_ms: list[int] = []
        self._parts: list[Part] = []
        self._headers: dict[int, Headers] = {}
        self._stamp_runs: list[tuple[int, int]] | None = []

    def __len__(self) -> int:
        return len(self.timestamps_ms)

    def take(self, framed: Framed, most: int, stamp_ms: int | None) -> int:
        """Take what lies at or above the position, at most so many; `stamp_ms` is the time of all of them, None where each has its own.

        Returns how many that were.
        """
        begin, end, behind = framed.begin, framed.end, framed.highest + 1
        if framed.lowest < self.next_offset:
            begin += int(np.searchsorted(framed.frames[OFFSET, begin:end], self.next_offset))
        if end - begin > most:
            end = begin + most
            behind = int(framed.frames[OFFSET, end - 1]) + 1
        if begin == end:
            return 0
        before = len(self)
        if framed.headed:
            self._headers |= {before + column - begin: headers for column, headers in framed.headers(begin, end)}
        self._stamped(framed.frames[STAMP, begin:end].tolist() if stamp_ms is None else [stamp_ms] * (end - begin), stamp_ms)
        self._add(framed, begin, end)
        self.next_offset = behind
        return end - begin

    def _add(self, part: Part, begin: int, end: int) -> None:
        last = self._parts[-1] if self._parts else None
        if last is not None and last.frames is part.frames and last.end == begin:
            last.end = end
        else:
            self._parts.append(Part(part.data, part.frames, begin, end))

    def read(self, records: Iterable[Any], stamp_ms: int | None = None) -> int:
        """As `take`, of a reader's records; whatever reading them raises, what came before is taken, once, and may be read on behind.

        Returns how many records it was given.
        """
        before, passed = len(self), 0
        offsets, stamps, keys, values = list[int](), list[int](), list[bytes | None](), list[bytes | None]()
        try:
            for record in records:
                offset = record.offset
                if offset < self.next_offset:
                    passed += 1
                    continue
                if record.headers:
                    self._headers[before + len(keys)] = record.headers
                stamps.append(record.timestamp if stamp_ms is None else stamp_ms)
                keys.append(record.key)
                values.append(record.value)
                offsets.append(offset)
                self.next_offset = offset + 1
        finally:
            self._stamped(stamps, stamp_ms)
            if offsets:
                self._parts.append(framed_lists(offsets, keys, values))
        return len(offsets) + passed

    def _stamped(self, stamps_ms: list[int], stamp_ms: int | None) -> None:
        self.timestamps_ms += stamps_ms
        if stamp_ms is None:
            self._stamp_runs = None  # a time each: whoever wants runs of them counts
        elif self._stamp_runs is not None and stamps_ms:
            if self._stamp_runs and self._stamp_runs[-1][1] == stamp_ms:
                self._stamp_runs.pop()
            self._stamp_runs.append((len(self), stamp_ms))

    def _joined(self) -> tuple[bytes, Cells]:
        """One buffer and one table of frames of all parts. What came in one answer, unpacked, is so already."""
        if not self._parts:
            return b"", np.empty((ROWS, 0), np.int64)
        first = self._parts[0]
        if len(self._parts) == 1:
            return first.data, first.frames[:, first.begin : first.end]
        places: dict[int, int] = {}
        pieces: list[bytes] = []
        size = 0
        for part in self._parts:
            if id(part.data) not in places:
                places[id(part.data)] = size
                pieces.append(part.data)
                size += len(part.data)
        frames = np.concatenate([part.frames[:, part.begin : part.end] for part in self._parts], axis=1)
        shifts = np.repeat([places[id(part.data)] for part in self._parts], [part.end - part.begin for part in self._parts])
        frames[KEY] += shifts
        frames[VALUE] += shifts
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), frames

    def batch(self, tp: TopicPartition, epoch: int, start_offset: int, next_offset: int) -> Batch:
        """The finished batch; the columns are its own from here on."""
        data, frames = self._joined()
        headers = [NO_HEADERS] * len(self)
        for at, found in self._headers.items():
            headers[at] = found
        return Batch(
            topic=tp[0],
            partition=tp[1],
            epoch=epoch,
            start_offset=start_offset,
            offsets=_offsets(frames[OFFSET]),
            timestamps_ms=self.timestamps_ms,
            keys=Spans(data, frames[KEY], frames[KEY_LENGTH]),
            values=Spans(data, frames[VALUE], frames[VALUE_LENGTH]),
            headers=headers,
            next_offset=next_offset,
            stamp_runs=self._stamp_runs,
            headed_at=tuple(self._headers),
        )


def _offsets(rising: Any) -> Sequence[int]:
    """A range where there is no hole, else a list."""
    count = len(rising)
    if count and (first := int(rising[0])) + count - 1 == rising[-1]:
        return range(first, first + count)
    found: list[int] = rising.tolist()
    return found


class ColumnRecords(PartitionRecords):
    """aiokafka's reader of one fetch of one partition; its "records" are whole `Columns` of at most `max_records` records."""

    max_records = MAX_RECORDS
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Columns]:
        """As the original: the position is moved before each yield, and at the end behind what holds no record for us."""
        columns = Columns(self.next_fetch_offset)
        frames = Frames(self._records.answer(), self._records.begin()) if isinstance(self._records, MendingRecords) else None
        for batch in self._committed():
            columns.next_offset = self.next_fetch_offset
            framed, plain = _framed(frames, batch), batch.plain if isinstance(batch, MendingBatch) else batch
            records, stamp_ms = _opened(batch)
            while True:
                room = self.max_records - len(columns)
                try:
                    given = columns.read(islice(records, room), stamp_ms) if framed is None else columns.take(framed, room, stamp_ms)
                except UnicodeDecodeError:
                    records = batch.mended()  # from the beginning; what was taken lies below the position now
                    continue
                self.next_fetch_offset = columns.next_offset
                if len(columns) >= self.max_records:
                    yield columns
                    columns = Columns(self.next_fetch_offset)
                elif given < room:
                    break
            # What compaction left out at the end of a batch is passed too.
            self.next_fetch_offset = max(columns.next_offset, plain.next_offset)
        if len(columns):
            yield columns

    def _committed(self) -> Iterator[Any]:
        """The batches with records for us; behind all others the position is moved. Raises CorruptRecordException."""
        while self._records.has_next():
            given = self._records.next_batch()
            batch = given.plain if isinstance(given, MendingBatch) else given  # asked directly: a producer's batch may hold one record
            if self._check_crcs and not given.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if self._isolation_level == READ_COMMITTED and batch.producer_id is not None:
                self._consume_aborted_up_to(batch.base_offset)
                if batch.is_control_batch and self._contains_abort_marker(batch):
                    self._aborted_producers.discard(batch.producer_id)
                if batch.is_transactional and batch.producer_id in self._aborted_producers:
                    self.next_fetch_offset = batch.next_offset
                    continue
            if batch.is_control_batch:
                self.next_fetch_offset = batch.next_offset
                continue
            yield given


def _framed(frames: Frames | None, batch: Any) -> Framed | None:
    """Where its records lie; None where aiokafka must read them."""
    if frames is None or not isinstance(batch, MendingBatch):
        return None
    return unpacked(batch.plain, batch.data) if batch.plain.compression_type else frames.of(batch.begin)


def _opened(batch: Any) -> tuple[Iterator[Any], int | None]:
    """A batch's records by aiokafka's fast reader, and the one time of all of them or None. Formats before 2 have a time a record."""
    if not isinstance(batch, MendingBatch):
        return chain(batch), None
    # `chain`, since aiokafka's batch can be asked for its iterator only once, and a cut asks again.
    return chain(batch.plain), batch.plain.max_timestamp if batch.plain.timestamp_type == LOG_APPEND_TIME else None


def in_columns(fetcher: Any, tp: Any) -> None:
    """Let what was fetched of a partition, and not read yet, be read in columns."""
    fetched = fetcher._records.get(tp)
    if type(fetched) is FetchResult and type(fetched._partition_records) is PartitionRecords:
        plain = fetched._partition_records
        fetched._partition_records = ColumnRecords(
            plain._tp,
            plain._records,
            plain._aborted_transactions,
            plain.next_fetch_offset,
            None,
            None,
            plain._check_crcs,
            plain._isolation_level,
        )
        # Its iterator was never begun and holds it, and with it the whole answer: until the collector comes, which is seldom.
        plain._records_iterator = None
