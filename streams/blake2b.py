"""Keyed BLAKE2b (RFC 7693) of many names, 16 bytes each: compiled, since a call of the library costs two microseconds around 0.2 of hashing.

`hashlib` says what is right (`tests/core/test_blake2b.py`). A message is laid out where it is hashed: a name with its length before it, then another.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy import uint64
from numpy.typing import NDArray

from topics.compiled import compiled, inlined
from topics.scan_values import BYTES, Bytes

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
SIZE: Final = 16
"""Bytes of a digest."""
_BLOCK: Final = 128
_INTS: Final = "Array(int64, 1, 'C', readonly=True)"
_WORDS: Final = "Array(uint64, 1, 'C', readonly=True)"
_BEGIN: Final = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
"""Of the square roots of the first eight primes the first 64 bits behind the point."""
_SIGMA: Final = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    np.uint8,
)
"""Which word of the block each step of a round takes; after ten rounds from the first again."""


@inlined
def _mix(v: U64, a: int, b: int, c: int, d: int, x: uint64, y: uint64) -> None:
    v[a] = v[a] + v[b] + x
    turned = v[d] ^ v[a]
    v[d] = (turned >> uint64(32)) | (turned << uint64(32))
    v[c] = v[c] + v[d]
    turned = v[b] ^ v[c]
    v[b] = (turned >> uint64(24)) | (turned << uint64(40))
    v[a] = v[a] + v[b] + y
    turned = v[d] ^ v[a]
    v[d] = (turned >> uint64(16)) | (turned << uint64(48))
    v[c] = v[c] + v[d]
    turned = v[b] ^ v[c]
    v[b] = (turned >> uint64(63)) | (turned << uint64(1))


@inlined
def _compress(state: U64, block: U64, v: U64, taken: uint64, last: bool) -> None:
    """Take one block in; `taken` bytes were taken with it, of which only the lower 64 bits of the standard's 128 are ever set."""
    for place in range(uint64(8)):
        v[place], v[place + uint64(8)] = state[place], _BEGIN[place]
    v[12] ^= taken
    if last:
        v[14] = ~v[14]
    for turn in range(uint64(12)):
        order = _SIGMA[turn % uint64(10)]
        _mix(v, 0, 4, 8, 12, block[order[0]], block[order[1]])
        _mix(v, 1, 5, 9, 13, block[order[2]], block[order[3]])
        _mix(v, 2, 6, 10, 14, block[order[4]], block[order[5]])
        _mix(v, 3, 7, 11, 15, block[order[6]], block[order[7]])
        _mix(v, 0, 5, 10, 15, block[order[8]], block[order[9]])
        _mix(v, 1, 6, 11, 12, block[order[10]], block[order[11]])
        _mix(v, 2, 7, 8, 13, block[order[12]], block[order[13]])
        _mix(v, 3, 4, 9, 14, block[order[14]], block[order[15]])
    for place in range(uint64(8)):
        state[place] ^= v[place] ^ v[place + uint64(8)]


@compiled(f"void(uint64[::1], {_WORDS})")
def _take_key(state: U64, block: U64) -> None:
    _compress(state, block, np.empty(16, np.uint64), uint64(_BLOCK), False)


@inlined
def _lay(block: Bytes, first: int, size: int, names: Bytes, begin: int, length: int, others: Bytes, second: int) -> None:
    """The bytes from `first` on of a message of this size, and zeros behind its end."""
    block[:] = 0
    for at in range(first, min(first + 128, size)):
        if at < 4:
            block[at - first] = np.uint8((length >> (8 * at)) & 0xFF)
        elif at < 4 + length:
            block[at - first] = names[begin + at - 4]
        else:
            block[at - first] = others[second + at - 4 - length]


@compiled(f"void({_WORDS}, {BYTES}, {_INTS}, {_INTS}, {BYTES}, {_INTS}, {_INTS}, uint64[:, ::1])")
def _digest(keyed: U64, names: Bytes, ends: I64, which: I64, others: Bytes, other_ends: I64, other: I64, found: U64) -> None:
    """Name n lies from `ends[n]` to `ends[n + 1]`; a message is one of `names` with its length before it, and one of `others`."""
    state, v, block = np.empty(8, np.uint64), np.empty(16, np.uint64), np.empty(16, np.uint64)
    laid = block.view(np.uint8)
    for row in range(len(which)):
        begin, length = ends[which[row]], ends[which[row] + 1] - ends[which[row]]
        second, size = other_ends[other[row]], 4 + length + other_ends[other[row] + 1] - other_ends[other[row]]
        for place in range(8):
            state[place] = keyed[place]
        for first in range(0, size, 128):
            _lay(laid, first, size, names, begin, length, others, second)
            _compress(state, block, v, uint64(128 + min(first + 128, size)), first + 128 >= size)
        found[row, 0], found[row, 1] = state[0], state[1]


class Keyed:
    """The hash under one key of 16 bytes."""

    def __init__(self, key: bytes) -> None:
        self._state = _BEGIN.copy()
        self._state[0] ^= np.uint64(0x01010000 | len(key) << 8 | SIZE)
        _take_key(self._state, np.frombuffer(struct.pack("128s", key), np.uint64))

    def digests(self, names: tuple[Bytes, I64], which: I64, others: tuple[Bytes, I64], other: I64) -> U64:
        """(n, 2) words: the digest of each of `names` with its length before it and one of `others` behind it, both by their numbers."""
        found = np.empty((len(which), 2), np.uint64)
        _digest(self._state, *names, np.ascontiguousarray(which), *others, np.ascontiguousarray(other), found)
        return found
