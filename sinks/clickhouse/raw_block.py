"""Rows of `raw_events` as they are sent: the logical columns of `tables.RAW`, under the names the table takes them by. Pure.

The table stores less than it is sent (`schema/0008_shorter_rows.sql`): the engine takes the event's id and time out of the bytes, and
`record_value` and `record_received_at` give both back.
"""

from __future__ import annotations

from typing import Final

from sinks.clickhouse.native import block
from sinks.clickhouse.tables import RAW, Columns

LAYOUT: Final = 1
"""How the engine is to store these rows; rows of before that migration, and of workers that do not know it, have 0."""
_SENT_AS: Final = {"value": "sent_value", "received_at": "sent_received_at"}
_SENT: Final = tuple((_SENT_AS.get(name, name), kind.replace("LowCardinality(String)", "String")) for name, kind in RAW.columns)
NAMES: Final = ("layout", *(name for name, _ in _SENT))
"""Columns of the INSERT, in the block's order."""


def raw_block(columns: Columns) -> bytes:
    """The block of an INSERT of these columns of `tables.RAW`."""
    layout = ("layout", "UInt8", [LAYOUT] * len(columns[0]))
    return block([layout, *((name, kind, cells) for (name, kind), cells in zip(_SENT, columns, strict=True))])
