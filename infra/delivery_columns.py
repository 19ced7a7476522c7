"""From aiokafka's fetches to the columns of batches without an object a record.

aiokafka's fast reader is iterated and each record's fields are taken from it at once: its record never lives longer than one step of one
loop. Framing the bytes with numpy was measured beside it and is slower: cutting keys and values out of the bytes by Python slices costs
more than all of that reader, which also checks the structure of every record. `python -m tests.benchmarks.fetching` shows what is left.

What a reader of committed records must do besides is here as aiokafka does it (`PartitionRecords._unpack_records`, pinned in
`infra/delivery_overrides.py`), and `tests/core/test_delivery_columns.py` holds both against each other: checksums, aborted transactions,
markers, holes, a start in the middle of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException

from infra.delivery_headers import MendingBatch
from topics.batch import Batch, Headers, TopicPartition

MAX_RECORDS: Final = 20_000
"""A batch's cap. Below a few thousand the fixed cost per batch shows (facts/performance.md: 1.6 µs an event at 100,
0.6 at 20,000); above it nothing is gained and the app's reaction time to a revoke grows."""

LOG_APPEND_TIME: Final = 1
"""A record batch's type of time where the broker set it: its one time counts for all its records."""

NO_HEADERS: Final[Headers] = ()
"""Shared by all records that have none."""


class Columns:
    """The columns of one batch while records are read into it; `next_offset` is the position behind what was read."""

    __slots__ = ("_headers", "_runs", "_stamp_runs", "keys", "next_offset", "timestamps_ms", "values")

    def __init__(self, position: int) -> None:
        self.next_offset = position
        self.keys: list[bytes | None] = []
        self.values: list[bytes | None] = []
        self.timestamps_ms: list[int] = []
        self._headers: dict[int, Headers] = {}
        self._runs: list[range] = []
        self._stamp_runs: list[tuple[int, int]] | None = []

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, records: Iterable[Any], stamp_ms: int | None = None) -> int:
        """Take what lies at or above the position; `stamp_ms` is the time of all of them, None where each has its own.

        Returns how many records it was given. Whatever reading them raises, what came before is taken, once, and may be read on behind.
        """
        begin = expected = self.next_offset
        before, passed, own_time = len(self.keys), 0, stamp_ms is None
        add_key, add_value, add_stamp = self.keys.append, self.values.append, self.timestamps_ms.append
        try:
            for record in records:
                offset = record.offset
                if offset < expected:
                    passed += 1
                    continue
                if offset > expected:
                    self._ran(begin, expected)
                    begin = expected = offset
                if record.headers:
                    self._headers[len(self.keys)] = record.headers
                if own_time:
                    add_stamp(record.timestamp)
                add_key(record.key)
                add_value(record.value)
                expected += 1
        finally:
            self._ran(begin, expected)
            self.next_offset = expected
            self._stamped(before, stamp_ms)
        return len(self.keys) - before + passed

    def _ran(self, begin: int, end: int) -> None:
        """Records of all offsets from `begin` to `end` (exclusive) were taken."""
        if begin == end:
            return
        if self._runs and self._runs[-1].stop == begin:
            begin = self._runs.pop().start
        self._runs.append(range(begin, end))

    def _stamped(self, before: int, stamp_ms: int | None) -> None:
        if stamp_ms is None:
            self._stamp_runs = None  # a time each: whoever wants runs of them counts
            return
        self.timestamps_ms += [stamp_ms] * (len(self.keys) - before)
        if self._stamp_runs is not None and len(self.keys) > before:
            if self._stamp_runs and self._stamp_runs[-1][1] == stamp_ms:
                self._stamp_runs.pop()
            self._stamp_runs.append((len(self.keys), stamp_ms))

    def offsets(self) -> Sequence[int]:
        """A range where there is no hole, else a list."""
        if len(self._runs) == 1:
            return self._runs[0]
        return list(chain.from_iterable(self._runs))

    def batch(self, tp: TopicPartition, epoch: int, start_offset: int, next_offset: int) -> Batch:
        """The finished batch; the columns are its own from here on."""
        headers = [NO_HEADERS] * len(self.keys)
        for at, found in self._headers.items():
            headers[at] = found
        return Batch(
            topic=tp[0],
            partition=tp[1],
            epoch=epoch,
            start_offset=start_offset,
            offsets=self.offsets(),
            timestamps_ms=self.timestamps_ms,
            keys=self.keys,
            values=self.values,
            headers=headers,
            next_offset=next_offset,
            stamp_runs=self._stamp_runs,
            headed_at=tuple(self._headers),
        )


class ColumnRecords(PartitionRecords):
    """aiokafka's reader of one fetch of one partition; its "records" are whole `Columns` of at most `max_records` records."""

    max_records = MAX_RECORDS
    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Columns]:
        """As the original: the position is moved before each yield, and at the end behind what holds no record for us."""
        columns = Columns(self.next_fetch_offset)
        for batch in self._committed():
            columns.next_offset = self.next_fetch_offset
            records, stamp_ms = _opened(batch)
            while True:
                room = self.max_records - len(columns)
                try:
                    given = columns.read(islice(records, room), stamp_ms)
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
            self.next_fetch_offset = max(columns.next_offset, batch.next_offset)
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
