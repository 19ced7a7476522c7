"""Native blocks: however a column is written quickest, its bytes are those of the format's plain rule."""

from __future__ import annotations

import struct
from decimal import Decimal
from types import SimpleNamespace
from unittest.mock import AsyncMock

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import raw_log
from sinks.clickhouse.native import Cells, joined, strings_within, varint, written
from sinks.clickhouse.rows import RawRecord, RawRecords
from topics.spans import Spans

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


def bytes_of(kind: str, *pieces: Cells, rows: int) -> bytes:
    """What stands behind the head of a block of one column."""
    found, head = joined([("c", kind)], [[piece] for piece in pieces], rows), b"\1" + varint(rows) + b"\1c" + varint(len(kind)) + kind.encode()
    assert found.startswith(head)
    return found[len(head) :]


@given(COLUMNS)
def test_strings_are_written_as_the_format_says(cells: list[bytes]) -> None:
    """Length and bytes of each cell, in order, also where all are alike, of one length, or few of them repeat; from a list and from spans."""
    spans = Spans.of(cells)
    found = (written("String", cells), strings_within(spans.buffer, spans.starts, spans.lengths))
    assert [bytes_of("String", each, rows=len(cells)) for each in found] == [plainly(cells)] * 2
    assert bytes_of("String", *found, rows=2 * len(cells)) == plainly(cells) * 2


@given(st.lists(st.lists(TEXTS, max_size=3), max_size=8), st.integers(0, 8))
def test_arrays_of_strings_are_written_as_the_format_says(cells: list[list[object]], cut: int) -> None:
    """The ends of all arrays, then all elements, whatever their lengths and in however many pieces; of nullable ones the null map between."""
    flat = [element for cell in cells for element in cell]
    for kind, between in (("Array(String)", b""), ("Array(Nullable(String))", bytes(len(flat)))):
        pieces = (written(kind, cells[:cut]), written(kind, cells[cut:]))
        assert bytes_of(kind, *pieces, rows=len(cells)) == ends(cells) + between + plainly(flat)  # type: ignore[arg-type]


@given(st.lists(st.lists(st.integers(-(10**20), 10**20), max_size=2), max_size=8), st.integers(0, 8))
def test_arrays_of_numbers_are_written_as_the_format_says(cells: list[list[int]], cut: int) -> None:
    """Quantities as 128 bits of a millionth millionth, times as 64 bits, in however many pieces."""
    wanted = ends(cells) + b"".join((n * 10**12).to_bytes(16, "little", signed=True) for cell in cells for n in cell)  # type: ignore[arg-type]
    kind, amounts = "Array(Decimal(38, 12))", [[Decimal(n) for n in cell] for cell in cells]
    assert bytes_of(kind, written(kind, amounts[:cut]), written(kind, amounts[cut:]), rows=len(cells)) == wanted
    kind, seconds = "Array(DateTime64(0, 'UTC'))", [[n % 2**40 for n in cell] for cell in cells]
    flat = [n for cell in seconds for n in cell]
    found = bytes_of(kind, written(kind, seconds[:cut]), written(kind, seconds[cut:]), rows=len(cells))
    assert found == ends(cells) + struct.pack(f"<{len(flat)}q", *flat)  # type: ignore[arg-type]


async def test_fetched_records_are_the_archives_own() -> None:
    """Offset, time, key, value and headers of each record as aiokafka read them, as a RawRecord by name and place, whole and in slices."""
    fetched = [
        SimpleNamespace(offset=7, timestamp=1_000, key=b"k", value=None, headers=[("h", b"v"), ("h", b"w")]),
        SimpleNamespace(offset=9, timestamp=1_001, key=None, value=b"{}", headers=()),
    ]
    tp = TopicPartition("usage.events", 0)
    (batch,) = await raw_log.plainly(SimpleNamespace(getmany=AsyncMock(return_value={tp: fetched})), tp, 0.1)
    found = RawRecords.of_batch(batch)
    wanted = [RawRecord(7, 1_000, b"k", None, (("h", b"v"), ("h", b"w"))), RawRecord(9, 1_001, None, b"{}", ())]
    assert list(found) == wanted
    assert [found[0], *found[1:]] == wanted
    assert list(RawRecords.of(wanted)) == wanted
    assert found.headed().tolist() == [0]
    assert await raw_log.plainly(SimpleNamespace(getmany=AsyncMock(return_value={})), tp, 0.1) == ()
