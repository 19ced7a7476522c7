"""Analysts see what a column means where they stand: every view and every column of one has a comment, and old readers keep working."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.client import Address, ClickHouse
from sinks.clickhouse.migrate import migrations
from tests.contract.archive_engine import archive_at

FIRST_VIEWS = 3
"""Number of the last migration of the schema as it was first documented: what read those views must go on reading."""


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def columns(clickhouse: ClickHouse) -> dict[str, dict[str, tuple[str, str]]]:
    """view → column → (type, comment)."""
    rows = clickhouse.read(
        "SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() AND table IN"
        " (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View') ORDER BY table, position"
    )
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for row in rows:
        found.setdefault(row["table"], {})[row["name"]] = (row["type"], row["comment"])
    return found


def test_every_column_of_every_view_says_what_it_means(engine_url: str) -> None:
    """No view and no column of one is without a comment; one that a migration replaced has to be commented again in that migration."""
    clickhouse = archive_at(engine_url, "comments")
    silent = [f"{view}.{name}" for view, found in columns(clickhouse).items() for name, (_, comment) in found.items() if not comment.strip()]
    assert not silent, f"say what these mean, in the migration that made them (ALTER TABLE view COMMENT COLUMN name '…'): {silent}"
    views = clickhouse.read("SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
    assert not [row["name"] for row in views if not row["comment"].strip()], "say what one row is (ALTER TABLE view MODIFY COMMENT '…')"
    assert len(views) >= 10


def test_old_readers_keep_working(engine_url: str) -> None:
    """Every column of the views as first documented is still there after all migrations, in its order and with its type."""
    newest = archive_at(engine_url, "readers_newest")
    new = columns(newest)
    first = ClickHouse(Address(url=engine_url, database="readers_first"))
    first.migrate([migration for migration in migrations() if migration.number <= FIRST_VIEWS])
    for view, found in columns(first).items():
        kept = {name: kind for name, (kind, _) in new[view].items()}
        assert [name for name in kept if name in found] == list(found), f"{view} lost a column or changed their order"
        assert {name: kept[name] for name in found} == {name: kind for name, (kind, _) in found.items()}, f"{view} changed a type"
        newest.read(f"SELECT {', '.join(found)} FROM {view} LIMIT 1")
