"""Pages of the index of ids (`streams/id_index.py`), one id after the other: compiled, for each of them looks at two places far apart in memory.

`marks` and `held` are the index's two columns, a page of slots after the other; `pages` and `base` say which page a word of a digest names.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy import int64, uint64
from numpy.typing import NDArray

from topics.compiled import compiled, inlined

U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
PAGE: Final = 16
"""Slots of a page: 32 bytes of marks, half a cache line, and 64 of places, one line."""
_AHEAD: Final = 64
"""Ids of which the pages are fetched from memory together: alone, each would wait for its own."""
_LOW: Final = np.uint64(0x0001000100010001)
_HIGH: Final = np.uint64(0x8000800080008000)
_INDEX: Final = "uint16[::1], uint32[::1], int64, int64"
_DIGESTS: Final = "Array(uint64, 2, 'C', readonly=True)"
_NUMBERS: Final = "Array(int64, 1, 'C', readonly=True)"


@inlined
def _page_of(word: uint64, pages: int, base: int) -> uint64:
    """The page that a word names: where that is not split yet, the one that it will be split from."""
    page = uint64(word & uint64(2 * base - 1))
    return uint64(page - uint64(base)) if page >= uint64(pages) else page


@inlined
def _mark_of(word: uint64) -> np.uint16:
    """The top bits of the first word, which name no page; never 0, which is the mark of slots that nobody took."""
    return np.uint16(max(np.uint16(word >> uint64(48)), np.uint16(1)))


@inlined
def _free_in(held: U32, page: uint64, first: np.uint32) -> np.int32:
    """How many slots of a page are free."""
    at, free = page * uint64(PAGE), np.int32(0)
    for slot in range(uint64(PAGE)):
        free = np.int32(free + np.int32(held[at + slot] < first))
    return free


@inlined
def _take(marks: U16, held: U32, page: uint64, first: np.uint32, mark: np.uint16, place: int64) -> None:
    """Give the page's lowest free slot away; it has one."""
    at = page * uint64(PAGE)
    while held[at] >= first:
        at += uint64(1)
    marks[at], held[at] = mark, np.uint32(place)


@inlined
def _look_up(digests: U64, begin: int, end: int, pages: int, base: int, found: U64) -> None:
    """The two pages of each of some ids."""
    for row in range(uint64(begin), uint64(end)):
        at = (row - uint64(begin)) * uint64(2)
        found[at], found[at + uint64(1)] = _page_of(digests[row, 0], pages, base), _page_of(digests[row, 1], pages, base)


@compiled(f"int64({_INDEX}, {_DIGESTS}, {_NUMBERS}, int64, int64[::1])")
def fill(marks: U16, held: U32, pages: int, base: int, digests: U64, places: I64, first: int, left: I64) -> int:
    """Give ids a slot of the emptier of their two pages each. Returns how many found both full, whose rows are written to `left`."""
    full, oldest, both, fetched = 0, np.uint32(first), np.zeros(2 * _AHEAD, np.uint64), np.zeros(2 * _AHEAD, np.uint32)
    for begin in range(0, len(digests), _AHEAD):
        end = min(begin + _AHEAD, len(digests))
        _look_up(digests, begin, end, pages, base, both)
        for at in range(uint64(2 * (end - begin))):
            fetched[at] = held[both[at] * uint64(PAGE)] ^ held[both[at] * uint64(PAGE) + uint64(PAGE - 1)] ^ marks[both[at] * uint64(PAGE)]
        for row in range(uint64(begin), uint64(end)):
            one = (row - uint64(begin)) * uint64(2)
            free, more = _free_in(held, both[one], oldest), _free_in(held, both[one + uint64(1)], oldest)
            if max(free, more) > 0:
                _take(marks, held, both[one + uint64(more > free)], oldest, _mark_of(digests[row, 0]), places[row])
            else:
                left[full] = row
                full += 1
    return full


