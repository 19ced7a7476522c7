"""Numbers for names that come again and again (customers, sources, types), found by their bytes: an open table, compiled.

A cache: what a number is decides nothing. The hash is keyed by a secret, since producers choose the names.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from topics.compiled import compiled
from topics.scan_values import BYTES, Bytes, same

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
_INTS: Final = "Array(int64, 1, 'C', readonly=True)"
_MASK: Final = "Array(boolean, 1, 'C', readonly=True)"
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(29)
_EIGHT: Final = np.uint64(8)


@compiled(f"uint64({BYTES}, int64, int64, uint64)")
def _hash(buffer: Bytes, at: int, length: int, key: np.uint64) -> np.uint64:
    found, word = (key ^ np.uint64(length)) * _MIX, np.uint64(0)
    for index in range(length):
        word = (word << _EIGHT) | np.uint64(buffer[at + index])
        if index & 7 == 7 or index == length - 1:
            # Twice: after one product a bit changed at the top moves so few others that a change in the next word undoes it, whatever the key.
            found = (found ^ word) * _MIX
            found = (found ^ (found >> _SHIFT)) * _MIX
            found ^= found >> _SHIFT
            word = np.uint64(0)
    return found * _MIX ^ (found >> _SHIFT)


@compiled("void(Array(int32, 1, 'C'), Array(uint64, 1, 'C', readonly=True), int64)")
def _place_all(slots: I32, hashes: U64, count: int) -> None:
    """Fill an empty table of a new size."""
    mask = np.uint64(len(slots) - 1)
    for number in range(count):
        slot = hashes[number] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = number


@compiled(
    f"int64({BYTES}, {_INTS}, {_INTS}, {_MASK}, uint64, Array(int32, 1, 'C'), Array(uint64, 1, 'C'), "
    "Array(int64, 1, 'C'), Array(uint8, 1, 'C'), int64, Array(int64, 1, 'C'))"
)
def _number(
    buffer: Bytes, starts: I64, lengths: I64, wanted: Mask, key: np.uint64, slots: I32, hashes: U64, ends: I64, arena: Bytes, count: int, found: I64
) -> int:
    """Find each wanted name, or give it the next number; there is room for all of them. Returns how many names there are then."""
    mask = np.uint64(len(slots) - 1)
    for index in range(len(starts)):
        if not wanted[index]:
            found[index] = -1
            continue
        at, length = starts[index], lengths[index]
        hashed = _hash(buffer, at, length, key)
        slot = hashed & mask
        number = slots[slot]
        while number >= 0 and not (
            hashes[number] == hashed and same(buffer, at, length, arena, ends[number], ends[number + 1] - ends[number])
        ):
            slot = (slot + np.uint64(1)) & mask
            number = slots[slot]
        if number < 0:
            number = slots[slot] = count
            hashes[count] = hashed
            begin = ends[count]
            for place in range(length):
                arena[begin + place] = buffer[at + place]
            ends[count + 1] = begin + length
            count += 1
        found[index] = number
    return count


class Numbering:
    """Names → 0, 1, 2 … in the order in which they are first seen."""

    def __init__(self, key: int) -> None:
        self._key = np.uint64(key)
        self.count = 0
        self._slots = np.full(128, -1, np.int32)
        self._hashes = np.empty(64, np.uint64)
        self._ends = np.zeros(65, np.int64)
        self._arena = np.empty(1024, np.uint8)

    @property
    def held(self) -> tuple[U8, I64]:
        """All names one behind the other, and where they end: number n's from `ends[n]` to `ends[n + 1]`. Until the next one is numbered."""
        return self._arena, self._ends

    @property
    def held_bytes(self) -> int:
        """Bytes of all names."""
        return int(self._ends[self.count])

    def of(self, buffer: Bytes, starts: I64, lengths: I64, wanted: Mask) -> I64:
        """The number of each wanted name, −1 for all others."""
        self._make_room(len(starts), int(lengths[wanted].sum()))
        found = np.empty(len(starts), np.int64)
        self.count = _number(
            buffer, starts, lengths, wanted, self._key, self._slots, self._hashes, self._ends, self._arena, self.count, found
        )
        return found

    def one(self, name: bytes) -> int:
        """The number of one name."""
        buffer = np.frombuffer(name or b"\0", np.uint8)
        return int(self.of(buffer, np.zeros(1, np.int64), np.array([len(name)]), np.ones(1, np.bool_))[0])

    def name(self, number: int) -> bytes:
        """The name of a number."""
        return self._arena[self._ends[number] : self._ends[number + 1]].tobytes()

    def some(self, numbers: I64) -> list[bytes]:
        """The names of some numbers."""
        held, starts, ends = self._arena.data, self._ends[numbers].tolist(), self._ends[numbers + 1].tolist()
        return [held[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]

    def names(self, begin: int, end: int) -> list[bytes]:
        """The names of all numbers from `begin` to `end`."""
        first = int(self._ends[begin])
        data, ends = self._arena[first : self._ends[end]].tobytes(), (self._ends[begin : end + 1] - first).tolist()
        return [data[ends[index] : ends[index + 1]] for index in range(end - begin)]

    def _make_room(self, names: int, size: int) -> None:
        wanted = self.count + names
        if wanted > len(self._hashes):
            room = max(wanted, 2 * len(self._hashes))
            self._hashes = np.concatenate([self._hashes, np.empty(room - len(self._hashes), np.uint64)])
            self._ends = np.concatenate([self._ends, np.zeros(room + 1 - len(self._ends), np.int64)])
        if 2 * wanted > len(self._slots):
            self._slots = np.full(1 << (2 * wanted).bit_length(), -1, np.int32)
            _place_all(self._slots, self._hashes, self.count)
        if self.held_bytes + size > len(self._arena):
            self._arena = np.concatenate([self._arena, np.empty(self.held_bytes + size, np.uint8)])
