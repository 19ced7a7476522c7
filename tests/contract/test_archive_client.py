"""The one file that talks to ClickHouse: exact bytes both ways, inserts believed by their rows, migrations, read-only, clear errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.embedded.ports import free_port
from infra.embedded.testing import engine_server
from sinks.clickhouse.client import Address, ClickHouse, ClickHouseStore
from sinks.clickhouse.migrate import Migration, SchemaMismatch, migrations
from sinks.clickhouse.ports import ArchivedMark, Progress, Refused
from sinks.clickhouse.record_rows import TABLE_OF
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import DEFINITION, MARK, PROGRESS, RAW, TABLES, VERDICT, columns_of
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import archive_at, write_raw, write_topic
from tests.core.test_archive_rows import HEADERS, VALUES
from tests.core.test_fold import build_log
from topics.catalog import DEFINITIONS, EVENTS, VERDICTS
from topics.errors import Unreachable, UsageError


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


@pytest.fixture(scope="module")
def clickhouse(engine_url: str) -> ClickHouse:
    """An empty archive."""
    return archive_at(engine_url, "client")


def test_migrating_again_changes_nothing(engine_url: str) -> None:
    """The second run applies nothing, and a run after a crash in the middle of a file repairs it."""
    clickhouse = ClickHouse(Address(url=engine_url, database="again"))
    assert clickhouse.migrate() == [migration.name for migration in migrations()]
    assert clickhouse.migrate() == []
    clickhouse.command("ALTER TABLE schema_migrations DELETE WHERE number >= 1 SETTINGS mutations_sync = 1")
    clickhouse.command("DROP VIEW coverage")
    assert clickhouse.migrate() == [migration.name for migration in migrations()]
    assert clickhouse.read("SELECT count() AS n FROM coverage") == [{"n": 0}]


def test_a_slow_worker_does_not_bring_back_an_old_view(engine_url: str) -> None:
    """A worker that is in the middle of a file when another one finishes that file and a later one leaves the later one's view alone."""
    fast = ClickHouse(Address(url=engine_url, database="slow"))
    view = "CREATE OR REPLACE VIEW shown AS SELECT {} AS x"
    one = Migration(1, "0001_a.sql", "1" * 64, ("CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = Memory", view.format(1)))
    two = Migration(2, "0002_b.sql", "2" * 64, (view.format(2),))

    class Slow(ClickHouse):
        def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
            super().command(sql)
            if sql.startswith("CREATE TABLE IF NOT EXISTS a"):
                fast.migrate([one, two])

    assert Slow(fast.address).migrate([one, two]) == []
    assert fast.read("SELECT x FROM shown") == [{"x": 2}]
    assert fast.migrate([one, two]) == []


def test_a_changed_migration_is_a_clear_error(engine_url: str) -> None:
    """A file that was applied with other bytes is named, and nothing is applied."""
    clickhouse = archive_at(engine_url, "changed")
    own = list(migrations())
    changed = [
        own[0]._replace(checksum="0" * 64),
        *own[1:],
        Migration(99, "0099_new.sql", "1" * 64, ("CREATE TABLE never (x UInt8) ENGINE = Memory",)),
    ]
    with pytest.raises(SchemaMismatch, match=r"0001_tables\.sql"):
        clickhouse.migrate(changed)
    with pytest.raises(Refused):
        clickhouse.read("SELECT * FROM never")


def test_the_schema_is_what_the_writers_think(clickhouse: ClickHouse) -> None:
    """Column names, order and types of every table that is inserted into equal `tables.py`, but for columns with a default of the engine."""
    for table in TABLES:
        rows = clickhouse.rows(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {t:String}"
            " AND default_kind != 'ALIAS' AND name NOT IN ('first_seen_inv', 'layout', 'sent_value', 'sent_received_at') ORDER BY position",
            {"t": table.name},
        )
        assert [(name.decode(), kind.decode()) for name, kind in rows] == list(table.columns), table.name