@compiled(f"void({_INDEX}, {_DIGESTS}, {_NUMBERS}, int64, int64, int64)")
def relieve(marks: U16, held: U32, pages: int, base: int, digests: U64, slots: I64, first: int, left_free: int, most: int) -> None:
    """Move ids that stand in `slots` to their other page where that has more than `left_free` free slots, at most `most` of those that follow
    each other in one page."""
    oldest, last, moved = np.uint32(first), uint64(0), 0
    others, fetched = np.zeros(len(slots), np.uint64), np.zeros(len(slots), np.uint32)
    for row in range(len(slots)):
        page = uint64(slots[row]) // uint64(PAGE)
        other = uint64(_page_of(digests[row, 0], pages, base) + _page_of(digests[row, 1], pages, base) - page)
        others[row] = other if other < uint64(pages) else page
        fetched[row] = held[others[row] * uint64(PAGE)] ^ held[others[row] * uint64(PAGE) + uint64(PAGE - 1)]
    for row in range(len(slots)):
        slot, other = uint64(slots[row]), others[row]
        page = slot // uint64(PAGE)
        if page != last or not row:
            last, moved = page, 0
        if moved < most and other != page and _free_in(held, other, oldest) > left_free:
            _take(marks, held, other, oldest, marks[slot], int64(held[slot]))
            held[slot] = np.uint32(0)
            moved += 1


@compiled(f"void({_INDEX}, int64, {_DIGESTS}, {_NUMBERS})")
def split(marks: U16, held: U32, pages: int, base: int, count: int, digests: U64, slots: I64) -> None:
    """Split `count` pages, of which `slots` are held: an id moves to the same slot of the new page where one more bit of its word says so."""
    begin = uint64((pages - base) * PAGE)
    for at in range(uint64(pages * PAGE), uint64((pages + count) * PAGE)):
        held[at], marks[at] = np.uint32(0), np.uint16(0)
    for row in range(len(slots)):
        slot = uint64(slots[row])
        page = slot // uint64(PAGE)
        # It stands here by its first word or by its second; where both name this page, either will find it again.
        word = digests[row, 0] if uint64(digests[row, 0] & uint64(base - 1)) == page else digests[row, 1]
        if uint64(word & uint64(base)) != uint64(0):
            goes = uint64(pages * PAGE) + (slot - begin)
            held[goes], marks[goes] = held[slot], marks[slot]
            held[slot], marks[slot] = np.uint32(0), np.uint16(0)


@inlined
def _is_alike(words: U64, page: uint64, pattern: uint64) -> bool:
    """True where one of a page's marks, four in a word, may be the one in each quarter of `pattern`: a quarter that is 0 borrows from its top."""
    at = page * uint64(PAGE // 4)
    a, b, c, d = words[at] ^ pattern, words[at + uint64(1)] ^ pattern, words[at + uint64(2)] ^ pattern, words[at + uint64(3)] ^ pattern
    zeros = ((a - _LOW) & ~a) | ((b - _LOW) & ~b) | ((c - _LOW) & ~c) | ((d - _LOW) & ~d)
    return bool((zeros & _HIGH) != uint64(0))


@inlined
def _note(marks: U16, page: uint64, mark: np.uint16, row: uint64, rows: I64, slots: I64, found: int) -> int:
    """Write down which slots of a page have a mark; returns how many are found by now."""
    for slot in range(page * uint64(PAGE), (page + uint64(1)) * uint64(PAGE)):
        if marks[slot] == mark:
            if found < len(rows):
                rows[found], slots[found] = row, slot
            found += 1
    return found


@compiled(f"int64({_INDEX}, {_DIGESTS}, int64[::1], int64[::1])")
def candidates(marks: U16, _held: U32, pages: int, base: int, digests: U64, rows: I64, slots: I64) -> int:
    """Rows of `digests` and the slots of their two pages that have their mark; returns how many, of which as many are written as find room."""
    found, both, alike, words = 0, np.zeros(2 * _AHEAD, np.uint64), np.zeros(2 * _AHEAD, np.uint8), marks.view(np.uint64)
    for begin in range(0, len(digests), _AHEAD):
        end = min(begin + _AHEAD, len(digests))
        _look_up(digests, begin, end, pages, base, both)
        for at in range(uint64(2 * (end - begin))):
            pattern = uint64(_mark_of(digests[uint64(begin) + at // uint64(2), 0])) * _LOW
            alike[at] = _is_alike(words, both[at], pattern)
        for at in range(uint64(2 * (end - begin))):
            if alike[at]:
                row = uint64(begin) + at // uint64(2)
                found = _note(marks, both[at], _mark_of(digests[row, 0]), row, rows, slots, found)
    return found
