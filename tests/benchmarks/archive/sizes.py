"""What a row costs on disk, by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sinks.clickhouse.client import ClickHouse

GOAL_BYTES = 50
"""Issue "Invoice truth": bytes a row, of an event of some 330 bytes of JSON."""


@dataclass(frozen=True)
class Size:
    """A table's bytes a row: all files of its parts, and each column's compressed data."""

    table: str
    rows: int
    bytes_per_row: float
    parts: int
    columns: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"table": self.table, "rows": self.rows, "bytes_per_row": self.bytes_per_row, "parts": self.parts, "columns": self.columns}


def measure(clickhouse: ClickHouse, table: str) -> Size:
    """Of the parts that are in force."""
    rows, size, parts, index = clickhouse.rows(
        "SELECT sum(rows), sum(bytes_on_disk), count(), sum(secondary_indices_compressed_bytes) FROM system.parts"
        " WHERE active AND database = currentDatabase() AND table = {t:String}",
        {"t": table},
    )[0]
    columns = clickhouse.rows(
        "SELECT name, data_compressed_bytes FROM system.columns WHERE database = currentDatabase() AND table = {t:String}"
        " AND data_compressed_bytes > 0 ORDER BY data_compressed_bytes DESC",
        {"t": table},
    )
    named = {name.decode(): round(data / rows, 2) for name, data in columns}
    return Size(table, rows, round(size / rows, 2), parts, named | {"(skip indexes)": round(index / rows, 2)})


def event_bytes(clickhouse: ClickHouse) -> float:
    """Mean length of the JSON itself."""
    return float(clickhouse.rows("SELECT avg(length(record_value)) FROM (SELECT record_value FROM raw_events LIMIT 100000)")[0][0])
