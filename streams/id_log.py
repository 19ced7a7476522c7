"""The remembered ids in the order in which they were counted: 16 bytes each, the hours one after the other, old parts out of memory.

A place is the number of an id in this list. Full blocks are handed to `keep`, which may put them into a local file; they never change. Once all
hours of a block are dead, it is let go whole. What lies here can be read again from the changelog at any time, so it is never made durable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from streams.duplicates import I64, U64

BLOCK_BITS: Final = 19
"""524,288 ids, 8 MB: what one partition holds in memory beside its index, and what is written to the file at once (some milliseconds)."""
FIRST_ROWS: Final = 256

Keep = Callable[[U64], U64]
"""Takes a full block of digests, returns the same digests held elsewhere, read-only. They live as long as the array that it returns."""


def in_memory(block: U64) -> U64:
    """Keeps a block where it is."""
    return block


class IdLog:
    """Places → digests and hours. Places below `first` are gone."""

    def __init__(self, keep: Keep = in_memory, block_bits: int = BLOCK_BITS) -> None:
        self._keep = keep
        self._bits = block_bits
        self._rows = 1 << block_bits
        self._blocks: list[U64] = []
        self._first_block = 0
        self._tail = np.empty((min(FIRST_ROWS, self._rows), 2), np.uint64)
        self._tail[0] = 0
        self._starts = np.empty(0, np.int64)
        self._hours = np.empty(0, np.int64)
        self.first = 1
        """Place 0 is nobody's: an empty slot says it."""
        self.next = 1
        """The place of the next id."""

    @property
    def tail_bytes(self) -> int:
        """Memory of the block that is being filled."""
        return self._tail.nbytes

    @property
    def kept_bytes(self) -> int:
        """What `keep` holds."""
        return sum(block.nbytes for block in self._blocks)

    def append(self, digests: U64, hour: int) -> I64:
        """Add digests of one hour; returns their places."""
        begin = self.next
        if len(digests) and (not len(self._hours) or self._hours[-1] != hour):
            self._starts, self._hours = np.append(self._starts, begin), np.append(self._hours, hour)
        done = 0
        while done < len(digests):
            at = self.next & (self._rows - 1)
            count = min(len(digests) - done, self._rows - at)
            self._make_room(at + count)
            self._tail[at : at + count] = digests[done : done + count]
            done, self.next = done + count, self.next + count
            if at + count == self._rows:
                self._blocks.append(self._keep(self._tail))
                self._tail = np.empty((min(FIRST_ROWS, self._rows), 2), np.uint64)
        return np.arange(begin, self.next)

    def _make_room(self, rows: int) -> None:
        if rows > len(self._tail):
            longer = np.empty((min(self._rows, max(rows, 2 * len(self._tail))), 2), np.uint64)
            longer[: len(self._tail)] = self._tail
            self._tail = longer

    def at(self, places: I64) -> U64:
        """Digests of places, none of them below `first`."""
        out = np.empty((len(places), 2), np.uint64)
        if not len(places):
            return out
        numbers = places >> self._bits
        low, high = int(numbers.min()), int(numbers.max())
        rows = places & (self._rows - 1)
        if low == high:
            return np.asarray(self._block(low).take(rows, axis=0))
        numbers = (numbers - low).astype(np.uint16)  # of 16 bits they are sorted by their digits, many times faster
        order = np.argsort(numbers, kind="stable")
        ends = np.cumsum(np.bincount(numbers)).tolist()
        begin = 0
        for number, end in zip(range(low, high + 1), ends, strict=True):
            if end > begin:
                where = order[begin:end]
                out[where] = self._block(number).take(rows[where], axis=0)
            begin = end
        return out

    def _block(self, number: int) -> U64:
        index = number - self._first_block
        return self._blocks[index] if index < len(self._blocks) else self._tail

    def between(self, begin: int, end: int) -> U64:
        """Digests of all places from `begin` to `end`."""
        parts = []
        while begin < end:
            row = begin & (self._rows - 1)
            count = min(end - begin, self._rows - row)
            parts.append(self._block(begin >> self._bits)[row : row + count])
            begin += count
        return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)

    def hours_of(self, places: I64) -> I64:
        """The hour in which each place was counted."""
        return np.asarray(self._hours[np.searchsorted(self._starts, places, "right") - 1])

    def spans(self) -> list[tuple[int, int, int]]:
        """(hour, first place, end) in order of places; an hour may have several."""
        ends = [*self._starts[1:].tolist(), self.next][: len(self._starts)]
        return list(zip(self._hours.tolist(), self._starts.tolist(), ends, strict=True))

    def tally(self, places: I64) -> list[tuple[int, int]]:
        """(first place, number of `places` in it) of each span that holds any."""
        spans, counts = np.unique(np.searchsorted(self._starts, places, "right") - 1, return_counts=True)
        return list(zip(self._starts[spans].tolist(), counts.tolist(), strict=True))

    def forget_below(self, floor: int) -> None:
        """Let go of the oldest spans of hours below `floor`."""
        live = np.flatnonzero(self._hours >= floor)
        gone = int(live[0]) if len(live) else len(self._hours)
        if not gone:
            return
        self.first = int(self._starts[gone]) if gone < len(self._hours) else self.next
        self._starts, self._hours = self._starts[gone:], self._hours[gone:]
        blocks = (self.first >> self._bits) - self._first_block
        del self._blocks[:blocks]
        self._first_block += blocks

    def count_anew(self) -> int:
        """Number the blocks anew from 1 on; returns by how much all places became smaller. Place 0 stays nobody's."""
        less = max(self._first_block - 1, 0) << self._bits
        self._first_block -= less >> self._bits
        self.first, self.next, self._starts = self.first - less, self.next - less, self._starts - less
        return less
