"""Raw rows of `usage.events`: the record's bytes unchanged and, beside them, what the meter's own pure functions read in them (law 19).

Pure: a row is a function of the record, its coordinate and the definitions in force at its offset. Nothing in a record can make a row
that ClickHouse refuses (`bounds.py`), so one event never blocks its partition.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple

from sinks.clickhouse.bounds import clamp_ms, clamp_s, clamp_us, decimal38, text, uint32, uint64
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.plain_rows import PlainColumns, PlainRows
from sinks.clickhouse.tables import RAW, Columns
from topics.amendments import AMEND_TYPE, Difference, read_amendment
from topics.batch import Headers
from topics.definitions import Definitions
from topics.event import CONTROL_PREFIX, MAX_EVENT_BYTES, Event, Rejection, parse_event, size_bytes
from topics.instants import US_PER_S, parse_us
from topics.judging import Posting, scaled_quantity, selected
from topics.meters import Meter
from topics.origin import origin_of
from topics.quantity import ONE
from topics.windows import Window, grid_start

USAGE: Final = b"usage"
CONTROL: Final = b"control"
UNREADABLE: Final = b"unreadable"
_MEMO_LIMIT: Final = 50_000
"""Entries of a memo before it is thrown away: some 10 MB, and far more than the minutes, windows and quantities of a busy hour."""


NEVER: Final = 2**63
"""Beyond every offset."""
_AT: Final = {name: at for at, name in enumerate(RAW.names)}


class RawRecord(NamedTuple):
    """One record of `usage.events` as it lies in the log."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class _Reading(NamedTuple):
    kind: bytes
    event: Event | None
    received_at_ms: int
    occurred_at_us: int
    postings: tuple[Posting | Difference, ...]


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

    def columns(self, records: list[RawRecord]) -> Columns:
        """The records' rows, as columns of `tables.RAW`. Rows may share the lists in their cells: they are read, never changed."""
        plain, odd = PlainColumns(), dict[int, tuple[Any, ...]]()
        at = 0
        while at < len(records):
            self._plain.follow(self._in_force.before(records[at].offset))
            change = self._in_force.next_change
            reached = self._plain.read(records, at, NEVER if change is None else change, plain)
            if reached == at:
                row = odd[at] = self._row(records[at])
                plain.extend((), [tuple(row[_AT[name]] for name in plain.NAMES)])
                reached += 1
            at = reached
        return self._completed(plain, odd)

    def _completed(self, plain: PlainColumns, odd: dict[int, tuple[Any, ...]]) -> Columns:
        """Beside the cells in which plain rows differ, those in which they are all alike; then what the odd rows have there."""
        count, nothing = len(plain), list[Any]()
        alike: dict[str, list[Any]] = {
            "kafka_partition": [self._partition] * count,
            "generation": [self._generation] * count,
            "received_at": plain.lists["log_time"].copy(),
            "key_is_null": [False] * count,
            "value_is_null": [False] * count,
            "header_names": [nothing] * count,
            "header_values": [nothing] * count,
            "kind": [USAGE] * count,
        }
        for at, row in odd.items():
            for name, found in alike.items():
                found[at] = row[_AT[name]]
        return [plain.lists.get(name) or alike.get(name, nothing) for name in RAW.names]

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
