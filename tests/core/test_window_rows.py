"""The answers that a drill-down reads itself: RowBinary, cut anywhere, and what plain rows cannot tell."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.native import varint
from sinks.clickhouse.row_binary import Cells, CutShort
from sinks.clickhouse.window_rows import PlainRow, is_below, is_doubled, plain_marks, plain_rows, plain_verdicts, said_once
from topics.errors import TidemarkError

Posting = tuple[bytes, int, int, int]
"""Meter, quantity × 10¹², window."""


def text(data: bytes) -> bytes:
    """A String as RowBinary has it."""
    return varint(len(data)) + data


def written(row: PlainRow, postings: list[Posting], verdict: bytes = b"") -> bytes:
    """A row of `window_rows.sql` as the engine writes it."""
    edges = (b"".join(struct.pack("<q", posting[at]) for posting in postings) for at in (2, 3))
    count = varint(len(postings))
    return (
        struct.pack("<IQI", row.generation, row.offset, row.partition) + text(row.event_id) + text(row.source)
        + struct.pack("<qq", row.occurred_at_us, row.received_at_ms) + count + b"".join(text(posting[0]) for posting in postings)
        + count + b"".join(posting[1].to_bytes(16, "little", signed=True) for posting in postings)
        + b"".join(count + each for each in edges) + text(row.type) + text(verdict)
    )  # fmt: skip


WORDS = st.binary(max_size=300)
SECONDS = st.integers(-(2**40), 2**40)
POSTINGS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"calls"]), st.integers(-(10**37), 10**37), SECONDS, SECONDS), max_size=4)
PLAIN = st.builds(
    PlainRow, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), WORDS, WORDS, SECONDS, SECONDS,
    st.just(0), st.just(0), st.just(0), WORDS,
)  # fmt: skip


@given(st.lists(st.tuples(PLAIN, POSTINGS), max_size=4), st.data())
def test_rows_come_back_with_the_meters_posting_and_no_cut_answer_does(rows: list[tuple[PlainRow, list[Posting]]], data: st.DataObject) -> None:
    """Every row comes back with its first posting to the meter, exact; an answer that ends anywhere inside of a row is refused."""
    wanted = []
    for row, postings in rows:
        own = next((posting for posting in postings if posting[0] == b"calls"), (b"", 0, 0, 0))
        wanted.append(row._replace(scaled=own[1], start_s=own[2], end_s=own[3]))
    parts = [written(row, postings) for row, postings in rows]
    assert plain_rows(b"".join(parts), b"calls") == (wanted, [])
    said = PlainRow(3, 5, 7, b"", b"", 0, 0, 0, 0, 0, b"")
    assert plain_rows(b"".join([*parts, written(said, [], b"late")]), b"calls") == (wanted, [((7, 3, 5), b"late")])
    if parts:
        cut = data.draw(st.integers(1, len(parts[-1]) - 1))
        with pytest.raises(CutShort):
            plain_rows(b"".join(parts)[:-cut], b"calls")


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_are_refused(data: bytes) -> None:
    """Whatever a server answers is read or refused with a sentence."""
    for read in (lambda: plain_rows(data, b"calls"), lambda: plain_verdicts(data), lambda: plain_marks(data)):
        refused = None
        try:
            read()
        except TidemarkError as error:
            refused = error
        assert refused is None or isinstance(refused, CutShort)


def test_a_length_of_several_bytes_is_read() -> None:
    """Strings and arrays of more than 127 are counted by a varint of several bytes."""
    assert Cells(varint(300) + bytes(300)).text() == bytes(300)
    assert Cells(varint(70_000)).count() == 70_000
    with pytest.raises(CutShort):
        Cells(b"\xff" * 20).count()


def test_the_greatest_mark_of_a_log_holds() -> None:
    """Of several marks of one log the greatest is known, and a row of a log without a mark is below none."""
    place = struct.Struct("<IIQ")
    marks = {(0, 0): 9, (0, 1): 4}
    row = PlainRow(1, 4, 0, b"", b"", 0, 0, 0, 0, 0, b"")
    # A mark is written as three numbers, in the order of `window_marks.sql`.
    assert plain_marks(place.pack(0, 0, 5) + place.pack(0, 1, 4) + place.pack(0, 0, 9) + place.pack(0, 0, 7)) == marks
    rows = (row, row._replace(offset=3), row._replace(offset=3, generation=2))
    assert [is_below(each, marks) for each in rows] == [False, True, False]


def test_what_the_parts_hold_twice_is_seen() -> None:
    """A coordinate that comes twice asks for the whole query, and so do two verdicts of one that differ; equal ones are one."""
    row = PlainRow(0, 4, 0, b"", b"", 0, 0, 0, 0, 0, b"")
    assert is_doubled([row, row._replace(event_id=b"x")])
    assert not is_doubled([row, row._replace(partition=1), row._replace(generation=1), row._replace(offset=5)])
    assert said_once([((0, 0, 4), b"duplicate"), ((0, 0, 4), b"duplicate")]) == {(0, 0, 4): b"duplicate"}
    assert said_once([((0, 0, 4), b"duplicate"), ((0, 0, 4), b"too_late")]) is None
