"""A column of bytes over one buffer is to its readers the list of its values."""

from __future__ import annotations

import random

import numpy as np
import pytest

from topics.spans import NULL, Spans


def values_of(rng: random.Random) -> list[bytes | None]:
    """Any values: none, empty ones, nulls at the ends and between."""
    return [rng.choice((None, b"", rng.randbytes(rng.randrange(40)))) for _ in range(rng.choice((0, 1, rng.randrange(30))))]


@pytest.mark.parametrize("seed", range(60))
def test_a_column_reads_as_its_list(seed: int) -> None:
    """Length, iteration, equality, every index from both ends and every slice, of any step, are those of the list it was made of."""
    rng = random.Random(seed)
    values = values_of(rng)
    column = Spans.of(values)
    assert len(column) == len(values)
    for _ in range(2):  # before its values were made, and after
        for at in range(-len(values), len(values)):
            assert column[at] == values[at]
        for at in (len(values), -len(values) - 1):
            with pytest.raises(IndexError):
                column[at]
        assert list(column) == [*iter(column)] == values
    assert column == values
    assert values == column
    assert column == Spans.of(tuple(values))
    assert column[:] is column
    for _ in range(20):
        begin, end = (rng.choice((None, rng.randrange(-35, 35))) for _ in range(2))
        part = slice(begin, end, rng.choice((None, 1, 2, -1, -3)))
        assert column[part] == values[part]
        assert column[part].buffer.ctypes.data == column.buffer.ctypes.data


@pytest.mark.parametrize("seed", range(20))
def test_the_arrays_say_where_the_bytes_are(seed: int) -> None:
    """What compiled code reads: a flat read-only buffer, and places of 64 bits that lie in it, a null's too."""
    values = values_of(random.Random(seed))
    for column, wanted in ((Spans.of(values), values), (Spans.of(values)[::-2], values[::-2])):
        for array, kind in ((column.buffer, np.uint8), (column.starts, np.int64), (column.lengths, np.int64)):
            assert array.dtype == kind
            assert array.ndim == 1
            assert array.flags.c_contiguous
            assert not array.flags.writeable
        for start, length, value in zip(column.starts.tolist(), column.lengths.tolist(), wanted, strict=True):
            assert 0 <= start <= start + max(length, 0) <= len(column.buffer)
            assert (value is None) == (length == NULL)
            assert value is None or column.buffer[start : start + length].tobytes() == value


def test_another_column_is_not_equal() -> None:
    """An empty value is no null, a longer column no shorter one, and text is no column."""
    column = Spans.of([b"a", None])
    assert column != [b"a", b""]
    assert column != [b"a"]
    assert Spans.of([]) != ""
    assert column != 1
    assert repr(column) == "Spans.of([b'a', None])"


def test_a_column_is_made_once() -> None:
    """A column of a column is itself, so a reader of either kind may ask."""
    column = Spans.of([b"a"])
    assert Spans.of(column) is column


def test_places_given_stay_their_givers() -> None:
    """The arrays it was given can still be written to by whoever gave them."""
    starts = np.array([0, 1])
    column = Spans(b"ab", starts, np.array([1, 1]))
    starts[0] = 0
    assert column == [b"a", b"b"]
