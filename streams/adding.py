"""Postings are added to rows: of each row of a stretch one sum, count, fence and hash, taken together (law 2).

Sums are exact: numbers are cut into limbs of 32 bits, and limbs are summed in 64 bits, which no sum of at most 2³² of them leaves (law 11).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.grouping import sum_up
from streams.probing import Slots
from streams.rows import Row, revision
from streams.state import PartitionState

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
_MOST: Final = 1 << 32
"""Postings of one sum: so many limbs below 2³² stay below 2⁶⁴."""
_LIMB: Final = np.uint64(32)
_MASK: Final = np.uint64((1 << 32) - 1)


def add(state: PartitionState, slots: Slots, of: I64, offsets: I64, amounts: U64, digests: U32) -> None:
    """Add postings: `of` says to which of the rows each belongs, which are all different; offsets ascend. An amount has at most 101 bits
    (`topics.quantity.LIMIT`), so no sum leaves its 128."""
    if len(of) > _MOST:
        raise AssertionError(f"{len(of)} postings are more than one exact sum takes")
    store, count = state.rows.store, len(slots)
    spans, limbs, hashes = np.zeros((count, 3), np.int64), np.zeros((count, 4), np.uint64), np.zeros((count, 8), np.uint64)
    spans[:, 1:] = 1 << 62, -1
    sum_up(of, offsets, amounts.view(np.uint32), digests, spans, limbs, hashes)
    columns, sums = store.columns, words(limbs)
    store.add(slots, sums[:, 0], sums[:, 1].view(np.int64))
    store.add_hashes(slots, words(hashes))
    columns["events"][slots] += spans[:, 0]
    columns["generation"][slots], columns["through"][slots] = state.generation, spans[:, 2]
    begun = columns["first_offset"][slots]
    columns["first_offset"][slots] = np.where(begun < 0, spans[:, 1], begun)
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


def words(sums: U64) -> U64:
    """Σ sums[i] · 2³²ⁱ of each row in words of 64 bits, without what is carried out of the last."""
    limbs = np.zeros(sums.shape, np.uint32)
    carry = np.zeros(len(sums), np.uint64)
    for place in range(sums.shape[1]):
        total = sums[:, place] + carry
        limbs[:, place] = total & _MASK
        carry = total >> _LIMB
    return limbs.view(np.uint64)
