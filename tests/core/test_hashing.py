"""The compiled SHA-256 of a stretch's postings against `hashlib` and the definition in `topics/content_hash.py`."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest

from streams.hashing import posting_digests
from streams.heads import Heads
from streams.names import Names
from streams.sha256 import LANES, LONGEST, TAIL
from topics.content_hash import event_hash, field
from topics.spans import Spans

EMPTY = 4 + TAIL
"""Bytes of a message without head and id."""


def reference(heads: list[bytes], ids: list[bytes], moments: list[int], amounts: list[int]) -> list[bytes]:
    """Digests of the messages, one by one."""
    parts = zip(heads, ids, moments, amounts, strict=True)
    return [
        hashlib.sha256(
            head + len(name).to_bytes(4, "little") + name + moment.to_bytes(8, "little", signed=True) + amount.to_bytes(16, "little", signed=True)
        ).digest()
        for head, name, moment, amount in parts
    ]


def hashed(heads: list[bytes], ids: Names, moments: list[int], amounts: list[int]) -> list[bytes]:
    """The same by columns."""
    halves = np.frombuffer(b"".join([amount.to_bytes(16, "little", signed=True) for amount in amounts]), np.uint64).reshape(-1, 2)
    return [row.tobytes() for row in posting_digests(Heads.of(heads), ids, np.array(moments, np.int64), halves)]


def drawn(rng: random.Random, sizes: list[int]) -> tuple[list[bytes], list[bytes], list[int], list[int]]:
    """Messages of these lengths, cut into head and id at random."""
    heads, ids = list[bytes](), list[bytes]()
    for size in sizes:
        text = rng.randbytes(size - EMPTY)
        cut = rng.choice((0, len(text), rng.randint(0, len(text))))
        heads.append(text[:cut])
        ids.append(text[cut:])
    return heads, ids, [rng.randint(-(1 << 63), (1 << 63) - 1) for _ in sizes], [rng.randint(-(1 << 100), 1 << 100) for _ in sizes]


def test_every_length_of_a_message_is_hashed_as_the_library_does() -> None:
    """Messages of all lengths up to several blocks, through each border of the padding, and around the longest that are taken together."""
    sizes = [*range(EMPTY, 400), *range(LONGEST - 70, LONGEST + 70), 5000, 250_000, EMPTY]
    heads, ids, moments, amounts = drawn(random.Random(1), sizes)
    assert hashed(heads, Names.of_bytes(ids), moments, amounts) == reference(heads, ids, moments, amounts)


@pytest.mark.parametrize("seed", range(20))
def test_neighbours_do_not_change_a_digest(seed: int) -> None:
    """Long and short messages side by side in any number and order: each has its own digest."""
    rng = random.Random(seed)
    count = rng.choice((1, LANES - 1, LANES, LANES + 1, rng.randint(2, 300)))
    sizes = [EMPTY + rng.choice((rng.randint(0, 60), rng.randint(0, 200), rng.randint(0, 1500))) for _ in range(count)]
    heads, ids, moments, amounts = drawn(rng, sizes)
    assert hashed(heads, Names.of_bytes(ids), moments, amounts) == reference(heads, ids, moments, amounts)


@pytest.mark.parametrize("length", [0, 1, 7, 16, 36])
def test_ids_of_one_length_are_the_same_as_a_matrix(length: int) -> None:
    """Most ids of a batch have one length: their digests are those that the definition says."""
    rng = random.Random(length)
    texts = ["".join(rng.choices("abc-0123", k=length)) for _ in range(100)]
    customers = [rng.choice(("acme", "größer", "a" * 40)) for _ in texts]
    heads = [field(customer) + field("calls") + field("edge-1") for customer in customers]
    column = Spans.of([text.encode() for text in texts])
    names = Names.within(column.buffer, column.starts, column.lengths)
    assert names.matrix is not None
    moments, amounts = [rng.randint(0, 1 << 52) for _ in texts], [rng.randint(-(1 << 90), 1 << 90) for _ in texts]
    wanted = [event_hash(*fields) for fields in zip(customers, ["calls"] * 100, ["edge-1"] * 100, texts, moments, amounts, strict=True)]
    assert [int.from_bytes(digest, "little") for digest in hashed(heads, names, moments, amounts)] == wanted
    assert hashed(heads[:9], names.some(np.arange(9)), moments[:9], amounts[:9]) == [number.to_bytes(32, "little") for number in wanted[:9]]
