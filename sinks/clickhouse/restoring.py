"""Rows of the archive taken from the log again: those that are gone come back, those that were changed are replaced, strangers are removed.

The same pure functions build the rows as when they were first archived (`rows.py`, `record_rows.py`), so that nothing is typed in by hand. A row
is replaced by a greater version of itself; the tables keep the first row of an identity otherwise.

Numbered effects of `restore_events`: 1 the rows are inserted, and stand; 2 what else lies at their coordinates is deleted. A crash between leaves
both, which the next run takes for what it is; running it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.record_rows import window_row
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.span import query
from sinks.clickhouse.tables import RAW, WINDOW, Table, columns_of
from topics.batch import Headers
from topics.definitions import decode_definition
from topics.windows import Window

VERSION: Final = ("first_seen_inv", "UInt64")
GREATEST: Final = 2**64 - 1
"""A version above that of any row that was inserted by the clock: a revision of a window has only one true row, so this is always the right one."""


class Span(NamedTuple):
    """Where a window's events lie in one generation of the log, both ends included."""

    generation: int
    first: int
    last: int


def generations(clickhouse: ClickHouse) -> dict[int, int]:
    """The present generation of each partition of usage.events, as far as it is archived."""
    rows = clickhouse.rows("SELECT kafka_partition, max(generation) FROM mark_log GROUP BY kafka_partition")
    return dict(rows)


def span_of(clickhouse: ClickHouse, window: Window) -> list[Span]:
    """The offsets between which a window's events lie, as its archived revisions say; empty where there are none."""
    named = {"customer": window.customer, "meter": window.meter, "start": window.start_s, "end": window.end_s}
    return [Span(*row) for row in clickhouse.rows(query("restore_span"), named)]


def restore_events(clickhouse: ClickHouse, partition: int, customer: str | None, span: Span, records: Sequence[RawRecord]) -> int:
    """Put the customer's `records` of the span (all that the log has) in the place of whatever rows stand there. Returns how many they are.

    `customer` None: the records are some of the span's, whoever's, and only rows at their own coordinates give way.
    """
    if not records:
        return 0
    in_force = InForce(at_once=span.generation > 0)
    bodies = clickhouse.rows("SELECT body FROM definition_log FINAL WHERE log_partition = {p:UInt32} ORDER BY log_offset", {"p": partition})
    for (body,) in bodies:
        in_force.add(decode_definition(body, f"definition_log of partition {partition}"))
    where = {"partition": partition, "generation": span.generation, "first": span.first, "last": span.last}
    version = min(GREATEST, clickhouse.rows(query("restore_newest"), where)[0][0] + 1)
    columns = RawRows(partition, span.generation, in_force).columns(list(records))
    # 1.
    clickhouse.insert(Table(RAW.name, (*RAW.columns, VERSION)), [*columns, [version] * len(records)])
    # 2.
    also = {"version": version, "of_customer": customer is not None, "customer": customer or "", "offsets": [record.offset for record in records]}
    clickhouse.command(query("restore_strangers"), {**where, **also})
    return len(records)


def restore_window(clickhouse: ClickHouse, partition: int, records: Iterable[tuple[int, bytes, Headers]]) -> int:
    """Put a window's revisions, (offset, value, headers) as they lie on usage.windows, in the place of their rows. Returns how many they are."""
    place = f"usage.windows {partition}, offset"
    rows = [(*window_row(value, headers, f"{place} {offset}"), partition, offset, GREATEST) for offset, value, headers in records]
    clickhouse.insert(Table(WINDOW.name, (*WINDOW.columns, VERSION)), columns_of(rows, WINDOW) if rows else [[]])
    return len(rows)
