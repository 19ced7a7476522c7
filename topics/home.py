"""Law 1: a customer's home partition is murmur2(key) mod partitions, for ever.

The hash of Kafka's Java client and of aiokafka (`org.apache.kafka.common.utils.Utils.murmur2`);
librdkafka's default is CRC32, a real producer's trap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEED: Final = 0x9747B28C
_MAGIC: Final = 0x5BD1E995
_LONG_BYTES: Final = 256
"""A longer key is hashed alone: it would widen the table of all others of its length in vain."""


def murmur2(data: bytes) -> int:
    """Kafka's murmur2, 32 bits, unsigned."""
    length = len(data)
    mask = 0xFFFFFFFF
    magic = _MAGIC
    h = (_SEED ^ length) & mask
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * magic) & mask
        k ^= k >> 24
        k = (k * magic) & mask
        h = (h * magic) & mask
        h ^= k
    tail = data[whole:]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = (h * magic) & mask
    h ^= h >> 13
    h = (h * magic) & mask
    h ^= h >> 15
    return h


def home_of(key: bytes, partitions: int) -> int:
    """The one partition on which this key's events are counted."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def homes_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """`home_of` of many keys, a tenth of the work each: those of one length are hashed together."""
    by_length: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        by_length.setdefault(len(key), []).append(place)
    homes = [0] * len(keys)
    for length, places in by_length.items():
        if length > _LONG_BYTES or not length:
            found = [home_of(keys[place], partitions) for place in places]
        else:
            joined = np.frombuffer(b"".join([keys[place] for place in places]), np.uint8).reshape(len(places), length)
            found = ((_murmur2_of(joined) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).tolist()
        for place, home in zip(places, found, strict=True):
            homes[place] = home
    return homes


def _murmur2_of(keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Kafka's murmur2 of keys of one length, one a row. Products are taken modulo 2³², as numpy's unsigned arrays do."""
    count, length = keys.shape
    words = -(-length // 4)
    padded = np.zeros((count, 4 * words), np.uint8)
    padded[:, :length] = keys
    blocks = padded.view("<u4")
    magic = np.uint32(_MAGIC)
    h = np.full(count, _SEED ^ length, np.uint32)
    for place in range(length // 4):
        k = blocks[:, place] * magic
        k ^= k >> np.uint32(24)
        h = (h * magic) ^ (k * magic)
    if length % 4:
        h = (h ^ blocks[:, -1]) * magic
    h ^= h >> np.uint32(13)
    h *= magic
    return np.asarray(h ^ (h >> np.uint32(15)))
