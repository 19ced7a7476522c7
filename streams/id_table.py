"""Law 6's memory: which ids were counted, and in which hour of the log's now, at 23 bytes an id of which 7 must stay in memory.

The digests stand in a list in the order in which they were counted (`streams/id_log.py`), so an hour is a stretch of it and dies whole; an index
of marks and places (`streams/id_index.py`) finds them. Neither is ever rebuilt. Whether an id is live is a rule over its hour, never a matter of
what was tidied away: `floor` only says what may go.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.duplicates import I64, U64
from streams.id_index import PLACES, IdIndex
from streams.id_log import BLOCK_BITS, IdLog, Keep, in_memory
from topics.errors import CorruptState

PORTION: Final = 1 << 16
"""Ids put at a time: what a larger call holds in passing stays small."""


class IdTable:
    """Digest → bucket. Batch operations only; `find` is read-only, `put` inserts or moves an id to a newer bucket."""

    def __init__(self, keep: Keep = in_memory, *, block_bits: int = BLOCK_BITS, places: int = PLACES) -> None:
        """`keep` holds full blocks of digests; the other two are for tests."""
        self._log = IdLog(keep, block_bits)
        self._index = IdIndex()
        self._places = places
        self._left: dict[int, int] = {}
        """First place of a span → ids of it that stand in a newer bucket now."""

    @property
    def held(self) -> int:
        """Ids that the index holds: all but those of buckets that were thrown away."""
        return self._log.next - self._log.first - sum(self._left.values())

    @property
    def memory_bytes(self) -> int:
        """What cannot be put elsewhere: the index and the newest digests."""
        return self._index.bytes + self._log.tail_bytes

    @property
    def kept_bytes(self) -> int:
        """Older digests, in memory or in a local file."""
        return self._log.kept_bytes

    @property
    def spilled(self) -> int:
        """Ids that found both of their pages full: a few in 100,000."""
        return self._index.spilled

    def _standing(self, digests: U64) -> tuple[I64, I64, I64]:
        """(row of `digests`, slot, place) of those that are there; a row may come twice, with the same slot."""
        rows, slots, places = self._index.candidates(np.ascontiguousarray(digests))
        live = places >= self._log.first
        rows, slots, places = rows[live], slots[live], places[live]
        there = self._log.at(places)
        same = (there[:, 0] == digests[rows, 0]) & (there[:, 1] == digests[rows, 1])
        return rows[same], slots[same], places[same]

    def find(self, digests: U64) -> I64:
        """Bucket of each digest; 0 where it was never put, or in a bucket that was thrown away."""
        found = np.zeros(len(digests), np.int64)
        rows, _, places = self._standing(digests)
        if len(rows):
            found[rows] = self._log.hours_of(places)
        return found

    def put(self, digests: U64, bucket: int, floor: int, *, absent: bool = False) -> None:
        """Insert distinct digests; one that is there keeps the greater bucket. Ids in buckets below `floor` may be thrown away.

        `absent`: `find` has just said 0 for every one of them. Raises CorruptState where a partition would hold more ids than can be numbered.
        """
        self._forget_below(floor)
        for start in range(0, len(digests), PORTION):
            self._put(digests[start : start + PORTION], bucket, absent=absent)

    def _put(self, digests: U64, bucket: int, *, absent: bool) -> None:
        self._number_anew(len(digests))
        if not absent:
            digests = self._move(digests, bucket)
        digests = np.ascontiguousarray(digests)
        if len(digests):
            self._index.reserve(self.held, len(digests), self._log.first, self._log.at)
            self._index.claim(digests, self._log.append(digests, bucket), self._log.first, self._log.at)

    def _move(self, digests: U64, bucket: int) -> U64:
        """Those that stand in an older bucket move to `bucket`; returns those that stand nowhere."""
        rows, slots, places = self._standing(digests)
        if not len(rows):
            return digests
        rows, once = np.unique(rows, return_index=True)
        slots, places = slots[once], places[once]
        older = self._log.hours_of(places) < bucket
        for start, count in self._log.tally(places[older]):
            self._left[start] = self._left.get(start, 0) + count
        self._index.move(slots[older], self._log.append(digests[rows[older]], bucket))
        new = np.ones(len(digests), bool)
        new[rows] = False
        return digests[new]

    def reserve(self, more: int) -> None:
        """Make room for so many ids at once: cheaper than to grow by them."""
        self._index.reserve(self.held, more, self._log.first, self._log.at)

    def _forget_below(self, floor: int) -> None:
        self._log.forget_below(floor)
        if self._left:
            self._left = {start: count for start, count in self._left.items() if start >= self._log.first}

    def _number_anew(self, more: int) -> None:
        if self._log.next + more < self._places:
            return
        less = self._log.count_anew()
        self._index.count_anew(less)
        self._left = {start - less: count for start, count in self._left.items()}
        if self._log.next + more >= self._places:
            raise CorruptState(f"a partition holds {self.held:,} ids, the most that one can: shorten timing.dedup or use more partitions")

    def counts(self, floor: int) -> dict[int, int]:
        """How many digests each bucket from `floor` on holds."""
        found: dict[int, int] = {}
        for hour, begin, end in self._log.spans():
            count = end - begin - self._left.get(begin, 0)
            if hour >= floor and count:
                found[hour] = found.get(hour, 0) + count
        return found

    def in_bucket(self, bucket: int, start: int = 0, limit: int | None = None) -> U64:
        """All digests of one bucket, in the order in which they were put; or those of its entries from `start` on, at most `limit`.

        Entries are those that were ever put there: a portion may hold fewer digests, where some have moved to a newer bucket since.
        """
        parts = [np.empty((0, 2), np.uint64)]
        left = limit if limit is not None else self._log.next
        for hour, first, end in self._log.spans():
            if hour != bucket:
                continue
            begin = min(first + start, end)
            start -= begin - first
            stop = min(end, begin + left)
            left -= stop - begin
            digests = self._log.between(begin, stop)
            parts.append(self._still(digests, begin) if first in self._left else digests)
        return np.concatenate(parts)

    def entries(self, bucket: int) -> int:
        """How many entries `in_bucket` goes through."""
        return sum(end - begin for hour, begin, end in self._log.spans() if hour == bucket)

    def _still(self, digests: U64, begin: int) -> U64:
        rows, _, places = self._standing(digests)
        still = np.zeros(len(digests), bool)
        still[rows[places == begin + rows]] = True
        return digests[still]
