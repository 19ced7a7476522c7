"""Groups and sums by compiled loops against Python's dicts and integers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from streams.grouping import group, sum_up

EDGES = (0, -1, 1, (1 << 63) - 1, -(1 << 63), 1 << 40)


@pytest.mark.parametrize("seed", range(30))
def test_numbers_are_grouped_as_a_dict_does(seed: int) -> None:
    """Any numbers in any order, none, one, all alike or all different: groups are counted by first appearance."""
    rng = random.Random(seed)
    pool = [*EDGES, *(rng.randint(-(1 << 63), (1 << 63) - 1) for _ in range(rng.choice((1, 10, 3000)))), *(at << 40 for at in range(99))]
    numbers = [rng.choice(pool) for _ in range(rng.choice((0, 1, 2, 100, 5000)))]
    of, firsts = group(np.array(numbers, np.int64))
    places: dict[int, int] = {}
    wanted = [places.setdefault(number, len(places)) for number in numbers]
    assert of.tolist() == wanted
    assert firsts.tolist() == [numbers.index(number) for number in places]


def test_numbers_that_lie_apart_in_memory_are_the_same() -> None:
    """A column of a table is grouped like a copy of it."""
    table = np.arange(200, dtype=np.int64).reshape(-1, 2) // 10
    of, firsts = group(table[:, 1])
    assert of.tolist() == (np.arange(100) // 5).tolist()
    assert firsts.tolist() == list(range(0, 100, 5))


@pytest.mark.parametrize("seed", range(10))
def test_sums_are_exact(seed: int) -> None:
    """Counts, first and last offsets and the sums of limbs, the greatest among them, are those of Python's integers."""
    rng = np.random.default_rng(seed)
    rows, count = 7, int(rng.integers(0, 400))
    of, offsets = rng.integers(0, rows - 1, count), np.arange(count) * 3 + 5
    amounts, digests = (rng.choice(np.array([0, 1, (1 << 32) - 1, 77], np.uint32), (count, width)) for width in (4, 8))
    spans, sums, hashes = np.zeros((rows, 3), np.int64), np.zeros((rows, 4), np.uint64), np.zeros((rows, 8), np.uint64)
    sum_up(of, offsets, amounts, digests, spans, sums, hashes)
    for row in range(rows):
        mine = [at for at in range(count) if of[at] == row]
        assert spans[row].tolist() == ([len(mine), int(offsets[mine[0]]), int(offsets[mine[-1]])] if mine else [0, 0, 0])
        assert sums[row].tolist() == [sum(int(amounts[at, limb]) for at in mine) for limb in range(4)]
        assert hashes[row].tolist() == [sum(int(digests[at, limb]) for at in mine) for limb in range(8)]
