"""An open-addressing index in numpy: from a 64-bit hash to the number of an entry that lies elsewhere. Batches and single keys alike.

It holds four bytes a slot and no keys: whoever asks says whether an entry is the one that is meant, so equal hashes cost a second look and nothing
else. What is removed leaves a mark until the next rebuild, so that the entries behind it are found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy import uint64
from numpy.typing import NDArray

from streams.grouping import group
from streams.room import zeros
from topics.compiled import compiled, inlined

U64 = NDArray[np.uint64]
Slots = NDArray[Any]
"""Numbers of rows, or of names: an array of integers."""
EMPTY: Final = -1
GONE: Final = -2
LOAD: Final = 0.6
"""Share of used places at which the index is rebuilt: linear probing stays at under two probes."""
SMALLEST: Final = 64
MASK: Final = (1 << 64) - 1
_SHIFT: Final = np.uint64(32)


class Index:
    """Hash → entry."""

    def __init__(self) -> None:
        self._allocate(SMALLEST)

    def _allocate(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0
        self._entries = zeros(capacity, np.int32)
        self._entries.fill(EMPTY)
        self._view = self._entries.data

    def _home(self, hashes: U64) -> Slots:
        return (((hashes >> _SHIFT) * np.uint64(self.capacity)) >> _SHIFT).astype(np.int64)

    def find(self, hashes: U64, columns: tuple[Slots, Slots, Slots], asked: tuple[Slots, Slots, Slots]) -> Slots:
        """The entry of each hash whose values in three columns are those that are asked, −1 where there is none."""
        found = np.empty(len(hashes), np.int64)
        a, b, c = (np.ascontiguousarray(values, np.int64) for values in asked)
        _find(self._entries, np.ascontiguousarray(hashes), *columns, a, b, c, found)
        return found

    def find_equal(self, hashes: U64, known: U64) -> Slots:
        """An entry of each hash that has the same in `known`, −1 where there is none."""
        found = np.empty(len(hashes), np.int64)
        _find_equal(self._entries, np.ascontiguousarray(hashes), known, found)
        return found

    def find_one(self, one: int, is_same: Callable[[int], bool]) -> int:
        """The entry of one hash, or −1."""
        at = ((one >> 32) * self.capacity) >> 32
        while (held := self._view[at]) != EMPTY:
            if held >= 0 and is_same(held):
                return held
            at = at + 1 if at + 1 < self.capacity else 0
        return -1

    def reserve(self, more: int, live: Callable[[], tuple[U64, Slots]]) -> None:
        """Make room. `live` gives the hash and number of every entry; asked only where the index is rebuilt."""
        if self._used + more <= LOAD * self.capacity:
            return
        hashes, entries = live()
        wanted = max(SMALLEST, int((len(entries) + more) * 2.2))
        self._allocate(max(self.capacity, wanted) if wanted > self.capacity * LOAD else self.capacity)
        self.put(hashes, entries)

    def put(self, hashes: U64, entries: Slots) -> None:
        """Add entries that are not there, with room reserved."""
        _put(self._entries, np.ascontiguousarray(hashes), np.ascontiguousarray(entries, np.int64))
        self._used += len(hashes)

    def put_one(self, one: int, entry: int) -> None:
        """Add one entry that is not there, with room reserved."""
        at = ((one >> 32) * self.capacity) >> 32
        while self._view[at] != EMPTY:
            at = at + 1 if at + 1 < self.capacity else 0
        self._view[at] = entry
        self._used += 1

    def remove(self, hashes: U64, entries: Slots) -> None:
        """Take entries out that are there."""
        todo = np.arange(len(hashes))
        at = self._home(hashes)
        while len(todo):
            same = self._entries[at] == entries[todo]
            self._entries[at[same]] = GONE
            todo, at = todo[~same], at[~same] + 1
            at[at == self.capacity] = 0


@inlined
def _home(one: uint64, capacity: int) -> uint64:
    """The place at which the look for a hash begins."""
    return uint64(((one >> uint64(32)) * uint64(capacity)) >> uint64(32))


@inlined
def _next(at: uint64, capacity: int) -> uint64:
    return uint64(at + uint64(1)) if at + uint64(1) < uint64(capacity) else uint64(0)


@compiled("void(int32[::1], Array(uint64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True))")
def _put(entries: Slots, hashes: U64, numbers: Slots) -> None:
    for row in range(len(hashes)):
        at = _home(hashes[row], len(entries))
        while entries[at] != EMPTY:
            at = _next(at, len(entries))
        entries[at] = np.int32(numbers[row])


@compiled("void(int32[::1], Array(uint64, 1, 'C', readonly=True), Array(uint64, 1, 'C', readonly=True), int64[::1])")
def _find_equal(entries: Slots, hashes: U64, known: U64, found: Slots) -> None:
    for row in range(len(hashes)):
        at = _home(hashes[row], len(entries))
        while entries[at] != EMPTY and (entries[at] < 0 or known[uint64(entries[at])] != hashes[row]):
            at = _next(at, len(entries))
        found[row] = np.int64(max(entries[at], np.int32(EMPTY)))


@compiled("void(int32[::1], Array(uint64, 1, 'C', readonly=True), Array(int64, 1, 'A'), Array(int32, 1, 'A'), Array(uint16, 1, 'A'),"
          " Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), int64[::1])")  # fmt: skip
def _find(entries: Slots, hashes: U64, longs: Slots, ints: Slots, shorts: Slots, a: Slots, b: Slots, c: Slots, found: Slots) -> None:
    for row in range(len(hashes)):
        at = _home(hashes[row], len(entries))
        while entries[at] != EMPTY:
            one = entries[at]
            if one >= 0 and longs[one] == a[row] and np.int64(ints[one]) == b[row] and np.int64(shorts[one]) == c[row]:
                break
            at = _next(at, len(entries))
        found[row] = np.int64(entries[at])


def spread(*parts: Slots) -> U64:
    """A 64-bit hash of columns of integers, mixed so that neighbours lie far apart."""
    mixed = np.full(len(parts[0]), 0x9E3779B97F4A7C15, np.uint64)
    for part in parts:
        mixed = (mixed ^ part.astype(np.int64).view(np.uint64)) * np.uint64(0xFF51AFD7ED558CCD)
        mixed ^= mixed >> _SHIFT
    return mixed * np.uint64(0xC4CEB9FE1A85EC53)


def spread_one(*parts: int) -> int:
    """The same of single integers."""
    mixed = 0x9E3779B97F4A7C15
    for part in parts:
        mixed = ((mixed ^ (part & MASK)) * 0xFF51AFD7ED558CCD) & MASK
        mixed ^= mixed >> 32
    return (mixed * 0xC4CEB9FE1A85EC53) & MASK


def each_once(parts: list[Slots]) -> Slots:
    """Numbers in the order in which they came first."""
    numbers = np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)
    return numbers[group(numbers)[1]]