HOSTILE = st.builds(RawRecord, st.integers(1, 2**63), st.integers(-(2**63), 2**63 - 1), st.none() | st.binary(max_size=30), VALUES, HEADERS)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(HOSTILE, min_size=1, max_size=30, unique_by=lambda record: record.offset))
def test_no_record_is_refused_and_every_byte_comes_back(clickhouse: ClickHouse, records: list[RawRecord]) -> None:
    """Hostile records of one insert are all taken, and key, value and headers are read back byte for byte."""
    clickhouse.command("TRUNCATE TABLE raw_events")
    write_raw(clickhouse, [_stored(record) for record in records], Topics(1, build_log(1, 5)).records(DEFINITIONS))
    rows = clickhouse.rows(
        "SELECT kafka_offset, customer, key_is_null, record_value, value_is_null, header_names, header_values"
        " FROM raw_events FINAL ORDER BY kafka_offset"
    )
    wanted = [
        (r.offset, r.key or b"", r.key is None, r.value or b"", r.value is None, [n.encode() for n, _ in r.headers], [d for _, d in r.headers])
        for r in sorted(records, key=lambda record: record.offset)
    ]
    assert [(*row[:5], list(row[5]), list(row[6])) for row in rows] == wanted


def _stored(record: RawRecord) -> Any:
    from tests.core.meterlog import Stored

    return Stored(record.offset, record.key, record.value, tuple(record.headers), record.timestamp_ms)


def test_quantities_are_exact_to_the_last_digit(clickhouse: ClickHouse) -> None:
    """Thirty-digit event quantities and 60-digit totals come back as they were, and as text in JSON."""
    from sinks.clickhouse.tables import WINDOW

    exact = Decimal("123456789012345678901234567890123456789012345678.123456789012")
    row = (b"big", b"m", 0, 60, 0, 1, 0, exact, 1, 0, b"h", 0, 0, 1)
    clickhouse.insert(WINDOW, columns_of([row], WINDOW))
    assert clickhouse.rows("SELECT quantity FROM window_totals WHERE customer = 'big'") == [(exact,)]
    assert clickhouse.read("SELECT quantity FROM window_totals WHERE customer = 'big'") == [{"quantity": str(exact)}]


def test_an_insert_that_the_table_refuses_is_an_error(clickhouse: ClickHouse) -> None:
    """A row against a constraint fails its insert with the engine's words, and none of the insert is stored."""
    row = (b"k", 0, 0, 1, b"duplicate", b"", b"", b"", b"", b"", -1, 0, 1)
    bad = (b"k", 0, 0, 2, b"no such verdict", b"", b"", b"", b"", b"", -1, 0, 2)
    with pytest.raises(Refused, match="known_verdict"):
        clickhouse.insert(VERDICT, columns_of([row, bad], VERDICT))
    assert clickhouse.read("SELECT count() AS n FROM verdict_log") == [{"n": 0}]


