"""Postings are added to rows: of each row of a stretch one sum, count, fence and hash, taken together (law 2).

Sums are exact: numbers are cut into limbs of 32 bits, and limbs are summed as binary64, in which every sum of at most 2²¹ of them is a whole
number below 2⁵³ and so exact (law 11).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.probing import Slots
from streams.rows import Row, revision
from streams.state import PartitionState

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
_MOST: Final = 1 << 21
"""Postings of one sum: 2²¹ limbs below 2³² stay below 2⁵³."""
_LIMB: Final = np.uint64(32)
_MASK: Final = np.uint64((1 << 32) - 1)


def add(state: PartitionState, slots: Slots, of: I64, offsets: I64, amounts: U64, digests: U32) -> None:
    """Add postings: `of` says to which of the rows each belongs, which are all different; offsets ascend. An amount has at most 101 bits
    (`topics.quantity.LIMIT`), so no sum leaves its 128."""
    if len(of) > _MOST:
        raise AssertionError(f"{len(of)} postings are more than one exact sum takes")
    store, count = state.rows.store, len(slots)
    first, last = np.full(count, 1 << 62, np.int64), np.full(count, -1, np.int64)
    np.minimum.at(first, of, offsets)
    np.maximum.at(last, of, offsets)
    columns, sums = store.columns, words(_limb_sums(amounts.view(np.uint32), of, count))
    store.add(slots, sums[:, 0], sums[:, 1].view(np.int64))
    store.add_hashes(slots, words(_limb_sums(digests, of, count)))
    columns["events"][slots] += np.bincount(of, minlength=count)
    columns["generation"][slots], columns["through"][slots] = state.generation, last
    begun = columns["first_offset"][slots]
    columns["first_offset"][slots] = np.where(begun < 0, first, begun)
    state.counters.postings += len(of)


def add_one(state: PartitionState, row: Row, offset: int, scaled: int, digest: int) -> None:
    """Add one posting. The row takes sum, count, offsets and hash together."""
    row.content_hash += digest
    row.scaled += scaled
    row.events += 1
    row.rev = revision(state.generation, offset)
    if row.first_offset < 0:
        row.first_offset = offset
    state.counters.postings += 1


def _limb_sums(limbs: U32, of: I64, count: int) -> U64:
    sums = np.zeros((count, limbs.shape[1]), np.uint64)
    for place in range(limbs.shape[1]):
        sums[:, place] = np.bincount(of, limbs[:, place], count)
    return sums


def words(sums: U64) -> U64:
    """Σ sums[i] · 2³²ⁱ of each row in words of 64 bits, without what is carried out of the last."""
    limbs = np.zeros(sums.shape, np.uint32)
    carry = np.zeros(len(sums), np.uint64)
    for place in range(sums.shape[1]):
        total = sums[:, place] + carry
        limbs[:, place] = total & _MASK
        carry = total >> _LIMB
    return limbs.view(np.uint64)
