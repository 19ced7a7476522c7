"""The quick way from a plain event to its row: the same row as `rows.RawRows` builds slowly, for four fifths less time.

Plain is what nearly every event is: ASCII JSON without headers, its key the subject, a UTC time, a type whose meters have had one version
from the beginning, quantities that are whole numbers. Everything else is left to the reference; `tests/core/test_archive_plain_rows.py`
holds both against each other. Caches only, which never decide what an event means. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

import msgspec

from sinks.clickhouse.bounds import MAX_S, MIN_S, clamp_s, decimal38, text
from topics.definitions import Definitions
from topics.event import CONTROL_PREFIX, MAX_DEPTH, Event
from topics.instants import US_PER_S, parse_us
from topics.meters import BEGINNING_S, COUNT, Meter
from topics.quantity import LIMIT, ONE, Digits

_decode = msgspec.json.Decoder(Event, float_hook=Digits).decode
_MAX_PLAIN_BYTES: Final = 64 * 1024
"""A plain record is far smaller; larger ones take the slow way, where sizes are counted exactly."""
_MAX_MS: Final = MAX_S * 1000
_MIN_US: Final = MIN_S * US_PER_S
_MAX_US: Final = MAX_S * US_PER_S
_SHORTEST: Final = 16
_LONGEST: Final = 8_192
"""Records that are looked at in one go: all of a read where all are plain, few after one that is not, so that looking ahead is not for nothing."""
_MEMO_LIMIT: Final = 1 << 16
"""Entries of a memo before it is thrown away: some 20 MB for the largest, and far more than the seconds, windows and quantities of a busy hour."""


class Span(NamedTuple):
    """What the windows of one customer and all meters of a plan have in common, and the cells that rows within it share."""

    start_us: int
    end_us: int
    starts: list[int]
    ends: list[int]


_NOWHERE: Final = Span(0, 0, [], [])
"""Holds no instant."""


class Plan:
    """The meters of an event type where each has had one version from the beginning and takes all data; `meters` is empty otherwise."""

    __slots__ = ("amount", "amounts", "meters", "slugs", "spans", "type")

    def __init__(self, event_type: str, definitions: Definitions) -> None:
        versions = [definitions.meters[slug] for slug in definitions.by_type.get(event_type, ())]
        steady = all(len(found) == 1 and found[0].valid_from_s == BEGINNING_S and not found[0].removed for found in versions)
        plain = steady and not event_type.startswith(CONTROL_PREFIX) and not any(found[0].meter.where for found in versions)
        self.meters: tuple[Meter, ...] = tuple(found[0].meter for found in versions) if plain else ()
        self.amounts = tuple(meter.value for meter in self.meters)
        self.amount = self.amounts[0] if len(self.amounts) == 1 and self.amounts[0] != COUNT else None
        """Where the only meter's quantity stands, so that one look into the memo finds it; None where more must be looked at."""
        self.slugs = [text(meter.slug) for meter in self.meters]
        self.type = text(event_type)
        self.spans: dict[bytes, Span] = {}


class PlainColumns:
    """The cells in which plain rows differ, by the columns' names in `tables.RAW`; all others follow from these or never change."""

    NAMES: Final = (
        "customer", "kafka_offset", "log_time", "value",
        "occurred_at", "event_id", "source", "type", "meters", "quantities", "window_starts", "window_ends",
    )  # fmt: skip
    """First what the record says by itself, then what is read in it."""

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {name: [] for name in self.NAMES}

    def __len__(self) -> int:
        return len(self.lists["customer"])

    def extend(self, given: tuple[Sequence[Any], ...], read: list[tuple[Any, ...]]) -> None:
        """As many rows as were read: the columns given (longer ones are cut), then cells in the order of NAMES."""
        count = len(read)
        for found, cells in zip(self.lists.values(), chain(given, zip(*read, strict=True)), strict=False):
            found += cells if len(cells) == count else cells[:count]


def _readable(records: list[Any], until_offset: int) -> tuple[Sequence[Any], ...]:
    """Offsets, timestamps, keys and values of the records before the first that is not worth reading here, as it looks from outside."""
    if not records:
        return ((), (), (), ())
    offsets, stamps, keys, values, headers = zip(*records, strict=True)
    if not (
        all(values)
        and all(keys)
        and not any(headers)
        and max(offsets) <= until_offset
        and 0 <= min(stamps) <= max(stamps) <= _MAX_MS
        and all(map(bytes.isascii, values))
        and max(map(len, values)) <= _MAX_PLAIN_BYTES
        and max(map(bytes.count, values, repeat(b"{"))) + max(map(bytes.count, values, repeat(b"["))) <= MAX_DEPTH
    ):
        count = next((at for at, record in enumerate(records) if not _is_readable(record, until_offset)), len(records))
        return offsets[:count], stamps[:count], keys[:count], values[:count]
    return offsets, stamps, keys, values


def _is_readable(record: Any, until_offset: int) -> bool:
    offset, stamp_ms, key, value, headers = record
    if headers or not key or not value or offset > until_offset or not 0 <= stamp_ms <= _MAX_MS:
        return False
    return len(value) <= _MAX_PLAIN_BYTES and value.isascii() and value.count(b"{") + value.count(b"[") <= MAX_DEPTH


