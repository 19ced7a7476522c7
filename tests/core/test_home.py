"""Law 1: where a customer is at home is Java's murmur2, whether one key is asked about or a batch of them."""

from __future__ import annotations

import random

from tests.oracle.hashes import java_partition
from topics.home import home_of, homes_of


def test_homes_of_many_keys_are_those_of_each() -> None:
    """Keys that are hashed together, of any length and bytes, go to the partitions that Java's client would choose."""
    rng = random.Random(7)
    keys = [rng.randbytes(rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 100, 255, 256, 257, 600))) for _ in range(3000)]
    for partitions in (1, 4, 7, 1000):
        wanted = [java_partition(key, partitions) for key in keys]
        assert homes_of(keys, partitions) == wanted
        assert [home_of(key, partitions) for key in keys] == wanted
