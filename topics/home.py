"""Law 1: a customer's home partition is murmur2(key) mod partitions, for ever.

The hash of Kafka's Java client and of aiokafka (`org.apache.kafka.common.utils.Utils.murmur2`);
librdkafka's default is CRC32, a real producer's trap. Many names at once: `streams/homes.py`.
"""

from __future__ import annotations

from typing import Final

_SEED: Final = 0x9747B28C
_MAGIC: Final = 0x5BD1E995


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
