"""Where a key belongs, and the content hash of a window, written again from their descriptions."""

from __future__ import annotations

import hashlib
import zlib
from fractions import Fraction

U32 = 2**32


def java_partition(key: bytes, partitions: int) -> int:
    """The partition that Kafka's Java client chooses: murmur2 of the key, made positive, modulo the count."""
    words, rest = divmod(len(key), 4)
    state = 0x9747B28C ^ len(key)
    for number in range(words):
        word = int.from_bytes(key[4 * number : 4 * number + 4], "little") * 0x5BD1E995 % U32
        word = (word ^ word >> 24) * 0x5BD1E995 % U32
        state = state * 0x5BD1E995 % U32 ^ word
    if rest:
        state = (state ^ int.from_bytes(key[4 * words :], "little")) * 0x5BD1E995 % U32
    state = (state ^ state >> 13) * 0x5BD1E995 % U32
    state ^= state >> 15
    return state % 2**31 % partitions


def librdkafka_partition(key: bytes, partitions: int) -> int:
    """The partition that librdkafka's default partitioner chooses for a key: CRC32 modulo the count."""
    return zlib.crc32(key) % partitions


def posting_digest(customer: str, meter: str, source: str, event_id: str, occurred_at_us: int, quantity: Fraction) -> int:
    """One event's share of a window's hash: SHA-256 over length-prefixed names, microseconds and quantity × 10¹²."""
    scaled = quantity * 10**12
    assert scaled.denominator == 1
    body = b""
    for text in (customer, meter, source, event_id):
        data = text.encode()
        body += len(data).to_bytes(4, "little") + data
    body += occurred_at_us.to_bytes(8, "little", signed=True) + int(scaled).to_bytes(16, "little", signed=True)
    return int.from_bytes(hashlib.sha256(body).digest(), "little")


def window_hash(digests: int) -> str:
    """The hash of a window as it is shown: the sum of its events' digests modulo 2²⁵⁶, 64 hex digits."""
    return f"{digests % 2**256:064x}"
