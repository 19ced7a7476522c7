"""Native blocks: however a column is written quickest, its bytes are those of the format's plain rule."""

from __future__ import annotations

import struct
from decimal import Decimal
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.native import _WRITERS, varint
from sinks.clickhouse.raw_log import records_of
from sinks.clickhouse.rows import RawRecord

TEXTS = st.one_of(st.binary(max_size=4), st.sampled_from([b"", b"a", b"ab" * 64, b"x" * 5_000]))
COLUMNS = st.one_of(
    st.lists(TEXTS, max_size=12),
    st.lists(st.binary(min_size=3, max_size=3), max_size=12),
    st.builds(lambda few, count: few * count, st.lists(TEXTS, min_size=1, max_size=3), st.integers(2, 6)),
)
"""Any cells; all of one length; few that come again and again."""


def plainly(cells: list[bytes]) -> bytes:
    """A String column: each cell's length and bytes."""
    return b"".join(varint(len(cell)) + cell for cell in cells)


def ends(cells: list[list[object]]) -> bytes:
    """What stands before an array column's elements: how many there are up to the end of each."""
    sums = [sum(map(len, cells[: at + 1])) for at in range(len(cells))]
    return struct.pack(f"<{len(sums)}Q", *sums)


@given(COLUMNS)
def test_strings_are_written_as_the_format_says(cells: list[bytes]) -> None:
    """Length and bytes of each cell, in order, also where all are alike, of one length, or few of them repeat."""
    assert _WRITERS["String"](cells) == plainly(cells)


@given(st.lists(st.lists(TEXTS, max_size=3), max_size=8))
def test_arrays_of_strings_are_written_as_the_format_says(cells: list[list[object]]) -> None:
    """The ends of all arrays, then all elements, whatever their lengths; of nullable ones the null map between."""
    flat = [element for cell in cells for element in cell]
    assert _WRITERS["Array(String)"](cells) == ends(cells) + plainly(flat)  # type: ignore[arg-type]
    assert _WRITERS["Array(Nullable(String))"](cells) == ends(cells) + bytes(len(flat)) + plainly(flat)  # type: ignore[arg-type]


@given(st.lists(st.lists(st.integers(-(10**20), 10**20), max_size=2), max_size=8), st.booleans())
def test_arrays_of_numbers_are_written_as_the_format_says(cells: list[list[int]], is_single: bool) -> None:
    """Quantities as 128 bits of a millionth millionth, times as 64 bits, where each array has one element and where they differ."""
    cells = [cell[:1] or [0] for cell in cells] if is_single else cells
    wanted = ends(cells) + b"".join((n * 10**12).to_bytes(16, "little", signed=True) for cell in cells for n in cell)  # type: ignore[arg-type]
    assert _WRITERS["Array(Decimal(38, 12))"]([[Decimal(n) for n in cell] for cell in cells]) == wanted
    seconds = [[n % 2**40 for n in cell] for cell in cells]
    flat = [n for cell in seconds for n in cell]
    assert _WRITERS["Array(DateTime64(0, 'UTC'))"](seconds) == ends(cells) + struct.pack(f"<{len(flat)}q", *flat)  # type: ignore[arg-type]


def test_fetched_records_are_the_archives_own() -> None:
    """Offset, time, key, value and headers of each record as aiokafka read them, as a RawRecord by name and place."""
    fetched = [
        SimpleNamespace(offset=7, timestamp=1_000, key=b"k", value=None, headers=[("h", b"v"), ("h", b"w")]),
        SimpleNamespace(offset=9, timestamp=1_001, key=None, value=b"{}", headers=()),
    ]
    found = records_of(fetched)
    assert found == [RawRecord(7, 1_000, b"k", None, (("h", b"v"), ("h", b"w"))), RawRecord(9, 1_001, None, b"{}", ())]
    assert [(type(record), record.offset, record.headers) for record in found] == [(RawRecord, 7, (("h", b"v"), ("h", b"w"))), (RawRecord, 9, ())]
    assert records_of([]) == []
