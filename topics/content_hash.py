"""The content hash of a window: Σ mod 2²⁵⁶ over its counted events of SHA-256 of the event, so order-free and recomputable by anyone.

Hashed bytes of one posting: for each of customer, meter, source, id: length as u32 little-endian, then the UTF-8 bytes; then occurred_at as
i64 little-endian microseconds; then the quantity × 10¹² as i128 little-endian. The digest is read as a little-endian 256-bit integer.
The fields that repeat come first, so that a prefix can be kept. It detects loss and error; it is no seal against forgery (DESIGN §4).
"""

from __future__ import annotations

import hashlib
import struct

MODULUS = 1 << 256
_tail = struct.Struct("<q")


def field(text: str) -> bytes:
    """One length-prefixed field."""
    data = text.encode()
    return len(data).to_bytes(4, "little") + data


def posting_hash(prefix: bytes, event_id: str, occurred_at_us: int, scaled: int) -> int:
    """Hash of one posting; `prefix` = field(customer) + field(meter) + field(source)."""
    data = prefix + field(event_id) + _tail.pack(occurred_at_us) + scaled.to_bytes(16, "little", signed=True)
    return int.from_bytes(hashlib.sha256(data).digest(), "little")


def event_hash(customer: str, meter: str, source: str, event_id: str, occurred_at_us: int, scaled: int) -> int:
    """Hash of one posting from its fields (the naive form that proofs and tests use)."""
    return posting_hash(field(customer) + field(meter) + field(source), event_id, occurred_at_us, scaled)
