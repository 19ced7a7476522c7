"""Raw rows of `usage.events`: the record's bytes unchanged and, beside them, what the meter's own pure functions read in them (law 19).

Pure: a row is a function of the record, its coordinate and the definitions in force at its offset. Nothing in a record can make a row
that ClickHouse refuses (`bounds.py`), so one event never blocks its partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from sinks.clickhouse.bounds import clamp_ms, clamp_s, clamp_us, decimal38, text, uint32, uint64
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.plain_rows import PlainRows, Stretch
from sinks.clickhouse.raw_block import Piece, piece_of
from sinks.clickhouse.tables import RAW, Columns, columns_of
from topics.amendments import AMEND_TYPE, Difference, read_amendment
from topics.batch import Batch, Headers
from topics.definitions import Definitions
from topics.event import CONTROL_PREFIX, MAX_EVENT_BYTES, Event, Rejection, parse_event, size_bytes
from topics.instants import US_PER_S, parse_us
from topics.judging import Posting, scaled_quantity, selected
from topics.meters import Meter
from topics.origin import origin_of
from topics.quantity import ONE
from topics.spans import Spans
from topics.windows import Window, grid_start

I64 = NDArray[np.int64]
USAGE: Final = b"usage"
CONTROL: Final = b"control"
UNREADABLE: Final = b"unreadable"
_MEMO_LIMIT: Final = 50_000
"""Entries of a memo before it is thrown away: some 10 MB, and far more than the minutes, windows and quantities of a busy hour."""
FEW: Final = 16
"""Up to so many records the reference, 15 µs each, is faster than columns, which cost as much however few stand in them."""


class RawRecord(NamedTuple):
    """One record of `usage.events` as it lies in the log."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class RawRecords(Sequence[RawRecord]):
    """Records in the order of their offsets, as columns: none is an object before somebody asks for it. A slice shares them."""

    __slots__ = ("headers", "keys", "offsets", "stamps_ms", "values")

    def __init__(self, offsets: I64, stamps_ms: I64, keys: Spans, values: Spans, headers: Sequence[Headers]) -> None:
        self.offsets, self.stamps_ms, self.keys, self.values, self.headers = offsets, stamps_ms, keys, values, headers

    @classmethod
    def of(cls, records: Sequence[RawRecord]) -> RawRecords:
        """Of records; what is columns already is returned as it is."""
        if isinstance(records, RawRecords):
            return records
        offsets, stamps, keys, values, headers = zip(*records, strict=True) if records else ((), (), (), (), ())
        return cls(np.array(offsets, np.int64), np.array(stamps, np.int64), Spans.of(keys), Spans.of(values), headers)

    @classmethod
    def of_batch(cls, batch: Batch) -> RawRecords:
        """Of what delivery reads."""
        offsets, stamps = np.array(batch.offsets, np.int64), np.array(batch.timestamps_ms, np.int64)
        return cls(offsets, stamps, Spans.of(batch.keys), Spans.of(batch.values), batch.headers)

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, at: int) -> RawRecord: ...

    @overload
    def __getitem__(self, at: slice) -> RawRecords: ...

    def __getitem__(self, at: int | slice) -> RawRecord | RawRecords:
        if isinstance(at, slice):
            return RawRecords(self.offsets[at], self.stamps_ms[at], self.keys[at], self.values[at], self.headers[at])
        return RawRecord(int(self.offsets[at]), int(self.stamps_ms[at]), self.keys[at], self.values[at], tuple(self.headers[at]))

    def __iter__(self) -> Iterator[RawRecord]:
        return map(RawRecord, self.offsets.tolist(), self.stamps_ms.tolist(), self.keys, self.values, map(tuple, self.headers))

    def headed(self) -> I64:
        """Positions of those with headers."""
        return np.flatnonzero(np.fromiter(map(bool, self.headers), np.bool_, len(self)))


class _Reading(NamedTuple):
    kind: bytes
    event: Event | None
    received_at_ms: int
    occurred_at_us: int
    postings: tuple[Posting | Difference, ...]


