"""An archive of the first schema with data in it, upgraded: by several workers at once, after a crash in the middle of any file, nothing changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.client import Address, ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.migrate import migrations
from sinks.clickhouse.ports import Refused
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import RAW
from tests.agents.archive_world import Topics
from tests.contract.archive_engine import write_topic
from tests.core.amend_world import LATER_MS, NOW_S, Bench, voided
from topics.catalog import DEFINITIONS, REJECTED, VERDICTS, WINDOWS
from topics.definitions import decode_definition

FIRST_SCHEMA = 3
"""Number of the last migration before there were later ones to upgrade to."""
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def first_archive(url: str, name: str = "first") -> ClickHouse:
    """An archive as the first program left it: counted, sent twice, refused and late events, and a record that it did not know."""
    bench = Bench()
    for number in range(40):
        offset = bench.event(number, NOW_S + 60 * number)
        if number % 7 == 0:
            bench.log.add(bench.log.records[offset].key, bench.log.records[offset].value, LATER_MS)
        if number % 9 == 0:
            bench.event("many")
    bench.event(1, NOW_S - 40 * 86_400)
    bench.amend(voided(99, 7))
    topics, in_force = Topics(3, bench.log), InForce()
    clickhouse = ClickHouse(Address(url=url, database=name))
    clickhouse.migrate([migration for migration in migrations() if migration.number <= FIRST_SCHEMA])
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        write_topic(clickhouse, topic, topics.records(topic))
    for record in topics.records(DEFINITIONS):
        in_force.add(decode_definition(record.value or b"", "test"))
    records = [RawRecord(one.offset, one.timestamp_ms, one.key, one.value, one.headers) for one in topics.events.records]
    client = clickhouse._connect(name)
    client.insert(
        RAW.name, RawRows(0, 0, in_force).columns(records), column_names=RAW.names, column_type_names=RAW.types, column_oriented=True
    )  # as that program did
    return clickhouse


def views(clickhouse: ClickHouse) -> dict[str, list[str]]:
    """Each view with its columns."""
    found: dict[str, list[str]] = {}
    for row in clickhouse.read(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND table IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View') ORDER BY table, position"
    ):
        found.setdefault(row["table"], []).append(row["name"])
    return found


def said(clickhouse: ClickHouse, asked: dict[str, list[str]]) -> Rows:
    """What the views say in these columns."""
    return {view: clickhouse.read(f"SELECT {', '.join(columns)} FROM {view} ORDER BY ALL") for view, columns in asked.items()}


def test_an_upgrade_changes_nothing_that_was_said(engine_url: str) -> None:
    """Every view of the first schema says the same rows after three workers upgraded at once, and after a crash in the middle of each file."""
    clickhouse = first_archive(engine_url)
    asked = views(clickhouse)
    before = said(clickhouse, asked)
    assert min(len(before[view]) for view in ("judged_events", "usage_events", "window_recount", "window_totals")) > 1
    with ThreadPoolExecutor(3) as workers:
        done = [worker.result() for worker in [workers.submit(ClickHouse(clickhouse.address).migrate) for _ in range(3)]]
    later = [migration for migration in migrations() if migration.number > FIRST_SCHEMA]
    assert {name for names in done for name in names} == {migration.name for migration in later}
    assert said(clickhouse, asked) == before
    clickhouse.command(f"ALTER TABLE schema_migrations DELETE WHERE number > {FIRST_SCHEMA} SETTINGS mutations_sync = 1")
    for migration in later:
        for statement in migration.statements[: len(migration.statements) // 2]:
            clickhouse.command(statement)
        assert clickhouse.migrate([one for one in migrations() if one.number <= migration.number]) == [migration.name]
    assert said(clickhouse, asked) == before


class Overtaken(ClickHouse):
    """Each statement that replaces or alters finds the table gone the first time, as beside a worker that replaces it at that moment."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.refused: set[str] = set()

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Refused once, then done."""
        if sql.lstrip().startswith(("ALTER", "CREATE OR REPLACE")) and sql not in self.refused:
            self.refused.add(sql)
            raise Refused("ClickHouse refused: code: 218, Table first._tmp_replace_1 is dropped or detached. (TABLE_IS_DROPPED)")
        super().command(sql, parameters)


def test_a_view_replaced_under_a_statement_costs_another_try(engine_url: str) -> None:
    """Whoever finds a view gone that another worker is just replacing tries again, and the archive is at its newest schema."""
    overtaken = Overtaken(Address(url=engine_url, database="overtaken"))
    assert overtaken.migrate() == [migration.name for migration in migrations()]
    assert overtaken.refused
    assert overtaken.read("SELECT count() AS n FROM coverage") == [{"n": 0}]
