"""The base tables as their writers see them: column order and types, equal to `schema/*.sql` (a contract test compares them)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

Columns = list[list[Any]]
"""One list a column, of equal length, in the table's column order."""

_US = "DateTime64(6, 'UTC')"
_MS = "DateTime64(3, 'UTC')"
_S = "DateTime64(0, 'UTC')"
_HEADERS = (("header_names", "Array(String)"), ("header_values", "Array(Nullable(String))"))
_LOG = (("log_partition", "UInt32"), ("log_offset", "UInt64"))
_LOW = "LowCardinality(String)"


class Table(NamedTuple):
    """A table that is inserted into; columns with a default (`first_seen_inv`) are the engine's own."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [name for name, _ in self.columns]

    @property
    def types(self) -> list[str]:
        """ClickHouse types, in order."""
        return [kind for _, kind in self.columns]


RAW: Final = Table(
    "raw_events",
    (
        ("customer", "String"),
        ("occurred_at", _US),
        ("kafka_partition", "UInt32"),
        ("generation", "UInt32"),
        ("kafka_offset", "UInt64"),
        ("log_time", _MS),
        ("received_at", _MS),
        ("key_is_null", "Bool"),
        ("value", "String"),
        ("value_is_null", "Bool"),
        *_HEADERS,
        ("kind", _LOW),
        ("event_id", "String"),
        ("source", "String"),
        ("type", "String"),
        ("meters", f"Array({_LOW})"),
        ("quantities", "Array(Decimal(38, 12))"),
        ("window_starts", f"Array({_S})"),
        ("window_ends", f"Array({_S})"),
    ),
)
VERDICT: Final = Table(
    "verdict_log",
    (
        ("customer", "String"),
        ("kafka_partition", "UInt32"),
        ("generation", "UInt32"),
        ("kafka_offset", "UInt64"),
        ("verdict", _LOW),
        ("reason", _LOW),
        ("sentence", "String"),
        ("subject", "String"),
        ("source", "String"),
        ("event_id", "String"),
        ("home", "Int32"),
        *_LOG,
    ),
)
MARK_COUNTERS: Final = (
    "base", "counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped", "postings",
)  # fmt: skip
MARK: Final = Table(
    "mark_log",
    (
        ("kafka_partition", "UInt32"),
        ("generation", "UInt32"),
        ("next_offset", "UInt64"),
        *((name, "UInt64") for name in MARK_COUNTERS),
    ),
)
WINDOW: Final = Table(
    "window_log",
    (
        ("customer", "String"),
        ("meter", _LOW),
        ("window_start", _S),
        ("window_end", _S),
        ("generation", "UInt64"),
        ("through_offset", "UInt64"),
        ("kafka_partition", "UInt32"),
        ("quantity", "Decimal(76, 12)"),
        ("events", "UInt64"),
        ("first_offset", "UInt64"),
        ("hash", "String"),
        ("closed_at", _MS),
        *_LOG,
    ),
)
RECEIPT: Final = Table(
    "receipt_log",
    (
        ("customer", "String"),
        ("meter", _LOW),
        ("provider", _LOW),
        ("account", _LOW),
        ("cell", "String"),
        ("kind", _LOW),
        ("revision", "UInt64"),
        ("generation", "UInt64"),
        ("attempt", "UInt32"),
        ("state", _LOW),
        ("item", "String"),
        ("subscription", "String"),
        ("reported_time", _S),
        ("period_start", _S),
        ("period_end", _S),
        ("quantity", "Decimal(76, 12)"),
        ("units", "String"),
        ("idempotency_key", "String"),
        ("path", "String"),
        ("body", "String"),
        ("outcome", _LOW),
        ("http_status", "UInt16"),
        ("request_id", "String"),
        ("reason", _LOW),
        ("sentence", "String"),
        ("intent_at", _MS),
        ("reported_at", _MS),
        ("closed_at", _MS),
        ("window_starts", f"Array({_S})"),
        ("window_ends", f"Array({_S})"),
        ("generations", "Array(UInt64)"),
        ("through_offsets", "Array(UInt64)"),
        ("window_quantities", "Array(Decimal(76, 12))"),
        ("record", "String"),
        *_LOG,
    ),
)
REJECTED: Final = Table(
    "rejected_log",
    (
        ("customer", "String"),
        ("kafka_topic", _LOW),
        ("kafka_partition", "UInt32"),
        ("kafka_offset", "UInt64"),
        ("received_at", _MS),
        ("reason", _LOW),
        ("sentence", "String"),
        ("key_is_null", "Bool"),
        ("value", "String"),
        ("value_is_null", "Bool"),
        *_HEADERS,
        ("event_id", "String"),
        ("source", "String"),
        ("type", "String"),
        ("subject", "String"),
        ("rejected_at", _MS),
        *_LOG,
    ),
)
DEFINITION: Final = Table(
    "definition_log",
    (
        ("kind", _LOW),
        ("id", "String"),
        ("meter", "String"),
        ("valid_from", _S),
        ("control_offset", "UInt64"),
        ("body", "String"),
        *_LOG,
    ),
)
PROGRESS: Final = Table(
    "progress",
    (("topic", _LOW), ("kafka_partition", "UInt32"), ("generation", "UInt32"), ("next_offset", "UInt64")),
)

TABLES: Final = (RAW, VERDICT, MARK, WINDOW, RECEIPT, REJECTED, DEFINITION, PROGRESS)


def columns_of(rows: Sequence[Sequence[Any]], table: Table) -> Columns:
    """Rows turned into columns; an empty list of rows gives empty columns."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in table.columns]