def _runs(plain: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where more than a few neighbours are plain: from, to."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], plain, [False]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    long = ends - begins > FEW
    return list(zip(begins[long].tolist(), ends[long].tolist(), strict=True))


def _corrected(event: Event) -> tuple[Difference, ...]:
    """What an amendment posts, whether it acts or not: one that was refused has its verdict, and views count nothing of it."""
    reading = read_amendment(event) if event.type == AMEND_TYPE else ""
    return () if isinstance(reading, str) else reading.postings


class RawRows:
    """Builds the raw rows of one partition and generation, in offset order."""

    def __init__(self, partition: int, generation: int, in_force: InForce) -> None:
        self._partition = uint32(partition)
        self._generation = uint32(generation)
        self._in_force = in_force
        self._plain = PlainRows()
        self._version = -1
        self._windows: dict[tuple[str, str, int], Window] = {}
        self._minutes: dict[str, int] = {}
        self._decimals: dict[int, Decimal] = {ONE: Decimal(1)}

    def columns(self, records: Iterable[RawRecord]) -> Columns:
        """The records' rows, as columns of `tables.RAW`: one by one, which is what says what a row is."""
        return columns_of([self._row(record) for record in records], RAW)

    def written(self, records: Sequence[RawRecord]) -> list[Piece]:
        """The same rows as they are sent, plain ones by the quick way."""
        found, at, columns = list[Piece](), 0, RawRecords.of(records)
        while at < len(columns):
            definitions = self._in_force.before(int(columns.offsets[at]))
            change = self._in_force.next_change
            # A definition acts on what lies behind its own record.
            end = len(columns) if change is None else max(at + 1, int(np.searchsorted(columns.offsets, change, "right")))
            found += self._stretch(columns[at:end], definitions)
            at = end
        return found

    def _stretch(self, records: RawRecords, definitions: Definitions) -> Iterator[Piece]:
        """Runs of plain records as columns; between them, and where a run is short, one by one."""
        if len(records) <= FEW:
            yield piece_of(self.columns(records))
            return
        self._plain.follow(definitions)
        stretch = Stretch(records.offsets, records.stamps_ms, records.keys, records.values, records.headed())
        self._plain.read(stretch)
        behind = 0
        for begin, end in _runs(stretch.plain):
            if behind < begin:
                yield piece_of(self.columns(records[behind:begin]))
            sizes = records.values.lengths[begin:end]
            yield Piece(stretch.cells(begin, end, self._partition, self._generation), end - begin, int(sizes.sum()))
            behind = end
        if behind < len(records):
            yield piece_of(self.columns(records[behind:]))

    def _row(self, record: RawRecord) -> tuple[Any, ...]:
        reading = self._read(record)
        event = reading.event
        postings = reading.postings
        return (
            record.key or b"",
            clamp_us(reading.occurred_at_us),
            self._partition,
            self._generation,
            uint64(record.offset),
            clamp_ms(record.timestamp_ms),
            clamp_ms(reading.received_at_ms),
            record.key is None,
            record.value or b"",
            record.value is None,
            [text(name) for name, _ in record.headers],
            [data for _, data in record.headers],
            reading.kind,
            text(event.id) if event else b"",
            text(event.source) if event else b"",
            text(event.type) if event else b"",
            [text(window.meter) for window, _ in postings],
            [self._decimal(scaled) for _, scaled in postings],
            [clamp_s(window.start_s) for window, _ in postings],
            [clamp_s(window.end_s) for window, _ in postings],
        )

    def _read(self, record: RawRecord) -> _Reading:
        received_at_ms = origin_of(record.headers, record.timestamp_ms).received_at_ms
        # Read exactly as far as the meter reads (topics/judging.py): what is too large is not parsed by either.
        if size_bytes(record.key, record.value, record.headers) > MAX_EVENT_BYTES:
            return _Reading(UNREADABLE, None, received_at_ms, 0, ())
        found = parse_event(record.value)
        event = found.event if isinstance(found, Rejection) else found
        if isinstance(found, Rejection) or event is None:
            return _Reading(UNREADABLE, event, received_at_ms, 0, ())
        occurred_at_us = received_at_ms * 1000 if event.time is None else self._instant(event.time)
        if event.type.startswith(CONTROL_PREFIX):
            return _Reading(CONTROL, event, received_at_ms, occurred_at_us or 0, _corrected(event))
        if event.time is None:
            # A customer who lives by a test clock receives its events by it (topics/judging.py).
            occurred_at_us = self._in_force.before(record.offset).time_of(event.subject, received_at_ms, 0, 0).received_at_ms * 1000
        if occurred_at_us is None or record.key != event.subject.encode("utf-8", "surrogatepass"):
            return _Reading(USAGE, event, received_at_ms, occurred_at_us or 0, ())
        return _Reading(USAGE, event, received_at_ms, occurred_at_us, self._postings(event, occurred_at_us, record.offset))

    def _postings(self, event: Event, occurred_at_us: int, offset: int) -> tuple[Posting, ...]:
        """As `topics.judging.postings_of`, with windows remembered; no posting at all where the event is rejected whole."""
        definitions = self._in_force.before(offset)
        if definitions.version != self._version:
            self._version = definitions.version
            self._windows.clear()
        instant_s = occurred_at_us // US_PER_S
        postings: list[Posting] = []
        for meter in selected(event, instant_s, definitions):
            scaled = scaled_quantity(event, meter)
            if isinstance(scaled, Rejection):
                return ()
            postings.append(Posting(self._window(event.subject, meter, instant_s, definitions), scaled))
        return tuple(postings)

    def _window(self, customer: str, meter: Meter, instant_s: int, definitions: Definitions) -> Window:
        """`window_of`, remembered by grid cell; a cell that is cut holds several windows, so what is remembered must hold the instant."""
        key = (customer, meter.slug, grid_start(instant_s, meter.window_s))
        known = self._windows.get(key)
        if known is not None and known.start_s <= instant_s < known.end_s:
            return known
        if len(self._windows) > _MEMO_LIMIT:
            self._windows.clear()
        window = definitions.window_of(customer, meter, instant_s)
        self._windows[key] = window
        return window

    def _instant(self, time: str) -> int | None:
        """`parse_us`, with the minute remembered for the plain form `YYYY-MM-DDTHH:MM:SS[.f]Z` (a tenth of the cost)."""
        if not (20 <= len(time) <= 27 and time[-1] == "Z" and time.isascii()):
            return parse_us(time)
        seconds, dot, fraction = time[17:-1].partition(".")
        if len(seconds) != 2 or not seconds.isdigit() or seconds > "59" or bool(dot) != fraction.isdigit():
            return parse_us(time)
        minute = time[:17]
        base = self._minutes.get(minute)
        if base is None:
            base = parse_us(minute + "00Z")
            if base is None:
                return None
            if len(self._minutes) > _MEMO_LIMIT:
                self._minutes.clear()
            self._minutes[minute] = base
        return base + int(seconds) * US_PER_S + int((fraction + "000000")[:6])

    def _decimal(self, scaled: int) -> Decimal:
        found = self._decimals.get(scaled)
        if found is None:
            if len(self._decimals) > _MEMO_LIMIT:
                self._decimals.clear()
            found = self._decimals[scaled] = decimal38(scaled)
        return found