class PlainRows:
    """Reads plain events of one partition, as rows that `PlainColumns` takes."""

    def __init__(self) -> None:
        self._definitions = Definitions()
        self._version = -1
        self._stretch = _LONGEST
        self._plans: dict[str, Plan] = {}
        self._seconds: dict[str, int] = {}
        self._fractions: dict[str, int] = {}
        self._quantities: dict[int, list[Decimal]] = {}
        self._sources: dict[str, bytes] = {}

    def follow(self, definitions: Definitions) -> None:
        """These are in force from here on."""
        if definitions is not self._definitions or definitions.version != self._version:
            self._definitions, self._version = definitions, definitions.version
            self._plans.clear()

    def read(self, records: list[Any], at: int, until_offset: int, columns: PlainColumns) -> int:
        """Take plain records from position `at` on, a stretch at most; the position of the first that was not taken.

        Where that is `at` itself, the record there is not plain, or lies past `until_offset`.
        """
        plans, seconds, fractions, quantities, sources = (
            self._plans.get, self._seconds.get, self._fractions.get, self._quantities.get, self._sources.get,
        )  # fmt: skip
        offsets, stamps, keys, values = _readable(records[at : at + self._stretch], until_offset)
        rows: list[tuple[Any, ...]] = []
        add, decode = rows.append, _decode
        for key, value in zip(keys, values, strict=True):
            try:
                event = decode(value)
            except (msgspec.DecodeError, RecursionError):
                break
            time, plan = event.time, plans(event.type) or self._plan(event.type)
            if not plan.meters or event.specversion != "1.0" or time is None or not (event.id and event.source):
                break
            if key != event.subject.encode():
                break
            moment_us, fraction_us = seconds(time[:19]), fractions(time[19:])
            moment_us = self._instant_us(time) if moment_us is None or fraction_us is None else moment_us + fraction_us
            if moment_us is None or not _MIN_US <= moment_us <= _MAX_US:
                break
            data = event.data
            amount = data.get(plan.amount) if type(data) is dict else None
            amounts = quantities(amount) if type(amount) is int else None
            if amounts is None and (amounts := self._amounts(plan, data)) is None:
                break
            start_us, end_us, starts, ends = plan.spans.get(key, _NOWHERE)
            if not start_us <= moment_us < end_us:
                _, _, starts, ends = self._span(plan, key, event.subject, moment_us)
            add((moment_us, event.id.encode(), sources(event.source) or self._source(event.source), plan.type, plan.slugs, amounts, starts, ends))
        columns.extend((keys, offsets, stamps, values), rows)
        self._stretch = min(2 * self._stretch, _LONGEST) if rows else _SHORTEST
        return at + len(rows)

    def _source(self, source: str) -> bytes:
        if len(self._sources) >= _MEMO_LIMIT:
            self._sources.clear()
        found = self._sources[source] = source.encode()
        return found

    def _plan(self, event_type: str) -> Plan:
        if len(self._plans) >= _MEMO_LIMIT:
            self._plans.clear()
        plan = self._plans[event_type] = Plan(event_type, self._definitions)
        return plan

    def _span(self, plan: Plan, key: bytes, customer: str, moment_us: int) -> Span:
        if len(plan.spans) >= _MEMO_LIMIT:
            plan.spans.clear()
        windows = [self._definitions.window_of(customer, meter, moment_us // US_PER_S) for meter in plan.meters]
        start_us, end_us = max(window.start_s for window in windows) * US_PER_S, min(window.end_s for window in windows) * US_PER_S
        span = Span(start_us, end_us, [clamp_s(window.start_s) for window in windows], [clamp_s(window.end_s) for window in windows])
        plan.spans[key] = span
        return span

    def _amounts(self, plan: Plan, data: Any) -> list[Decimal] | None:
        """The quantity of each meter; None where one is no plain whole number, and the reference must read it."""
        found: list[Decimal] = []
        for name in plan.amounts:
            value = 1 if name == COUNT else data.get(name) if type(data) is dict else None
            if type(value) is not int or not 0 <= value <= LIMIT:
                return None
            found.append(self._quantities[value][0] if value in self._quantities else decimal38(value * ONE))
            if plan.amount == name:
                self._remember(value, found)
        return found

    def _remember(self, value: int, amounts: list[Decimal]) -> None:
        if len(self._quantities) >= _MEMO_LIMIT:
            self._quantities.clear()
        self._quantities[value] = amounts

    def _instant_us(self, time: str) -> int | None:
        """`2026-11-03T10:00:05[.123456]Z` by a memo of its second and of its fraction; None for any other form."""
        if not 20 <= len(time) <= 27 or time[-1] != "Z" or not time.isascii():
            return None
        fraction = time[20:-1]
        if len(time) > 20 and (time[19] != "." or not fraction.isdigit()):
            return None
        second = time[:19]
        moment_us = self._seconds.get(second)
        if moment_us is None:
            moment_us = parse_us(second + "Z")
            if moment_us is None:
                return None
            if len(self._seconds) >= _MEMO_LIMIT:
                self._seconds.clear()
            self._seconds[second] = moment_us
        if len(self._fractions) >= _MEMO_LIMIT:
            self._fractions.clear()
        fraction_us = self._fractions[time[19:]] = int((fraction or "0").ljust(6, "0"))
        return moment_us + fraction_us
