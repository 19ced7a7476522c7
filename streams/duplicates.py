"""Law 6, duplicates: the ids that were counted, as 128-bit keyed digests, and when they are forgotten.

Where they are kept: `streams/id_table.py`.

An id lies in the bucket of the hour of the log's now at its offset; a bucket is dead when the log's now has passed its end + `dedup`. Whether an
id is live is a rule over its bucket, never a matter of when memory was tidied, so a replay gives the same verdicts.
The digest is AES-128 in CBC-MAC over the id, padded by one 1 bit and zeros (so that no two ids are padded alike), its first block keyed by
(customer, source); the key is random, kept in the changelog: ids are chosen by producers, and an unkeyed hash would let one craft two ids that
read as one.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from streams.blake2b import Keyed
from streams.names import Names
from topics.scan_values import Bytes

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
HOUR_MS: Final = 3_600_000
KEY_BYTES: Final = 16
ID_BYTES: Final = 16
"""A digest, in memory, in the local file and in the changelog."""


def dead_before(now_ms: int, dedup_ms: int) -> int:
    """Buckets (hours since 1970) below this are dead at the log's `now_ms`."""
    return (now_ms - dedup_ms) // HOUR_MS


class Digester:
    """Keyed digests of event ids, a whole batch at a time."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.name = hashlib.blake2b(key, digest_size=8).digest()
        """Names the key without telling it."""
        self._keyed = hashlib.blake2b(digest_size=16, key=key)
        """A copy of it costs half of one made with the key."""
        self._many = Keyed(key)
        # ECB is the bare block cipher; the chaining below makes it a MAC
        self._encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update  # noqa: S305

    def prefix(self, customer: str, source: str) -> bytes:
        """The keyed first block of all ids of one customer and source: what `prefixes` must say of each of many."""
        name, hashed = customer.encode(), self._keyed.copy()
        hashed.update(len(name).to_bytes(4, "little") + name + source.encode())
        return hashed.digest()

    def prefixes(self, customers: tuple[Bytes, I64], which: I64, sources: tuple[Bytes, I64], of: I64) -> U64:
        """The same of many, (n, 2): by numbers of names that lie one behind the other, number n's from `ends[n]` to `ends[n + 1]`."""
        return self._many.digests(customers, which, sources, of)

    def digests(self, prefixes: U64, ids: Names) -> U64:
        """An (n, 2) array of digests of ids; row i depends only on row i of both, not on its neighbours."""
        lengths, matrix = ids.lengths, ids.matrix
        blocks = int(lengths.max()) // 16 + 1
        # One very long id must not blow up the whole batch's matrix: such a batch is digested in two parts.
        if matrix is None and blocks > 8 and len(ids) > 1:
            return self._by_length(prefixes, ids)
        padded = np.zeros((len(ids), blocks * 16), np.uint8)
        if matrix is not None:
            padded[:, : matrix.shape[1]] = matrix
        else:
            padded[:] = np.frombuffer(b"".join([item.ljust(blocks * 16, b"\0") for item in ids.each or []]), np.uint8).reshape(padded.shape)
        padded[np.arange(len(ids)), lengths] = 0x80
        data, state = padded.view(np.uint64), prefixes
        least = blocks if matrix is not None else int(lengths.min()) // 16 + 1
        for block in range(blocks):
            mixed = self._aes(state ^ data[:, 2 * block : 2 * block + 2])
            # blocks beyond a shorter id are skipped, so that a digest does not depend on its neighbours
            state = mixed if block < least else np.where((lengths >= 16 * block)[:, None], mixed, state)
        return state

    def _by_length(self, prefixes: U64, ids: Names) -> U64:
        out = np.empty((len(ids), 2), np.uint64)
        for part in (np.flatnonzero(ids.lengths < 128), *np.split(where := np.flatnonzero(ids.lengths >= 128), len(where))):
            if len(part):
                out[part] = self.digests(prefixes[part], ids.some(part))
        return out

    def _aes(self, blocks: U64) -> U64:
        return np.frombuffer(self._encrypt(np.ascontiguousarray(blocks).data.cast("B")), np.uint64).reshape(-1, 2)


def first_of_each(digests: U64) -> NDArray[np.bool_]:
    """True for the first copy of each digest, in order of the rows."""
    keep = np.ones(len(digests), bool)
    high = np.sort(digests[:, 0])
    if not (high[1:] == high[:-1]).any():
        return keep  # a plain sort costs a tenth of the one below
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal digests stay in offset order
    ordered = digests[order]
    again = (ordered[1:] == ordered[:-1]).all(axis=1)
    keep[order[1:][again]] = False
    return keep


def distinct(digests: U64) -> U64:
    """Each digest once. Where all are (what our own writers say), that costs one sort of half of their bits."""
    words = np.sort(digests[:, 0])
    if (words[1:] != words[:-1]).all():
        return digests
    return np.unique(digests, axis=0)
