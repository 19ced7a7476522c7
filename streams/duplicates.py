"""Law 6, duplicates: the ids that were counted, as 128-bit keyed digests in one open-addressing table, and when they are forgotten.

An id lies in the bucket of the hour of the log's now at its offset; a bucket is dead when the log's now has passed its end + `dedup`. Whether an
id is live is a rule over its bucket, never a matter of when memory was tidied, so a replay gives the same verdicts.
The digest is AES-128 in CBC-MAC over the id, padded by one 1 bit and zeros (so that no two ids are padded alike), its first block keyed by
(customer, source); the key is random, kept in the changelog: ids are chosen by producers, and an unkeyed hash would let one craft two ids that
read as one.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
HOUR_MS: Final = 3_600_000
KEY_BYTES: Final = 16
_LOAD: Final = 0.6
"""Share of used slots at which the table is rebuilt: linear probing stays at under two probes."""
_SHIFT: Final = np.uint64(32)


def dead_before(now_ms: int, dedup_ms: int) -> int:
    """Buckets (hours since 1970) below this are dead at the log's `now_ms`."""
    return (now_ms - dedup_ms) // HOUR_MS


class Digester:
    """Keyed digests of event ids, a whole batch at a time."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.name = hashlib.blake2b(key, digest_size=8).digest()
        """Names the key without telling it."""
        # ECB is the bare block cipher; the chaining below makes it a MAC
        self._encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update  # noqa: S305

    def prefix(self, customer: str, source: str) -> bytes:
        """The keyed first block of all ids of one customer and source."""
        name = customer.encode()
        return hashlib.blake2b(len(name).to_bytes(4, "little") + name + source.encode(), digest_size=16, key=self.key).digest()

    def digests(self, prefixes: list[bytes], ids: list[bytes]) -> U64:
        """An (n, 2) array of digests of UTF-8 ids; row i depends only on prefixes[i] and ids[i]."""
        n = len(ids)
        lengths = np.fromiter(map(len, ids), np.int64, n)
        blocks = int(lengths.max()) // 16 + 1
        # One very long id must not blow up the whole batch's matrix: such a batch is digested in two parts.
        if blocks > 8 and n > 1:
            return self._by_length(prefixes, ids, lengths)
        padded = np.frombuffer(bytearray(b"").join([item.ljust(blocks * 16, b"\0") for item in ids]), np.uint8).reshape(n, blocks * 16)
        padded[np.arange(n), lengths] = 0x80
        data = padded.view(np.uint64)
        state = np.frombuffer(b"".join(prefixes), np.uint64).reshape(n, 2)
        for block in range(blocks):
            mixed = self._aes(state ^ data[:, 2 * block : 2 * block + 2])
            state = mixed if block == 0 else np.where((lengths >= 16 * block)[:, None], mixed, state)
        return state

    def _by_length(self, prefixes: list[bytes], ids: list[bytes], lengths: I64) -> U64:
        out = np.empty((len(ids), 2), np.uint64)
        for part in (np.flatnonzero(lengths < 128), *np.split(where := np.flatnonzero(lengths >= 128), len(where))):
            if len(part):
                out[part] = self.digests([prefixes[i] for i in part.tolist()], [ids[i] for i in part.tolist()])
        return out

    def _aes(self, blocks: U64) -> U64:
        return np.frombuffer(self._encrypt(np.ascontiguousarray(blocks).tobytes()), np.uint64).reshape(-1, 2)


class IdTable:
    """Digest → bucket. Batch operations only; `find` is read-only, `put` inserts or moves an id to a newer bucket."""

    def __init__(self, capacity: int = 1 << 12) -> None:
        self.used = 0
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self.capacity = capacity
        self._high = np.zeros(capacity, np.uint64)
        self._low = np.zeros(capacity, np.uint64)
        self._bucket = np.zeros(capacity, np.int32)  # 0: empty (hour 0 of 1970 is no log's now)

    def _home(self, high: U64) -> I64:
        return np.asarray(((high >> _SHIFT) * np.uint64(self.capacity)) >> _SHIFT, np.int64)

    def _slots(self, digests: U64) -> I64:
        """Slot of each digest; −1 where it is not in the table."""
        n = len(digests)
        found = np.full(n, -1, np.int64)
        todo = np.arange(n)
        slot = self._home(digests[:, 0])
        while len(todo):
            used = self._bucket[slot] != 0
            todo, slot = todo[used], slot[used]
            same = (self._high[slot] == digests[todo, 0]) & (self._low[slot] == digests[todo, 1])
            found[todo[same]] = slot[same]
            todo, slot = todo[~same], (slot[~same] + 1) % self.capacity
        return found

    def find(self, digests: U64) -> I64:
        """Bucket of each digest; 0 where it was never put."""
        slots = self._slots(digests)
        return np.where(slots >= 0, self._bucket[slots], 0).astype(np.int64)

    def put(self, digests: U64, buckets: Any, floor: int) -> None:
        """Insert distinct digests; one that is there keeps the greater bucket. Ids in buckets below `floor` may be thrown away."""
        buckets = np.broadcast_to(np.asarray(buckets, np.int32), (len(digests),))
        slots = self._slots(digests)
        there = slots >= 0
        if there.any():
            self._bucket[slots[there]] = np.maximum(self._bucket[slots[there]], buckets[there])
        new = np.flatnonzero(~there)
        if len(new):
            self._reserve(len(new), floor)
            self._claim(digests[new], buckets[new])

    def _reserve(self, more: int, floor: int) -> None:
        if self.used + more <= _LOAD * self.capacity:
            return
        live = np.flatnonzero(self._bucket >= max(floor, 1))
        digests, buckets = np.stack([self._high[live], self._low[live]], axis=1), self._bucket[live]
        wanted = int((len(live) + more) * 2.5)
        self._allocate(max(self.capacity, 1 << wanted.bit_length()) if wanted > self.capacity * _LOAD else self.capacity)
        self.used = 0
        self._claim(digests, buckets)

    def _claim(self, digests: U64, buckets: Any) -> None:
        """Put absent, distinct digests into empty slots; where several want one slot the first gets it."""
        todo = np.arange(len(digests))
        slot = self._home(digests[:, 0])
        while len(todo):
            empty = np.flatnonzero(self._bucket[slot] == 0)
            taken, first = np.unique(slot[empty], return_index=True)
            winner = empty[first]
            self._high[taken], self._low[taken] = digests[todo[winner], 0], digests[todo[winner], 1]
            self._bucket[taken] = buckets[todo[winner]]
            left = np.ones(len(todo), bool)
            left[winner] = False
            todo, slot = todo[left], (slot[left] + 1) % self.capacity
        self.used += len(digests)

    def counts(self, floor: int) -> dict[int, int]:
        """How many digests each bucket from `floor` on holds."""
        buckets, counts = np.unique(self._bucket[self._bucket >= max(floor, 1)], return_counts=True)
        return dict(zip(buckets.tolist(), counts.tolist(), strict=True))

    def in_bucket(self, bucket: int) -> U64:
        """All digests of one bucket."""
        where = np.flatnonzero(self._bucket == bucket)
        return np.stack([self._high[where], self._low[where]], axis=1)


def first_of_each(digests: U64) -> NDArray[np.bool_]:
    """True for the first copy of each digest, in order of the rows."""
    keep = np.ones(len(digests), bool)
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal digests stay in offset order
    ordered = digests[order]
    again = (ordered[1:] == ordered[:-1]).all(axis=1)
    keep[order[1:][again]] = False
    return keep
