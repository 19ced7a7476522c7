"""Rows of `raw_events` as they are sent: the logical columns of `tables.RAW`, under the names the table takes them by. Pure.

The table stores less than it is sent (`schema/0008_shorter_rows.sql`): the engine takes the event's id and time out of the bytes, and
`record_value` and `record_received_at` give both back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sinks.clickhouse.native import Cells, alike, joined, written
from sinks.clickhouse.tables import RAW, Columns

LAYOUT: Final = 1
"""How the engine is to store these rows; rows of before that migration, and of workers that do not know it, have 0."""
_SENT_AS: Final = {"value": "sent_value", "received_at": "sent_received_at"}
_SENT: Final = tuple((_SENT_AS.get(name, name), kind.replace("LowCardinality(String)", "String")) for name, kind in RAW.columns)
NAMES: Final = ("layout", *(name for name, _ in _SENT))
"""Columns of the INSERT, in the block's order."""


class Piece(NamedTuple):
    """Some rows as written: the cells of each column of `tables.RAW`, how many rows, and how many bytes of values."""

    cells: list[Cells]
    rows: int
    value_bytes: int


_VALUE: Final = RAW.names.index("value")


def piece_of(columns: Columns) -> Piece:
    """Columns of `tables.RAW` as written."""
    cells = [written(kind, found) for (_, kind), found in zip(_SENT, columns, strict=True)]
    return Piece(cells, len(columns[0]), sum(map(len, columns[_VALUE])))


def raw_block(pieces: Sequence[Piece]) -> bytes:
    """The block of an INSERT of these rows."""
    rows = sum(piece.rows for piece in pieces)
    layout = alike(bytes([LAYOUT]), rows)
    whole = [[alike(b"", 0) if at else layout, *piece.cells] for at, piece in enumerate(pieces)]
    return joined([("layout", "UInt8"), *_SENT], whole, rows)
