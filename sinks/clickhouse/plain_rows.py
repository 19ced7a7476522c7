"""The quick way from plain events to their rows: the same rows as `rows.RawRows` builds one by one, by compiled functions over their bytes.

Plain is what nearly every event is: JSON with the fields of a CloudEvent without escapes, no headers, its key the subject, meters as they are in
force now, windows that no edge cuts. Everything else is left to the reference; `tests/core/test_archive_plain_rows.py` holds both against
each other. Caches only, which never decide what an event means. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sinks.clickhouse.bounds import MAX_S, MIN_S, text
from sinks.clickhouse.native import Cells, alike, arrays, numbers, strings_within
from topics.definitions import Definitions
from topics.instants import US_PER_MS, US_PER_S
from topics.meters import COUNT, Meter
from topics.numbering import Numbering
from topics.scan_amounts import amounts_of, ones
from topics.scan_times import UNSURE
from topics.scanning import HEADS, ID, NUMBER, SOURCE, SUBJECT, TEXT, TIME, TYPE, scan
from topics.shapes import Shape
from topics.spans import Spans

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_MAX_MS: Final = MAX_S * 1000
_MIN_US: Final = MIN_S * US_PER_S
_MAX_US: Final = MAX_S * US_PER_S
_MEMO_LIMIT: Final = 1 << 16
"""Cells of windows that are remembered before all are thrown away."""
_MAX_HELD_BYTES: Final = 1 << 24
"""Of names of customers, and of types, before they are numbered anew."""


class _Posted(NamedTuple):
    """What one meter takes of a stretch: of which events, as which of their postings, how much, in which windows."""

    meter: Meter
    at: I64
    rank: I64
    amounts: NDArray[np.uint64]
    starts_s: I64


class Stretch:
    """Events of one partition that are read with the same definitions in force, in columns; only where `plain` do they mean anything."""

    def __init__(self, offsets: I64, stamps_ms: I64, keys: Spans, values: Spans, headed: I64) -> None:
        """`headed`: positions of the records that have headers."""
        count = len(offsets)
        self.offsets, self.stamps_ms, self.keys, self.values = offsets, stamps_ms, keys, values
        self.heads = np.zeros((count, 2 * HEADS), np.int64)
        self.instants = np.full(count, UNSURE, np.int64)
        self.plain: Mask = np.zeros(count, np.bool_)
        self.counts = np.zeros(count, np.int64)
        self.posted: list[_Posted] = []
        self.headed = headed
        self._firsts = self.counts
        self._slug_bytes = b""
        self._of = np.zeros((4, 0), np.int64)
        self._amounts = ones(0)

    def head(self, field: int) -> tuple[I64, I64]:
        """Position and length of a field of each."""
        return np.ascontiguousarray(self.heads[:, 2 * field]), np.ascontiguousarray(self.heads[:, 2 * field + 1])

    def settle(self) -> None:
        """All that is plain is known: the postings of each event lie side by side from here on, in the order of their meters."""
        self.counts[~self.plain] = 0
        self._firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])
        total = int(self._firsts[-1])
        self._of, self._amounts = np.empty((4, total), np.int64), np.empty((total, 2), np.uint64)
        for meter, at, rank, amounts, starts_s in self.posted:
            kept = self.plain[at]
            places = self._firsts[at[kept]] + rank[kept]
            begin, length = self._slug(text(meter.slug))
            self._of[0][places], self._of[1][places] = begin, length
            self._of[2][places], self._of[3][places] = starts_s[kept], starts_s[kept] + meter.window_s
            self._amounts[places] = amounts[kept]

    def _slug(self, slug: bytes) -> tuple[int, int]:
        begin = len(self._slug_bytes)
        self._slug_bytes += slug
        return begin, len(slug)

    def cells(self, begin: int, end: int, partition: int, generation: int) -> list[Cells]:
        """The rows of the events from `begin` to `end`, all plain, in the order of `tables.RAW`."""
        count, first, last = end - begin, int(self._firsts[begin]), int(self._firsts[end])
        ends, nowhere = self._firsts[begin + 1 : end + 1] - first, np.zeros(count, np.int64)
        slugs, lengths, starts_s, ends_s = (np.ascontiguousarray(row[first:last]) for row in self._of)
        names = strings_within(np.frombuffer(self._slug_bytes, np.uint8), slugs, lengths)
        keys, values, stamps = self.keys[begin:end], self.values[begin:end], numbers(self.stamps_ms[begin:end])
        data = values.buffer

        def field(which: int) -> Cells:
            return strings_within(data, *(np.ascontiguousarray(self.heads[begin:end, 2 * which + part]) for part in (0, 1)))

        return [
            strings_within(keys.buffer, keys.starts, keys.lengths),
            numbers(self.instants[begin:end]),
            numbers(np.full(count, partition, np.uint32)),
            numbers(np.full(count, generation, np.uint32)),
            numbers(self.offsets[begin:end]),
            stamps,
            stamps,
            alike(b"\0", count),
            strings_within(data, values.starts, values.lengths),
            alike(b"\0", count),
            arrays(nowhere, ()),
            arrays(nowhere, (b"", b"")),
            alike(b"\5usage", count),
            field(ID),
            field(SOURCE),
            field(TYPE),
            arrays(ends, names),
            arrays(ends, numbers(self._amounts[first:last])),
            arrays(ends, numbers(starts_s)),
            arrays(ends, numbers(ends_s)),
        ]


class PlainRows:
    """Reads plain events of one partition."""

    def __init__(self) -> None:
        self._definitions = Definitions()
        self._version = -1
        self._key = hash(b"customers") & (1 << 64) - 1  # keyed anew by every process
        self._forget()

    def _forget(self) -> None:
        self._shape = Shape(self._definitions)
        self._types = Numbering(self._key)
        self._customers = Numbering(self._key)
        self._known: list[str] = []
        self._bound = np.zeros(0, np.bool_)
        """Of each customer whether a subscription of theirs may cut a window."""
        self._cut: dict[tuple[int, int, str], bool] = {}

    def follow(self, definitions: Definitions) -> None:
        """These are in force from here on."""
        if definitions is not self._definitions or definitions.version != self._version:
            self._definitions, self._version = definitions, definitions.version
            self._forget()

    def read(self, stretch: Stretch) -> None:
        """Say which events of a stretch are plain, and read them."""
        if self._types.held_bytes + self._customers.held_bytes > _MAX_HELD_BYTES:
            self._forget()
        keys, values, shape = stretch.keys, stretch.values, self._shape
        fields = np.zeros((len(values), 3 * len(shape.ends)), np.int64)
        scan(
            values.buffer, values.starts, values.lengths, keys.buffer, keys.starts, keys.lengths,
            shape.names, shape.ends, stretch.heads, fields, stretch.instants, stretch.plain,
        )  # fmt: skip
        plain, stamps = stretch.plain, stretch.stamps_ms
        plain[stretch.headed] = False
        plain &= (stamps >= 0) & (stamps <= _MAX_MS)
        self._read_times(stretch)
        if plain.any():
            self._read_postings(stretch, fields)
        stretch.settle()

    def _read_times(self, stretch: Stretch) -> None:
        """An event that says no time has that of its arrival, but for customers who live by a test clock."""
        silent = stretch.plain & (stretch.heads[:, 2 * TIME] == 0)
        if not self._definitions.clocks:
            stretch.instants[silent] = stretch.stamps_ms[silent] * US_PER_MS
        stretch.plain &= (stretch.instants >= _MIN_US) & (stretch.instants <= _MAX_US)

    def _read_postings(self, stretch: Stretch, fields: I64) -> None:
        data, plain = stretch.values.buffer, stretch.plain
        kinds = self._types.of(data, *stretch.head(TYPE), plain)
        customers = self._numbered(stretch) if self._definitions.items else None
        for kind in np.unique(kinds[plain]).tolist():
            where = np.flatnonzero(kinds == kind)
            plan = self._shape.plan(self._types.name(kind).decode())
            if plan is None:
                plain[where] = False
                continue
            plain[where] &= stretch.instants[where] >= plan.since_us
            for meter in plan.meters:
                self._read_meter(stretch, fields, meter, where, customers)
            plain[where] &= stretch.counts[where] > 0

    def _read_meter(self, stretch: Stretch, fields: I64, meter: Meter, where: I64, customers: I64 | None) -> None:
        """What one meter takes of the events at these places."""
        chosen, at = fields if len(where) == len(fields) else fields[where], where
        if meter.where:
            having = self._shape.having(stretch.values.buffer, chosen, meter)
            chosen, at = chosen[having], where[having]
        if not len(at):
            return
        if meter.value == COUNT:
            amounts = ones(len(at))
        else:
            kinds, starts, lengths = self._shape.column(chosen, meter.value)
            amounts, faults = amounts_of(stretch.values.buffer, starts, lengths, allow_negative=meter.allow_negative)
            stretch.plain[at[faults]] = False
            stretch.plain[at[(kinds != NUMBER) & (kinds != TEXT)]] = False
        grid = stretch.instants[at] // (meter.window_s * US_PER_S)
        starts_s = grid * meter.window_s
        if customers is not None:
            stretch.plain[at[self._is_cut(meter, customers[at], starts_s)]] = False
        stretch.plain[at] &= (starts_s >= MIN_S) & (starts_s + meter.window_s <= MAX_S)
        stretch.posted.append(_Posted(meter, at, stretch.counts[at], amounts, starts_s))
        stretch.counts[at] += 1

    def _numbered(self, stretch: Stretch) -> I64:
        """Numbers of the customers; where none of theirs is bound nothing more is asked of them."""
        found = self._customers.of(stretch.values.buffer, *stretch.head(SUBJECT), stretch.plain)
        begin, end = len(self._known), self._customers.count
        if end > begin:
            new = [name.decode() for name in self._customers.names(begin, end)]
            items, slugs = self._definitions.items, list(self._definitions.meters)
            self._known += new
            self._bound = np.concatenate([self._bound, np.array([any((name, slug) in items for slug in slugs) for name in new], np.bool_)])
        return found

    def _is_cut(self, meter: Meter, customers: I64, starts_s: I64) -> Mask:
        """True for events in a cell of the grid that an edge cuts into several windows."""
        found = np.zeros(len(customers), np.bool_)
        bound = np.flatnonzero((customers >= 0) & self._bound[customers])
        if not len(bound):
            return found
        lowest = int(starts_s[bound].min())
        cells, of = np.unique(customers[bound] << 40 | (starts_s[bound] - lowest), return_inverse=True)
        cut = [self._has_edge(cell >> 40, (cell & (1 << 40) - 1) + lowest, meter) for cell in cells.tolist()]
        found[bound] = np.array(cut, np.bool_)[of]
        return found

    def _has_edge(self, customer: int, start_s: int, meter: Meter) -> bool:
        known = self._cut.get((customer, start_s, meter.slug))
        if known is None:
            if len(self._cut) >= _MEMO_LIMIT:
                self._cut.clear()
            window = self._definitions.window_of(self._known[customer], meter, start_s)
            known = self._cut[customer, start_s, meter.slug] = window.end_s - window.start_s != meter.window_s
        return known

