"""Names leave their table as msgpack writes them."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest

from streams.name_table import Names


@pytest.mark.parametrize("count", [0, 1, 15, 16, 300, 66_000])
def test_names_are_spelled_as_msgpack_does(count: int) -> None:
    """Lists of names of every length at which msgpack changes its form are the very bytes that the library writes."""
    rng, names = random.Random(9), Names()
    lengths = [0, 1, 30, 31, 32, 33, 254, 255, 256, 257, 65_534, 65_535, 65_536, 70_000] if count < 1000 else [1, 7, 31, 32]
    known = ["".join(rng.choices("aä😀", k=length // 2)) + "b" * (length % 2) for length in lengths] + [f"{'x' * length}" for length in lengths]
    numbers = names.numbers(known)
    chosen = np.array(rng.choices(numbers.tolist(), k=count), np.int64)
    assert names.spelled(chosen) == msgspec.msgpack.encode(names.names(chosen))
