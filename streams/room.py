"""Memory for the large arrays of a partition's state, taken from the system and given back to it at once, past the allocator's heap.

An array that grows is copied into a larger one. What the allocator is given back of the smaller one it may keep: a freed block below one in use
cannot leave the heap, and after a few such blocks glibc puts arrays of up to 32 MB there. Of a million rows a fifth was memory that nobody used. A
mapping of its own has no neighbours. Its pages are zero and take no memory before they are touched, so room to grow costs nothing but addresses.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

OWN_BYTES: Final = 1 << 20
"""From this size on an array has a mapping of its own; below, what is lost is not worth the call."""
HUGE_BYTES: Final = 1 << 22
"""From this size on the system is asked for large pages, as numpy asks for its own arrays: a row found at random costs a fifth less."""


def zeros(count: int, dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros. It, and every view of it, holds the memory; with the last of them it is gone."""
    return _room(count, np.dtype(dtype))[0]


def _room(count: int, kind: np.dtype[Any]) -> tuple[NDArray[Any], mmap.mmap | None]:
    size_bytes = count * kind.itemsize
    if size_bytes < OWN_BYTES:
        return np.zeros(count, kind), None
    try:
        mapped = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no {size_bytes:,} bytes for {count:,} entries: {error}") from error
    if size_bytes >= HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        _ask_for_large_pages(mapped)
    return np.frombuffer(mapped, kind), mapped


def _ask_for_large_pages(mapped: mmap.mmap) -> None:
    try:
        mapped.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel built without them: small pages do the same, slower
        return


def grown(held: NDArray[Any], used: int, capacity: int) -> NDArray[Any]:
    """The first `used` entries of an array, in one with room for `capacity`; what is behind them is zero."""
    found = zeros(capacity, held.dtype)
    found[:used] = held[:used]
    return found


class Stretching:
    """An array of zeros that becomes longer where it lies: the system moves its pages elsewhere in the address space, and nothing is copied.

    Where it cannot (no Linux), or somebody holds a view, it is copied. `values` change with every lengthening: never keep them.
    """

    __slots__ = ("_mapped", "values")

    def __init__(self, count: int, dtype: DTypeLike) -> None:
        self.values, self._mapped = _room(count, np.dtype(dtype))

    def lengthen(self, count: int) -> None:
        """To `count` entries; what comes to it is zero."""
        kind, used = self.values.dtype, len(self.values)
        if self._mapped is not None:
            self.values = np.zeros(0, kind)  # an array that looks at the mapping keeps it where it is
            is_longer = _resize(self._mapped, count * kind.itemsize)
            self.values = np.frombuffer(self._mapped, kind, count if is_longer else used)
        if len(self.values) < count:
            held = self.values
            self.values, self._mapped = _room(count, kind)
            self.values[:used] = held


def _resize(mapped: mmap.mmap, size_bytes: int) -> bool:
    try:
        mapped.resize(size_bytes)
    except (SystemError, BufferError, ValueError, OSError):  # no system call for it; a view; not this kind of mapping; no room
        return False
    return True


class Numbers:
    """Numbers one behind the other, four bytes each: only ever more of them."""

    __slots__ = ("_held", "_used")

    def __init__(self) -> None:
        self._held: NDArray[Any] = np.zeros(4, np.int32)
        self._used = 0

    def add(self, more: NDArray[Any]) -> None:
        """Behind the others."""
        end = self._used + len(more)
        if end > len(self._held):
            self._held = grown(self._held, self._used, end + end // 4)
        self._held[self._used : end] = more
        self._used = end

    def all(self) -> NDArray[np.int64]:
        """All of them, a copy."""
        return self._held[: self._used].astype(np.int64)