def test_an_insert_is_believed_only_by_its_rows(clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server says that it wrote fewer rows than were sent the insert is an error."""
    columns = columns_of([(EVENTS, 7, 0, at) for at in range(5)], PROGRESS)
    clickhouse.insert(PROGRESS, columns)

    class Short:
        written_rows = 4

    assert clickhouse._client is not None
    monkeypatch.setattr(clickhouse._client, "insert", lambda *_, **__: Short())
    with pytest.raises(Refused, match="wrote 4 of 5 rows into progress"):
        clickhouse.insert(PROGRESS, columns)


def test_a_person_can_read_and_nothing_else(clickhouse: ClickHouse) -> None:
    """`read` refuses whatever changes something, by its first word or by the engine, and answers readers with exact text."""
    for sql in ("DROP TABLE progress", "INSERT INTO progress SELECT 'x', 1, 1, 1", "  alter table progress drop column topic", "SET readonly = 0"):
        with pytest.raises(UsageError, match="only queries that read"):
            clickhouse.read(sql)
    with pytest.raises((Refused, UsageError)):
        clickhouse.read("WITH 1 AS x INSERT INTO progress SELECT 'x', 1, 1, 1")
    with pytest.raises(Refused):
        clickhouse.read("SELECT * FROM no_such_view")
    assert clickhouse.read("SELECT toDecimal64('1.50', 2) AS d, 18446744073709551615 AS n, unhex('ff') AS b;") == [
        {"d": "1.5", "n": 18446744073709551615, "b": "\ufffd"}
    ]
    assert clickhouse.read("SELECT count() AS n FROM progress WHERE topic = 'x'") == [{"n": 0}]


def test_a_server_that_is_not_there_is_unreachable_without_its_password() -> None:
    """No server gives one sentence with the address, never the password; an address that is none is wrong use."""
    gone = ClickHouse(Address(url=f"http://127.0.0.1:{free_port()}", password="s3cret"))
    for call in (lambda: gone.read("SELECT 1"), gone.migrate):
        with pytest.raises(Unreachable, match="does not answer") as caught:
            call()
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(gone.address)
    with pytest.raises(UsageError):
        ClickHouse(Address(url="localhost")).read("SELECT 1")


async def test_the_store_reads_back_what_was_written(engine_url: str) -> None:
    """Progress, present offsets, mark, definitions and the last raw record are those of the rows, and of the newest generation."""
    clickhouse = archive_at(engine_url, "readback")
    store, topics = ClickHouseStore(clickhouse), Topics(3, build_log(3, 60))
    await store.prepare()
    assert await store.progress(EVENTS, 0) is None
    assert await store.mark(0) is None
    assert await store.last_raw(0, 0, 10) is None
    for topic in (DEFINITIONS, VERDICTS):
        write_topic(clickhouse, topic, topics.records(topic))
    write_raw(clickhouse, topics.events.records[:20], topics.records(DEFINITIONS))
    await store.insert(PROGRESS, columns_of([(EVENTS, 0, 0, 90), (EVENTS, 0, 0, 40), (EVENTS, 0, 1, 7), (EVENTS, 1, 0, 99)], PROGRESS))
    assert await store.progress(EVENTS, 0) == Progress(1, 7)
    offsets = [record.offset for record in topics.events.records[:20]]
    assert await store.present_raw(0, 0, offsets[5]) == set(offsets[5:])
    assert await store.present_raw(0, 1, 0) == set()
    verdicts = [record.offset for record in topics.records(VERDICTS) if record.key is not None or b'"mark"' not in (record.value or b"")]
    assert await store.present(VERDICT, 0, verdicts[2]) == set(verdicts[2:])
    assert await store.mark(0) == ArchivedMark(0, topics.events.end, 0)
    assert await store.definitions(0) == [record.value for record in topics.records(DEFINITIONS)]
    last = topics.events.records[19]
    assert await store.last_raw(0, 0, last.offset + 1) == RawRecord(last.offset, last.timestamp_ms, last.key, last.value, ())
    assert {table.name for table in (*TABLE_OF.values(), RAW, MARK, PROGRESS)} == {table.name for table in TABLES}
    assert DEFINITION in TABLE_OF.values()
    assert len(RawRows(0, 0, _nothing()).columns([])) == len(RAW.columns)


async def test_packed_rows_go_in_at_every_call(engine_url: str) -> None:
    """Rows that are packed once may be sent twice, as after an answer that was lost, and are the same rows."""
    clickhouse = archive_at(engine_url, "packed")
    store = ClickHouseStore(clickhouse)
    await store.prepare()
    records = [RawRecord(offset, 1_795_000_000_000, b"k", b"{%d" % offset, ()) for offset in (3, 4, 9)]
    insert = await store.packed(RawRows(0, 0, _nothing()).written(records))
    assert await store.present_raw(0, 0, 0) == set()
    await insert()
    await insert()
    assert clickhouse.rows("SELECT kafka_offset, record_value FROM raw_events FINAL ORDER BY kafka_offset") == [(3, b"{3"), (4, b"{4"), (9, b"{9")]


def _nothing() -> Any:
    from sinks.clickhouse.in_force import InForce

    return InForce()


def test_an_insert_of_more_than_a_hundred_months_is_taken(clickhouse: ClickHouse) -> None:
    """Timestamps of a broken broker all over the calendar do not make an insert that the engine refuses for its partitions."""
    clickhouse.command("TRUNCATE TABLE raw_events")
    records = [RawRecord(at, at * 31 * 86_400_000, b"k", b"{", ()) for at in range(1, 111)]
    write_raw(clickhouse, [_stored(record) for record in records], [])
    assert clickhouse.read("SELECT count() AS n FROM raw_events") == [{"n": 110}]
