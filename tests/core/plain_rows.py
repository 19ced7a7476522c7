"""Rows of the changelog one by one: as version 1 stored them, which is also how a test changes a single one."""

from __future__ import annotations

from streams.row_segments import RowColumns, RowRecord, RowSegment, pack_rows, unpack_rows
from streams.rows import Row, Rows
from streams.segments import Segment


def plain(segment: Segment) -> RowSegment:
    """A segment of rows as version 1."""
    assert isinstance(segment, RowColumns)
    return RowSegment(segment.generation, segment.upto, segment.records())


def record_of(row: Row, generation: int = 0, upto: int = 1 << 40) -> RowRecord:
    """One row as it would be stored, through version 2 and back."""
    rows = Rows()
    held = row.copy()
    rows.add(held)
    held.emitted, held.own = row.emitted, row.own
    found = unpack_rows(pack_rows(rows.store, rows.store.live(), generation, upto))
    assert found is not None
    return found.records()[0]
