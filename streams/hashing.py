"""The content hash of a stretch's postings: SHA-256 of the bytes that `topics/content_hash.py` names, many at once (`streams/sha256.py`)."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from streams.heads import Heads
from streams.names import Names
from streams.sha256 import LONGEST, TAIL, digest

U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]


def posting_digests(heads: Heads, names: Names, moments: I64, amounts: U64) -> U32:
    """An (n, 8) array: each posting's digest as a little-endian integer of eight limbs. `heads` are the fields customer, meter and source."""
    count, id_ends = len(names), np.cumsum(names.lengths)
    ids = names.matrix.reshape(-1) if names.matrix is not None else np.frombuffer(b"".join(names.each or []), np.uint8)
    found = np.empty((count, 8), np.uint32)
    digest(heads.buffer, heads.ends, ids, id_ends, moments, amounts, found)
    sizes = heads.sizes + names.lengths + (4 + TAIL)
    for place in np.flatnonzero(sizes > LONGEST).tolist():
        name = ids[id_ends[place] - names.lengths[place] : id_ends[place]].tobytes()
        tail = moments[place].tobytes() + amounts[place].tobytes()
        message = heads.at(place) + len(name).to_bytes(4, "little") + name + tail
        found[place] = np.frombuffer(hashlib.sha256(message).digest(), np.uint32)
    return found
