"""The content hash of a stretch's postings: SHA-256 of the bytes that `topics/content_hash.py` names, which are laid out for many at once."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.names import Names

U32 = NDArray[np.uint32]
_sha256 = hashlib.sha256
_TAIL: Final = 24
"""Time, 8 bytes, and quantity, 16."""
_MANY_LENGTHS: Final = 16
"""Heads of more lengths than this are laid out one by one: each length costs as much as a hundred messages."""


def posting_digests(heads: list[bytes], names: Names, moments: NDArray[np.int64], amounts: NDArray[np.uint64]) -> U32:
    """An (n, 8) array: each posting's digest as a little-endian integer of eight limbs. `heads` are the fields customer, meter and source."""
    count = len(heads)
    tails = np.empty((count, 3), np.uint64)
    tails[:, 0] = moments.view(np.uint64)
    tails[:, 1:] = amounts
    kinds = set(map(len, heads))
    if names.matrix is None or len(kinds) > _MANY_LENGTHS:
        return _one_by_one(heads, names, tails.tobytes())
    ends = _ends(names, tails.view(np.uint8))
    if len(kinds) == 1:
        return _of_one_length(heads, ends)
    found = np.empty((count, 8), np.uint32)
    lengths = np.fromiter(map(len, heads), np.int64, count)
    for kind in kinds:
        where = np.flatnonzero(lengths == kind)
        found[where] = _of_one_length([heads[place] for place in where.tolist()], ends[where])
    return found


def _ends(names: Names, tails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All of the messages but their heads, one a row."""
    matrix = names.matrix
    if matrix is None:
        raise AssertionError("ids of several lengths are no matrix")
    length = matrix.shape[1]
    found = np.empty((len(matrix), 4 + length + _TAIL), np.uint8)
    found[:, :4] = np.frombuffer(length.to_bytes(4, "little"), np.uint8)
    found[:, 4 : 4 + length] = matrix
    found[:, 4 + length :] = tails
    return found


def _of_one_length(heads: list[bytes], ends: NDArray[np.uint8]) -> U32:
    count, length = len(heads), len(heads[0])
    width = length + ends.shape[1]
    messages = np.empty((count, width), np.uint8)
    messages[:, :length] = np.frombuffer(b"".join(heads), np.uint8).reshape(count, length)
    messages[:, length:] = ends
    data, sha256 = messages.tobytes(), _sha256
    digests = [sha256(data[at : at + width]).digest() for at in range(0, len(data), width)]
    return np.frombuffer(b"".join(digests), np.uint32).reshape(count, 8)


def _one_by_one(heads: list[bytes], names: Names, tails: bytes) -> U32:
    each = names.each if names.each is not None else [row.tobytes() for row in names.matrix] if names.matrix is not None else []
    sha256 = _sha256
    digests = [
        sha256(head + len(name).to_bytes(4, "little") + name + tails[at : at + _TAIL]).digest()
        for head, name, at in zip(heads, each, range(0, len(tails), _TAIL), strict=True)
    ]
    return np.frombuffer(b"".join(digests), np.uint32).reshape(len(heads), 8)
