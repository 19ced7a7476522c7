"""A batch as columns: what each record says of itself, and the numbers that customers and sources have inside one worker."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.names import Names
from streams.probing import Index, spread
from topics.batch import Batch
from topics.judging import Posting
from topics.meters import Meter
from topics.scan_amounts import limbs_of

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
_NO_BYTES: Final = np.empty(0, np.uint8)
_NO_HEADS: Final = np.empty((0, 2), np.int64)
_MANY: Final = 1000
"""Ids from so many on are taken together, though the bytes of the batch be copied for it (a millisecond): a batch has 20 such stretches at most."""
CODE_BITS: Final = 24
"""Of a customer's or a source's number: what is held (`streams/columns.py`) allows some 2²² of them, and one batch a few more."""

Few = list[tuple[int, str, Posting]]
"""Postings one by one, with the place and the source of their event."""


class Column:
    """Postings of one meter in a batch: where they stand, ascending, and quantity × 10¹². `late` are those that the reference found."""

    __slots__ = ("amounts", "late", "meter", "where")

    def __init__(self, meter: Meter, where: I64, amounts: U64) -> None:
        self.meter = meter
        self.where = where
        self.amounts = amounts
        self.late: list[tuple[int, int]] = []

    def chosen(self, plain: Mask, fresh: Mask) -> tuple[I64, U64]:
        """The postings of events that count, in order."""
        take = fresh[self.where] & plain[self.where]
        where, amounts = (self.where, self.amounts) if take.all() else (self.where[take], self.amounts[take])
        late = [(place, scaled) for place, scaled in self.late if fresh[place]]
        if not late:
            return where, amounts
        where = np.concatenate([where, np.array([place for place, _ in late], np.int64)])
        amounts = np.concatenate([amounts, limbs_of([scaled for _, scaled in late])])
        order = np.argsort(where, kind="stable")
        return where[order], amounts[order]

    def each(self, plain: Mask, first: int, last: int) -> list[tuple[int, int]]:
        """(place, quantity × 10¹²) of the postings of two places and those between, in no order: cheaper than columns where they are few."""
        begin, end = np.searchsorted(self.where, (first, last + 1)).tolist()
        pairs = zip(self.where[begin:end].tolist(), self.amounts[begin:end].tolist(), strict=True)
        found = [(place, low + (high << 64) - (high >> 63 << 128)) for place, (low, high) in pairs if plain[place]]
        begin, end = bisect_left(self.late, (first,)), bisect_left(self.late, (last + 1,))
        return found + self.late[begin:end]


class Sheet:
    """The records of a batch from `first` on, as columns in their order; a place here is a position in the batch less `first`.

    `plain` are records that need no reference, as far as bytes and meters say; time decides the rest (`streams/step.py`). `judged` are those that
    the reference found to be usage. Nothing else in the columns means anything at other places.
    """

    def __init__(self, batch: Batch, first: int, values: U8 = _NO_BYTES, heads: I64 = _NO_HEADS) -> None:
        """`values` and `heads`: the records' bytes and where in them their fields lie (`topics/scanning.py`)."""
        count = len(batch) - first
        self.values = values
        self._heads = heads
        self.batch = batch
        self.first = first
        offsets = batch.offsets[first:]
        # in offset order, so without a hole where the last one is as far as their number says
        if offsets[-1] - offsets[0] == count - 1:
            self.offsets = np.arange(offsets[0], offsets[0] + count, dtype=np.int64)
        else:
            self.offsets = np.fromiter(offsets, np.int64, count)
        runs = np.array(batch.runs(), np.int64)
        self.stamps = np.repeat(runs[:, 1], np.diff(runs[:, 0], prepend=0))[first:]
        self.plain = np.ones(count, np.bool_)
        self.judged = np.zeros(count, np.bool_)
        self.named: dict[int, bytes] = {}
        """Ids of those that the reference judged."""
        self.instants = np.zeros(count, np.int64)
        self.customers = np.zeros(count, np.int64)
        self.sources = np.zeros(count, np.int64)
        self.origins = np.zeros(count, np.int64)
        self.columns: dict[tuple[str, int], Column] = {}
        self.few: Few | None = None
        """Where there are so few records that columns do not pay: the postings found by the reference, with their place and source."""

    @staticmethod
    def blank(batch: Batch, first: int) -> Sheet:
        """Columns in which no record is plain: the reference is asked about each."""
        sheet = Sheet(batch, first)
        sheet.few = []
        sheet.plain[:] = False
        return sheet

    def head(self, field: int) -> tuple[I64, I64]:
        """Position and length of a field of each record."""
        return np.ascontiguousarray(self._heads[:, 2 * field]), np.ascontiguousarray(self._heads[:, 2 * field + 1])

    def id_at(self, place: int) -> str:
        """The id of one event."""
        if place in self.named:
            return self.named[place].decode()
        begin, length = self._heads[place, :2].tolist()
        return self.values[begin : begin + length].tobytes().decode()

    def names(self, places: I64) -> Names:
        """The ids of the events at these places."""
        if self.named and len(places) < _MANY:
            return Names.of_bytes([self.id_at(place).encode() for place in places.tolist()])
        data, starts, lengths = self.values, self._heads[:, 0].copy(), self._heads[:, 1].copy()
        if self.named:
            sizes = np.fromiter(map(len, self.named.values()), np.int64, len(self.named))
            named = np.fromiter(self.named, np.int64, len(self.named))
            starts[named], lengths[named] = len(data) + np.cumsum(sizes) - sizes, sizes
            data = np.concatenate([data, np.frombuffer(b"".join(self.named.values()), np.uint8)])
        return Names.within(data, starts[places], lengths[places])

    def column(self, meter: Meter) -> Column:
        """The meter's postings, none yet where no plain record has one."""
        key = (meter.slug, meter.window_s)
        if key not in self.columns:
            self.columns[key] = Column(meter, np.empty(0, np.int64), np.empty((0, 2), np.uint64))
        return self.columns[key]

    def not_plain(self, places: Iterable[int]) -> None:
        """The reference is asked about these."""
        for place in places:
            self.plain[place] = False


class Origins:
    """Numbers of (customer, source) pairs, with what their events share: the keyed prefix of ids."""

    def __init__(self, key: int) -> None:
        """`key` is a secret: which pairs come together is the producers' choice."""
        self._key = np.array([key], np.uint64).view(np.int64)
        self._index = Index()
        self._hashes: U64 = np.zeros(64, np.uint64)
        self.count = 0
        self.prefixes: U64 = np.zeros((64, 2), np.uint64)

    def _hash(self, pairs: I64) -> U64:
        """No two pairs have the same: every step of it can be undone."""
        return spread(pairs ^ self._key)

    def find(self, pairs: I64) -> I64:
        """The number of each pair, −1 where it has none."""
        return self._index.find_equal(self._hash(pairs), self._hashes)

    def add(self, pairs: I64, prefixes: U64) -> I64:
        """Numbers for distinct pairs that have none."""
        begin, end = self.count, self.count + len(pairs)
        self._index.reserve(len(pairs), lambda: (self._hashes[:begin], np.arange(begin)))
        if end > len(self.prefixes):
            self.prefixes = np.concatenate([self.prefixes, np.zeros((end, 2), np.uint64)])
            self._hashes = np.concatenate([self._hashes, np.zeros(end, np.uint64)])
        hashes, numbers = self._hash(pairs), np.arange(begin, end)
        self.prefixes[begin:end], self._hashes[begin:end] = prefixes, hashes
        self._index.put(hashes, numbers)
        self.count = end
        return numbers
