"""The compiled keyed hash says what the library says."""

from __future__ import annotations

import hashlib
import random

import numpy as np

from streams.blake2b import Keyed
from streams.duplicates import Digester
from topics.numbering import Numbering


def test_digests_are_those_of_the_library() -> None:
    """Pairs of names of all lengths around a block's end, under random keys, have the library's digests and those of single prefixes."""
    rng = random.Random(7)
    for _ in range(20):
        key = rng.randbytes(16)
        lengths = [*range(12), *range(100, 140), *range(240, 262), *(rng.randrange(1000) for _ in range(20)), 65_536]
        names, others = Numbering(rng.getrandbits(64)), Numbering(rng.getrandbits(64))
        texts = list(dict.fromkeys("".join(rng.choices("aäю", k=length)) for length in lengths))
        sources = list(dict.fromkeys("".join(rng.choices("bc", k=length)) for length in (1, 4, 30, 124, 125, 128, 300)))
        pairs = [(rng.randrange(len(texts)), rng.randrange(len(sources))) for _ in range(300)]
        assert [names.one(text.encode()) for text in texts] == list(range(len(texts)))
        assert [others.one(source.encode()) for source in sources] == list(range(len(sources)))
        which, other = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
        found = Keyed(key).digests(names.held, which, others.held, other)
        digester = Digester(key)
        for row, (one, two) in enumerate(pairs):
            name = texts[one].encode()
            message = len(name).to_bytes(4, "little") + name + sources[two].encode()
            digest = found[row].tobytes()
            assert digest == hashlib.blake2b(message, digest_size=16, key=key).digest() == digester.prefix(texts[one], sources[two])
