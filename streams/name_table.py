"""Names as small numbers: a customer's name once, however many rows it has, in one growing buffer instead of an object each.

About 45 bytes a name of 14 letters, where a `str` in a dict takes 180. A name that nobody needs any more is let go and its number given to another,
so memory follows the customers that have rows, not those that ever had.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.probing import MASK, U64, Index, Slots
from streams.room import grown, zeros
from topics.compiled import compiled, inlined
from topics.scan_values import BYTES, Bytes

U8 = NDArray[np.uint8]
COMPACT_BYTES: Final = 1 << 16
"""Less garbage than this is not worth copying the names for."""


class Names:
    """Name → number and back."""

    def __init__(self) -> None:
        self.count = 0
        """Numbers that were ever given; those of `_free` stand for nothing."""
        self._free: list[int] = []
        self._text: U8 = np.zeros(0, np.uint8)
        self._text_view = self._text.data
        self._end = 0
        self._garbage_bytes = 0
        self._index = Index()
        self._at: Slots = np.zeros(0, np.int64)
        self._size: Slots = np.zeros(0, np.int32)
        self._hashes: U64 = np.zeros(0, np.uint64)
        self._allocate(16)

    def _allocate(self, capacity: int) -> None:
        at, size, hashes = (grown(held, self.count, capacity) for held in (self._at, self._size, self._hashes))
        self._at, self._size, self._hashes = at, size, hashes
        self._at_view, self._size_view, self._hashes_view = at.data, size.data, hashes.data

    @property
    def size_bytes(self) -> int:
        """Of the buffer that holds them."""
        return self._end

    def sizes_bytes(self, numbers: Slots) -> Slots:
        """Of names by their numbers."""
        return self._size[numbers].astype(np.int64)

    def _raw(self, number: int) -> bytes:
        at = self._at_view[number]
        return self._text_view[at : at + self._size_view[number]].tobytes()

    def name(self, number: int) -> str:
        """The name of a number that is in use."""
        return self._raw(number).decode("utf-8", "surrogatepass")

    def names(self, numbers: Slots) -> list[str]:
        """The same of many."""
        held = self._text_view
        starts, ends = self._at[numbers].tolist(), (self._at[numbers] + self._size[numbers]).tolist()
        return [str(held[start:end], "utf-8", "surrogatepass") for start, end in zip(starts, ends, strict=True)]

    def spelled(self, numbers: Slots) -> bytes:
        """The same as msgpack writes a list of them, without an object each."""
        found = np.empty(int(self._size[numbers].sum()) + 5 * len(numbers) + 5, np.uint8)
        end = _spell(self._text, self._at, self._size, np.ascontiguousarray(numbers, np.int64), found)
        return found[:end].tobytes()

    def find(self, name: str) -> int:
        """The number of a name, or −1."""
        raw = _encoded(name)
        return self._find(raw, hash(raw) & MASK)

    def _find(self, raw: bytes, hashed: int) -> int:
        hashes = self._hashes_view
        return self._index.find_one(hashed, lambda number: hashes[number] == hashed and self._raw(number) == raw)

    def number(self, name: str) -> int:
        """The number of a name, which is given one where it has none."""
        raw = _encoded(name)
        found = self._find(raw, hash(raw) & MASK)
        return found if found >= 0 else int(self._add([raw])[0])

    def numbers(self, names: Iterable[str]) -> Slots:
        """The same of many."""
        return self.numbers_of(list(map(_encoded, names)))

    def numbers_of(self, each: list[bytes]) -> Slots:
        """The same of names by their bytes."""
        places = dict.fromkeys(each, 0)
        raws = list(places)
        hashes = np.fromiter(map(hash, raws), np.int64, len(raws)).view(np.uint64)
        found = self._index.find_equal(hashes, self._hashes)
        for at, (number, raw) in enumerate(zip(found.tolist(), raws, strict=True)):
            if number >= 0 and self._raw(number) != raw:  # another name of the same hash
                found[at] = self._find(raw, hash(raw) & MASK)
        new = np.flatnonzero(found < 0)
        if len(new):
            found[new] = self._add([raws[at] for at in new.tolist()])
        if len(each) == len(raws):
            return found
        places = {raw: at for at, raw in enumerate(raws)}
        return found[[places[raw] for raw in each]]

    def find_all(self, names: Iterable[str]) -> Slots:
        """The numbers of those of these names that have one."""
        found = np.array([self.find(name) for name in names], np.int64)
        return found[found >= 0]

    def _add(self, raws: list[bytes]) -> Slots:
        """Numbers for names that have none."""
        more = len(raws)
        self._index.reserve(more, self._live)
        again = self._free[len(self._free) - min(more, len(self._free)) :]
        del self._free[len(self._free) - len(again) :]
        fresh = more - len(again)
        if self.count + fresh > len(self._at):
            self._allocate(self.count + fresh + self.count // 2)
        numbers = np.append(np.array(again, np.int64), np.arange(self.count, self.count + fresh))
        self.count += fresh
        sizes = np.fromiter(map(len, raws), np.int64, more)
        hashes = np.fromiter(map(hash, raws), np.int64, more).view(np.uint64)
        self._at[numbers] = self._end + np.cumsum(sizes) - sizes
        self._size[numbers], self._hashes[numbers] = sizes, hashes
        self._write(b"".join(raws))
        self._index.put(hashes, numbers)
        return numbers

    def _write(self, text: bytes) -> None:
        end = self._end + len(text)
        if end > len(self._text):
            self._hold(grown(self._text, self._end, end + end // 4))
        self._text_view[self._end : end] = text
        self._end = end

    def _hold(self, text: U8) -> None:
        self._text, self._text_view = text, text.data

    def _live(self) -> tuple[U64, Slots]:
        numbers = np.flatnonzero(self._size[: self.count] >= 0)
        return self._hashes[numbers], numbers

    def forget(self, numbers: Slots) -> None:
        """Names that nobody needs any more; each once."""
        if not len(numbers):
            return
        self._index.remove(self._hashes[numbers], numbers)
        self._garbage_bytes += int(self._size[numbers].sum())
        self._size[numbers] = -1
        self._free += numbers.tolist()
        if self._garbage_bytes > max(COMPACT_BYTES, self._end // 2):
            self._compact()

    def _compact(self) -> None:
        _, numbers = self._live()
        kept = b"".join(map(self._raw, numbers.tolist()))
        sizes = self._size[numbers].astype(np.int64)
        self._at[numbers] = np.cumsum(sizes) - sizes
        self._hold(zeros(0, np.uint8))
        self._end = self._garbage_bytes = 0
        self._write(kept)


@inlined
def _head(found: Bytes, at: int, size: int, most: int, short: int, code: int) -> int:
    """A length in one byte up to `most`, in the two behind the byte `code` + 1, or in the four behind the one after that."""
    if size <= most:
        found[at] = short | size
        return at + 1
    width = 2 if size < 1 << 16 else 4
    found[at] = code + width // 2
    for place in range(width):
        found[at + 1 + place] = (size >> (8 * (width - 1 - place))) & 0xFF
    return at + 1 + width


@compiled(f"int64({BYTES}, int64[::1], int32[::1], Array(int64, 1, 'C', readonly=True), uint8[::1])")
def _spell(text: Bytes, at: Slots, sizes: Slots, numbers: Slots, found: Bytes) -> int:
    """A list of names in msgpack: each length in the shortest form. `found` has room for the longest. Returns the end."""
    end = _head(found, 0, len(numbers), 15, 0x90, 0xDB)
    for number in numbers:
        size, begin = int(sizes[number]), int(at[number])
        if 31 < size < 256:
            found[end], found[end + 1] = 0xD9, size
            end += 2
        else:
            end = _head(found, end, size, 31, 0xA0, 0xD9)
        for place in range(size):
            found[end + place] = text[begin + place]
        end += size
    return end


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
