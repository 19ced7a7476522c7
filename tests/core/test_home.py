"""Law 1: where a customer is at home is Java's murmur2, whether one key is asked about or a batch of them."""

from __future__ import annotations

import random

import numpy as np

from streams.homes import at_home
from tests.oracle.hashes import java_partition
from topics.home import home_of
from topics.numbering import Numbering


def test_whoever_is_at_home_is_found_by_the_compiled_hash() -> None:
    """Names of any length and bytes are at home where Java's client would send them, whether one is asked about or many."""
    rng = random.Random(8)
    keys = list(dict.fromkeys(rng.randbytes(rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 100, 255, 256, 257, 600))) for _ in range(2000)))
    numbering = Numbering(1)
    assert [numbering.one(key) for key in keys] == list(range(len(keys)))
    names, ends = numbering.held
    for partitions in (1, 4, 7, 1000):
        assert [home_of(key, partitions) for key in keys] == [java_partition(key, partitions) for key in keys]
    for partitions in (1, 4, 7, 1000):
        for partition in (0, partitions // 2, partitions - 1):
            found = np.zeros(len(keys), np.bool_)
            at_home(names, ends[: len(keys) + 1], partition, partitions, found)
            assert found.tolist() == [java_partition(key, partitions) == partition for key in keys]
