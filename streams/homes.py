"""Law 1 of many customers: whether they are at home here, by Kafka's murmur2 (`topics/home.py` says what is right), compiled."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy import uint32
from numpy.typing import NDArray

from topics.compiled import compiled
from topics.scan_values import BYTES, Bytes

I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
_SEED: Final = np.uint32(0x9747B28C)
_MAGIC: Final = np.uint32(0x5BD1E995)


@compiled(f"void({BYTES}, Array(int64, 1, 'C', readonly=True), int64, int64, boolean[::1])")
def at_home(names: Bytes, ends: I64, partition: int, partitions: int, found: Mask) -> None:
    """Name n lies from `ends[n]` to `ends[n + 1]`."""
    for row in range(len(found)):
        begin, end = ends[row], ends[row + 1]
        whole = begin + ((end - begin) & ~3)
        h = uint32(_SEED ^ uint32(end - begin))
        for at in range(begin, whole, 4):
            k = uint32(names[at]) | uint32(uint32(names[at + 1]) << uint32(8))
            k = uint32(k | uint32(uint32(names[at + 2]) << uint32(16)) | uint32(uint32(names[at + 3]) << uint32(24)))
            k = uint32(k * _MAGIC)
            k = uint32(uint32(k ^ uint32(k >> uint32(24))) * _MAGIC)
            h = uint32(uint32(h * _MAGIC) ^ k)
        if whole < end:
            for at in range(whole, end):
                h = uint32(h ^ uint32(uint32(names[at]) << uint32(8 * (at - whole))))
            h = uint32(h * _MAGIC)
        h = uint32(uint32(h ^ uint32(h >> uint32(13))) * _MAGIC)
        h = uint32(h ^ uint32(h >> uint32(15)))
        found[row] = np.int64(h & uint32(0x7FFFFFFF)) % partitions == partition
