"""Which of many numbers are alike: by a hash table that lives for one call, compiled, where a sort would cost ten times as much."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy import uint64
from numpy.typing import NDArray

from topics.compiled import compiled

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
_NUMBERS: Final = "Array(int64, 1, 'C', readonly=True)"
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


def group(numbers: I64) -> tuple[I64, I64]:
    """Of each number its group, counted by first appearance, and of each group the position of its first number."""
    bits = max(4, (2 * len(numbers)).bit_length())
    of, firsts = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
    count = _group(np.ascontiguousarray(numbers), np.full(1 << bits, -1, np.int32), 64 - bits, of, firsts)
    return of, firsts[:count]


@compiled(f"int64({_NUMBERS}, int32[::1], int64, int64[::1], int64[::1])")
def _group(numbers: I64, table: I32, shift: int, of: I64, firsts: I64) -> int:
    """`table` has more slots than there are numbers, 2⁶⁴⁻ˢʰⁱᶠᵗ, all −1. Returns how many groups there are."""
    count, last = 0, uint64(len(table) - 1)
    for row in range(len(numbers)):
        number = numbers[row]
        at = (uint64(number) * _SPREAD) >> uint64(shift)
        while table[at] >= 0 and numbers[firsts[table[at]]] != number:
            at = (at + uint64(1)) & last
        if table[at] < 0:
            table[at], firsts[count] = np.int32(count), row
            count += 1
        of[row] = np.int64(table[at])
    return count


@compiled(f"void({_NUMBERS}, {_NUMBERS}, Array(uint32, 2, 'C', readonly=True), Array(uint32, 2, 'C', readonly=True),"
          " int64[:, ::1], uint64[:, ::1], uint64[:, ::1])")  # fmt: skip
def sum_up(of: I64, offsets: I64, amounts: U32, digests: U32, spans: I64, sums: U64, hashes: U64) -> None:
    """Of each row that postings belong to: how many they are, the first and the last of their offsets, which ascend, and the sums of their amounts
    and of their digests, limb by limb of 32 bits. At most 2³² postings, so no sum leaves its 64 bits."""
    for posting in range(uint64(len(of))):
        row = uint64(of[posting])
        if spans[row, 0] == 0:
            spans[row, 1] = offsets[posting]
        spans[row, 0] += 1
        spans[row, 2] = offsets[posting]
        for limb in range(uint64(4)):
            sums[row, limb] += uint64(amounts[posting, limb])
        for limb in range(uint64(8)):
            hashes[row, limb] += uint64(digests[posting, limb])
