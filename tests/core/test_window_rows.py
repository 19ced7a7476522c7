"""The answers that a drill-down reads itself: RowBinary, cut anywhere, and what plain rows cannot tell."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.native import varint
from sinks.clickhouse.row_binary import Cells, CutShort
from sinks.clickhouse.span import hash_text, query
from sinks.clickhouse.window_rows import (
    Counted,
    PlainRow,
    WindowRows,
    is_all_of,
    is_below,
    is_doubled,
    plain_marks,
    plain_rows,
    plain_verdicts,
    said_once,
)
from topics.content_hash import event_hash
from topics.errors import TidemarkError

Posting = tuple[bytes, int, int, int]
"""Meter, quantity × 10¹², window."""


def text(data: bytes) -> bytes:
    """A String as RowBinary has it."""
    return varint(len(data)) + data


Stored = tuple[int, int, int]
"""layout, received_at and log_time."""


def written(row: PlainRow, postings: list[Posting], *, has_edges: bool, stored: Stored | None = None) -> bytes:
    """A row of `window_rows.sql` as the engine writes it; without edges one of `window_counted.sql`. `stored`: how `received_at_ms` lies there."""
    stored = stored or (0, row.received_at_ms, 0)
    edges = (b"".join(struct.pack("<q", posting[at]) for posting in postings) for at in (2, 3))
    count = varint(len(postings))
    return (
        struct.pack("<IQI", row.generation, row.offset, row.partition) + text(row.event_id) + text(row.source)
        + struct.pack("<qBqq", row.occurred_at_us, *stored) + text(row.type)
        + count + b"".join(text(posting[0]) for posting in postings)
        + count + b"".join(posting[1].to_bytes(16, "little", signed=True) for posting in postings)
        + (b"".join(count + each for each in edges) if has_edges else b"")
    )  # fmt: skip


WORDS = st.binary(max_size=300)
SECONDS = st.integers(-(2**40), 2**40)
POSTINGS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"calls"]), st.integers(-(10**37), 10**37), SECONDS, SECONDS), max_size=4)
PLAIN = st.builds(
    PlainRow, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), WORDS, WORDS, SECONDS, SECONDS, WORDS,
    st.just(0), st.just(0), st.just(0),
)  # fmt: skip


@given(st.lists(st.tuples(PLAIN, POSTINGS), max_size=4), st.booleans(), st.data())
def test_rows_come_back_with_the_meters_posting_and_no_cut_answer_does(
    rows: list[tuple[PlainRow, list[Posting]]], has_edges: bool, data: st.DataObject
) -> None:
    """Every row comes back with its first posting to the meter, or as one without; an answer that ends anywhere inside of a row is refused."""
    wanted = []
    for row, postings in rows:
        own = next((posting for posting in postings if posting[0] == b"calls"), None)
        scaled, start_s, end_s = own[1:] if own else (0, 0, 0)
        edges = (start_s, end_s) if has_edges else (0, 0)
        wanted.append(row._replace(scaled=scaled, start_s=edges[0], end_s=edges[1], selects=own is not None))
    parts = [written(row, postings, has_edges=has_edges) for row, postings in rows]
    assert plain_rows(b"".join(parts), b"calls", has_edges=has_edges) == wanted
    if parts:
        cut = data.draw(st.integers(1, len(parts[-1]) - 1))
        with pytest.raises(CutShort):
            plain_rows(b"".join(parts)[:-cut], b"calls", has_edges=has_edges)


def test_rows_are_all_that_counts_only_with_its_number_and_hash() -> None:
    """Rows in any order are the window where count and hash are its own; one that is another, is missing, or is there twice makes them not."""
    row = PlainRow(0, 4, 0, b"a", b"s", 1_000_000, 0, b"", 5, 0, 0)
    rows = [row, row._replace(event_id=b"b", source=b"t", scaled=-7, offset=5)]
    hashes = [event_hash("cus", "calls", "s", "a", 1_000_000, 5), event_hash("cus", "calls", "t", "b", 1_000_000, -7)]
    counted = Counted(2, hash_text(sum(hashes)))
    assert is_all_of(rows, counted, "cus", "calls") and is_all_of(rows[::-1], counted, "cus", "calls")
    for other in (rows[:1], [*rows, row], [row, row], [row, rows[1]._replace(scaled=7)], [row, rows[1]._replace(occurred_at_us=0)]):
        assert not is_all_of(other, counted, "cus", "calls")
    assert not is_all_of(rows, counted, "cus", "tokens")
    assert not is_all_of(rows, counted, "other", "calls")


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
    row = PlainRow(1, 4, 0, b"", b"", 0, 0, b"", 0, 0, 0)
    # A mark is written as three numbers, in the order of `window_marks.sql`.
    assert plain_marks(place.pack(0, 0, 5) + place.pack(0, 1, 4) + place.pack(0, 0, 9) + place.pack(0, 0, 7)) == marks
    rows = (row, row._replace(offset=3), row._replace(offset=3, generation=2))
    assert [is_below(each, marks) for each in rows] == [False, True, False]


A, B = PlainRow(0, 10, 0, b"a", b"s", 1, 2, b"t", 5, 0, 0), PlainRow(0, 12, 0, b"a", b"s", 1, 2, b"t", 5, 0, 0)
"""An event, and a copy of it."""
ONE = [(b"calls", 5, 0, 60)]
OTHER = [(b"tokens", 1, 0, 60)]


class Archive:
    """Answers plain questions with some rows, marks with one, and the whole query with nothing; what was asked is kept."""

    def __init__(self, rows: list[tuple[PlainRow, list[Posting]]]) -> None:
        self.plain, self.asked = rows, list[str]()

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The whole query."""
        self.asked.append("whole")
        return []

    def binary(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """A plain one."""
        if sql == query("window_marks"):
            return struct.pack("<IIQ", 0, 0, 100)
        if sql == query("window_verdicts"):
            return b""
        has_edges = sql == query("window_rows")
        self.asked.append("rows" if has_edges else "counted")
        return b"".join(written(row, postings, has_edges=has_edges) for row, postings in self.plain)


@pytest.mark.parametrize(("stored", "received_at_ms"), [((1, -1, 7), 7), ((1, 5, 7), 5), ((0, -1, 7), -1), ((0, 5, 7), 5), ((1, 0, 7), 0)])
def test_the_stored_form_of_a_records_arrival_is_restored(stored: Stored, received_at_ms: int) -> None:
    """A millisecond before 1970 stands for the log's time where rows are shorter, and only there."""
    for has_edges in (True, False):
        assert plain_rows(written(A, ONE, has_edges=has_edges, stored=stored), b"calls", has_edges=has_edges)[0].received_at_ms == received_at_ms


def test_an_answer_that_the_limit_has_cut_proves_nothing() -> None:
    """A copy whose original is beyond the limit hashes as that does: it is not shown in its place, but the whole query is asked."""
    counted = Counted(1, hash_text(event_hash("cus", "calls", "s", "a", 1, 5)))
    cut = Archive([(B, ONE), (A._replace(offset=1), OTHER), (A._replace(offset=2), OTHER)])
    assert WindowRows(cut).events("cus", "calls", 0, 60, 2, counted) == ()
    assert cut.asked == ["counted", "rows", "whole"]
    uncut = Archive([(A, ONE), (A._replace(offset=1), OTHER)])
    assert [event.offset for event in WindowRows(uncut).events("cus", "calls", 0, 60, 2, counted)] == [10]
    assert uncut.asked == ["counted"]


@pytest.mark.parametrize("other", [ONE, OTHER])
def test_a_coordinate_that_is_there_twice_is_left_to_the_engine(other: list[Posting]) -> None:
    """Two rows of one coordinate are for FINAL to choose from, also where only one of them selects the meter."""
    archive = Archive([(A, other), (A, ONE)])
    assert WindowRows(archive).events("cus", "calls", 0, 60, 10) == ()
    assert archive.asked == ["rows", "whole"]


def test_what_the_parts_hold_twice_is_seen() -> None:
    """A coordinate that comes twice asks for the whole query, and so do two verdicts of one that differ; equal ones are one."""
    row = PlainRow(0, 4, 0, b"", b"", 0, 0, b"", 0, 0, 0)
    assert is_doubled([row, row._replace(event_id=b"x")])
    assert not is_doubled([row, row._replace(partition=1), row._replace(generation=1), row._replace(offset=5)])
    assert said_once([((0, 0, 4), b"duplicate"), ((0, 0, 4), b"duplicate")]) == {(0, 0, 4): b"duplicate"}
    assert said_once([((0, 0, 4), b"duplicate"), ((0, 0, 4), b"too_late")]) is None
