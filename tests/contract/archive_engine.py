"""The archive on a real engine for contract tests: one engine a module, one database a test, and a writer that needs no worker."""

from __future__ import annotations

import random
from collections.abc import Iterable

from sinks.clickhouse.client import Address, ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.record_rows import TABLE_OF, batch_rows, mark_row
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import MARK, RAW, columns_of
from tests.core.meterlog import Stored, batch_of
from topics.batch import Batch
from topics.definitions import decode_definition


def archive_at(url: str, name: str) -> ClickHouse:
    """A migrated database of its own."""
    clickhouse = ClickHouse(Address(url=url, database=name))
    clickhouse.migrate()
    return clickhouse


def batch(topic: str, records: Iterable[Stored]) -> Batch:
    """Records of partition 0 of a topic as one batch."""
    found = list(records)
    end = found[-1].offset + 1 if found else 0
    plain = batch_of(found, 0, end)
    return Batch(**{name: getattr(plain, name) for name in Batch.__slots__} | {"topic": topic})


def write_topic(clickhouse: ClickHouse, topic: str, records: Iterable[Stored]) -> None:
    """Rows and marks of a topic of ours, as the worker writes them."""
    found = batch_rows(batch(topic, records), frozenset())
    clickhouse.insert(TABLE_OF[topic], columns_of(found.rows, TABLE_OF[topic]))
    if found.mark is not None:
        clickhouse.insert(MARK, columns_of([mark_row(found.mark)], MARK))


def write_raw(clickhouse: ClickHouse, records: Iterable[Stored], definitions: Iterable[Stored], generation: int = 0) -> None:
    """Raw rows of partition 0."""
    in_force = InForce()
    for record in definitions:
        in_force.add(decode_definition(record.value or b"", "test"))
    rows = RawRows(0, generation, in_force)
    raw = [RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in records]
    clickhouse.insert(RAW, rows.columns(raw))


def doubled(records: list[Stored], rng: random.Random) -> list[Stored]:
    """The same records, some of them twice or thrice and at another place, as replays write them."""
    found: list[Stored] = []
    for record in records:
        found += [record] * rng.choice((1, 1, 2, 3))
    late = rng.sample(records, len(records) // 3)
    return [record._replace(offset=at) for at, record in enumerate([*found, *late])]
