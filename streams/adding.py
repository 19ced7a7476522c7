"""Postings are added to rows: of each row of a stretch one sum, count, fence and hash, taken together (law 2).

Sums are exact: numbers are cut into limbs of 32 bits, and limbs are summed as binary64, in which every sum of at most 2²¹ of them is a whole
number below 2⁵³ and so exact (law 11).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.rows import Row, revision
from streams.state import PartitionState

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
_MOST: Final = 1 << 21
"""Postings of one sum: 2²¹ limbs below 2³² stay below 2⁵³."""
_LIMB: Final = np.uint64(32)
_MASK: Final = np.uint64((1 << 32) - 1)


def add(state: PartitionState, changed: list[Row], rows: list[Row], of: I64, offsets: I64, amounts: U64, digests: U32) -> None:
    """Add postings: `of` names the row of each, which are all different; offsets ascend. Rows that this step had not changed go to `changed`."""
    if len(of) > _MOST:
        raise AssertionError(f"{len(of)} postings are more than one exact sum takes")
    count = len(rows)
    events = np.bincount(of, minlength=count).tolist()
    first, last = np.full(count, 1 << 62, np.int64), np.full(count, -1, np.int64)
    np.minimum.at(first, of, offsets)
    np.maximum.at(last, of, offsets)
    scaled = signed_sums(amounts, of, count)
    hashes = _integers(_limb_sums(digests, of, count))
    base = revision(state.generation, 0)
    for row, more, total, digest, begin, through in zip(rows, events, scaled, hashes, first.tolist(), last.tolist(), strict=True):
        if _take(state, row, total, more, digest, begin, base | through):
            changed.append(row)
    state.counters.postings += len(of)


def add_one(state: PartitionState, changed: list[Row], row: Row, offset: int, scaled: int, digest: int) -> None:
    """Add one posting."""
    if _take(state, row, scaled, 1, digest, offset, revision(state.generation, offset)):
        changed.append(row)
    state.counters.postings += 1


def _take(state: PartitionState, row: Row, scaled: int, events: int, digest: int, first_offset: int, rev: int) -> bool:
    """A row takes sum, count, offsets and hash together (law 2). True where this step had not changed it yet."""
    row.content_hash += digest
    row.scaled += scaled
    row.events += events
    row.rev = rev
    if row.mark == state.step_number:
        return False
    row.mark = state.step_number
    if row.first_offset < 0:
        row.first_offset = first_offset
        row.own = row.window.customer in state.definitions.clocks
        state.rows.add(row)
    return True


def signed_sums(amounts: U64, of: I64, count: int) -> list[int]:
    """Sums of 128-bit numbers, two's complement, by where they belong."""
    sums = _integers(_limb_sums(amounts.view(np.uint32), of, count))
    negative = amounts[:, 1] >> np.uint64(63) != 0
    if negative.any():
        # each negative number was read as 2¹²⁸ more than it is
        for place, times in enumerate(np.bincount(of[negative], minlength=count).tolist()):
            sums[place] -= times << 128
    return sums


def _limb_sums(limbs: U32, of: I64, count: int) -> U64:
    sums = np.zeros((count, limbs.shape[1]), np.uint64)
    for place in range(limbs.shape[1]):
        sums[:, place] = np.bincount(of, limbs[:, place], count)
    return sums


def _integers(sums: U64) -> list[int]:
    """Σ sums[i] · 2³²ⁱ of each row."""
    count, width = sums.shape
    limbs = np.zeros((count, width + 1), np.uint32)
    carry = np.zeros(count, np.uint64)
    for place in range(width):
        total = sums[:, place] + carry
        limbs[:, place] = total & _MASK
        carry = total >> _LIMB
    limbs[:, width] = carry
    data, size = limbs.tobytes(), 4 * (width + 1)
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
