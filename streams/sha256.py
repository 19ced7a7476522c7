"""SHA-256 of many short messages side by side: 32 of them take each step together, so that the processor does eight at once.

A call of the library's SHA-256 costs a microsecond, most of it for the call; here a block of 64 bytes costs about 0.04 µs. `hashlib` is what says
what is right (`tests/core/test_hashing.py`). A message is laid out where it is hashed: a head, an id with its length before it, three words.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy import uint32
from numpy.typing import NDArray

from topics.compiled import compiled, inlined

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
LANES: Final = 32
"""Messages at once: the loops over them are what the compiler turns into instructions on eight numbers each."""
LONGEST: Final = 1000
"""Bytes of the longest message taken: one long one would have 31 short ones wait for it."""
TAIL: Final = 24
"""Time, 8 bytes, and quantity, 16."""
_STRIDE: Final = 1088
"""Bytes of a lane's message with its padding; 17 cache lines, so that lanes do not meet in one set of the cache."""
_A, _B, _C, _D, _E, _F, _G, _H = (place * LANES for place in range(8))
_W: Final = 8 * LANES
"""The words of the block, after the eight of the state."""
_ROUND: Final = np.array(
    [
        0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
        0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
        0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
        0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
        0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
        0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
        0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
        0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
    ],
    np.uint32,
)
"""What the standard adds in each round: of the cube roots of the first 64 primes the first 32 bits behind the point."""
_BEGIN: Final = np.array([0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                          0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32)  # fmt: skip
"""The state before the first block: the same of the square roots of the first eight."""


@inlined
def _step(s: U32, constant: np.uint32, word: int, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> None:
    """One round in all lanes. Nothing is moved: the next round calls the eight places by other names."""
    for lane in range(LANES):
        x = s[lane + e]
        turned = uint32(uint32(uint32(x >> uint32(6)) | uint32(x << uint32(26))) ^ uint32(uint32(x >> uint32(11)) | uint32(x << uint32(21))))
        turned = uint32(turned ^ uint32(uint32(x >> uint32(25)) | uint32(x << uint32(7))))
        chosen = uint32(uint32(x & uint32(s[lane + f] ^ s[lane + g])) ^ s[lane + g])
        first = uint32(uint32(turned + chosen) + uint32(uint32(s[lane + h] + constant) + s[lane + word]))
        y = s[lane + a]
        turned = uint32(uint32(uint32(y >> uint32(2)) | uint32(y << uint32(30))) ^ uint32(uint32(y >> uint32(13)) | uint32(y << uint32(19))))
        turned = uint32(turned ^ uint32(uint32(y >> uint32(22)) | uint32(y << uint32(10))))
        most = uint32(uint32(y & s[lane + b]) | uint32(s[lane + c] & uint32(y | s[lane + b])))
        s[lane + d] = uint32(s[lane + d] + first)
        s[lane + h] = uint32(first + uint32(turned + most))


@inlined
def _compress(s: U32) -> None:
    """The rounds of one block in all lanes: `s` holds eight rows of the state, then 64 of words, of which the first 16 are given."""
    for t in range(16, 64):
        at = _W + t * LANES
        for lane in range(LANES):
            x, y = s[at - 15 * LANES + lane], s[at - 2 * LANES + lane]
            left = uint32(uint32(uint32(x >> uint32(7)) | uint32(x << uint32(25))) ^ uint32(uint32(x >> uint32(18)) | uint32(x << uint32(14))))
            right = uint32(uint32(uint32(y >> uint32(17)) | uint32(y << uint32(15))) ^ uint32(uint32(y >> uint32(19)) | uint32(y << uint32(13))))
            left, right = uint32(left ^ uint32(x >> uint32(3))), uint32(right ^ uint32(y >> uint32(10)))
            s[at + lane] = uint32(uint32(s[at - 16 * LANES + lane] + left) + uint32(s[at - 7 * LANES + lane] + right))
    for eight in range(8):
        t = 8 * eight
        w = _W + t * LANES
        _step(s, _ROUND[t], w, _A, _B, _C, _D, _E, _F, _G, _H)
        _step(s, _ROUND[t + 1], w + LANES, _H, _A, _B, _C, _D, _E, _F, _G)
        _step(s, _ROUND[t + 2], w + 2 * LANES, _G, _H, _A, _B, _C, _D, _E, _F)
        _step(s, _ROUND[t + 3], w + 3 * LANES, _F, _G, _H, _A, _B, _C, _D, _E)
        _step(s, _ROUND[t + 4], w + 4 * LANES, _E, _F, _G, _H, _A, _B, _C, _D)
        _step(s, _ROUND[t + 5], w + 5 * LANES, _D, _E, _F, _G, _H, _A, _B, _C)
        _step(s, _ROUND[t + 6], w + 6 * LANES, _C, _D, _E, _F, _G, _H, _A, _B)
        _step(s, _ROUND[t + 7], w + 7 * LANES, _B, _C, _D, _E, _F, _G, _H, _A)


@inlined
def _swapped(x: np.uint32) -> np.uint32:
    """The four bytes in the other order."""
    inner = uint32(uint32(uint32(x >> uint32(8)) & uint32(0xFF00)) | uint32(uint32(x << uint32(8)) & uint32(0xFF0000)))
    return uint32(uint32(uint32(x >> uint32(24)) | uint32(x << uint32(24))) | inner)


@inlined
def _write(to: U8, at: int, number: np.uint64, count: int) -> None:
    """The low bytes of a number, the lowest first."""
    for byte in range(np.uint64(count)):
        to[np.uint64(at) + byte] = np.uint8((number >> np.uint64(8) * byte) & np.uint64(0xFF))


@inlined
def _copy(to: U8, at: int, source: U8, start: int, count: int) -> None:
    for byte in range(np.uint64(count)):
        to[np.uint64(at) + byte] = source[np.uint64(start) + byte]


@inlined
def _pad(to: U8, begin: int, size: int) -> int:
    """A 1 bit, zeros, and the message's length in bits at the end of its last block; returns how many blocks it has."""
    blocks = (size + 72) >> 6
    end = begin + (blocks << 6)
    to[begin + size] = np.uint8(0x80)
    for at in range(np.uint64(begin + size + 1), np.uint64(end - 4)):
        to[at] = np.uint8(0)
    for byte in range(4):
        to[end - 1 - byte] = np.uint8(((8 * size) >> (8 * byte)) & 0xFF)
    return blocks


@inlined
def _lay_out(data: U8, at: int, heads: U8, head: int, head_size: int, ids: U8, name: int, id_size: int, moment: int, amount: U64) -> int:
    """Write a message from `at` on; returns how many blocks it has, 0 where it is too long."""
    size = head_size + 4 + id_size + TAIL
    if size > LONGEST:
        return 0
    _copy(data, at, heads, head, head_size)
    _write(data, at + head_size, np.uint64(id_size), 4)
    _copy(data, at + head_size + 4, ids, name, id_size)
    end = at + head_size + 4 + id_size
    _write(data, end, np.uint64(moment), 8)
    _write(data, end + 8, amount[0], 8)
    _write(data, end + 16, amount[1], 8)
    return _pad(data, at, size)


@inlined
def _load(s: U32, words: U32, block: int) -> None:
    """The words of one block of all lanes."""
    for t in range(16):
        for lane in range(LANES):
            s[_W + t * LANES + lane] = _swapped(words[lane * (_STRIDE // 4) + 16 * block + t])


@inlined
def _hash(s: U32, sums: U32, words: U32, blocks: I64, found: U32, first: int) -> None:
    """Digests of the messages that are laid out."""
    for place in range(8):
        sums[place * LANES : (place + 1) * LANES] = _BEGIN[place]
    for block in range(blocks.max()):
        _load(s, words, block)
        s[: 8 * LANES] = sums
        _compress(s)
        for at in range(8 * LANES):
            sums[at] = uint32(sums[at] + s[at])
        for lane in np.flatnonzero(blocks == block + 1):
            for place in range(8):
                found[first + lane, place] = _swapped(sums[place * LANES + lane])


@compiled(
    "void(Array(uint8, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), Array(uint8, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), Array(uint64, 2, 'C', readonly=True), uint32[:, ::1])"
)
def digest(heads: U8, head_ends: I64, ids: U8, id_ends: I64, moments: I64, amounts: U64, found: U32) -> None:
    """Of each message its digest, the first byte in the lowest bits. A message: its head; its id's length in 4 bytes, the id; time; quantity.
    Heads and ids lie one behind the other; each of the `ends` is where one ends. Messages above `LONGEST` are left out.
    """
    count = len(moments)
    s, sums = np.zeros(72 * LANES, np.uint32), np.zeros(8 * LANES, np.uint32)
    data = np.zeros(LANES * _STRIDE, np.uint8)
    words, blocks = data.view(np.uint32), np.zeros(LANES, np.int64)
    head, name = np.int64(0), np.int64(0)
    for first in range(0, count, LANES):
        blocks[:] = 0
        for row in range(first, min(first + LANES, count)):
            head_end, id_end, lane = head_ends[row], id_ends[row], row - first
            blocks[lane] = _lay_out(
                data, lane * _STRIDE, heads, int(head), head_end - head, ids, int(name), id_end - name, moments[row], amounts[row]
            )
            head, name = head_end, id_end
        _hash(s, sums, words, blocks, found, first)
