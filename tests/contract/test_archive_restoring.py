"""Rows of the archive taken from the log again: deleted ones come back, changed ones are as they were, strangers are gone, and nothing else moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from infra.embedded.testing import engine_server
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.restoring import Span, generations, restore_events, restore_window, span_of
from sinks.clickhouse.rows import RawRecord
from sinks.clickhouse.tables import RAW
from tests.contract.test_audit_archive import archived, changed
from tests.core.audit_world import AuditWorld
from topics.catalog import WINDOWS
from topics.windows import Window, window_key


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


def a_window(world: AuditWorld) -> Window:
    """A window of several events."""
    return next(row.window for row in world.meter.state.rows.all() if row.events > 1)


def state(clickhouse: ClickHouse) -> list[tuple[object, ...]]:
    """Everything that the archive's views say of raw events and revisions."""
    names = {"value": "record_value", "received_at": "record_received_at"}
    said = ", ".join(names.get(name, name) for name in RAW.names)
    events = clickhouse.rows(f"SELECT {said} FROM raw_events FINAL ORDER BY kafka_partition, generation, kafka_offset, customer")
    return [*events, *clickhouse.rows("SELECT * EXCEPT first_seen_inv FROM window_log FINAL ORDER BY ALL")]


def records_of(world: AuditWorld, span: Span, customer: str | None) -> list[RawRecord]:
    """The log's records of a span."""
    found = [record for record in world.events.records if span.first <= record.offset <= span.last]
    mine = [record for record in found if customer is None or record.key == customer.encode()]
    return [RawRecord(record.offset, record.timestamp_ms, record.key, record.value, record.headers) for record in mine]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE WHERE kafka_offset = {offset}",
        "UPDATE quantities = arrayMap(q -> q + 1, quantities) WHERE kafka_offset = {offset}",
        "UPDATE header_names = ['x'], header_values = ['y'] WHERE kafka_offset = {offset}",
    ],
)
def test_a_windows_raw_rows_are_what_the_log_says_again(engine_url: str, statement: str) -> None:
    """Whatever was done to a row, the window's rows are byte for byte what they were, other rows are untouched, and a second run changes nothing."""
    clickhouse, world = archived(engine_url, f"restored_{len(statement)}", 21)
    before = state(clickhouse)
    window = a_window(world)
    (span,) = span_of(clickhouse, window)
    changed(clickhouse, "raw_events", statement.format(offset=span.last))
    assert state(clickhouse) != before
    for _ in range(2):
        mine = records_of(world, span, window.customer)
        assert restore_events(clickhouse, 0, window.customer, span, mine) == len(mine)
        assert state(clickhouse) == before


def test_a_stranger_among_the_rows_goes(engine_url: str) -> None:
    """A row that was put at the coordinate of an event under another customer, or at one where the log has none of the customer, is removed."""
    clickhouse, world = archived(engine_url, "stranger", 22)
    before = state(clickhouse)
    window = a_window(world)
    (span,) = span_of(clickhouse, window)
    copied = "SELECT * REPLACE({customer} AS customer, {offset} AS kafka_offset) FROM raw_events WHERE kafka_offset = {source}"
    name = window.customer.encode()
    other = next(record.offset for record in world.events.records if span.first < record.offset < span.last and record.key != name)
    for customer, offset in (("'somebody'", span.last), ("customer", other)):
        clickhouse.command(f"INSERT INTO raw_events {copied.format(customer=customer, offset=offset, source=span.last)}")
    assert state(clickhouse) != before
    restore_events(clickhouse, 0, window.customer, span, records_of(world, span, window.customer))
    assert state(clickhouse) == before


def test_records_of_whichever_customers_come_back(engine_url: str) -> None:
    """Records that no window shows are restored by their offsets alone; what lies between them is nobody's concern."""
    clickhouse, world = archived(engine_url, "records", 23)
    before = state(clickhouse)
    offsets = [world.events.records[at].offset for at in (3, 9, 40)]
    changed(clickhouse, "raw_events", f"DELETE WHERE kafka_offset IN ({', '.join(map(str, offsets))})")
    span = Span(0, offsets[0], offsets[-1])
    mine = [record for record in records_of(world, span, None) if record.offset in offsets]
    assert restore_events(clickhouse, 0, None, span, mine) == 3
    assert state(clickhouse) == before


@pytest.mark.parametrize("statement", ["DELETE WHERE meter = '{meter}'", "UPDATE quantity = quantity + 1 WHERE meter = '{meter}'"])
def test_a_windows_revisions_are_what_the_topic_says_again(engine_url: str, statement: str) -> None:
    """Revisions that are gone or changed come back from usage.windows, each under its own place."""
    clickhouse, world = archived(engine_url, f"revisions_{len(statement)}", 24)
    before = state(clickhouse)
    window = a_window(world)
    changed(clickhouse, "window_log", statement.format(meter=window.meter))
    for record in world.logs[WINDOWS].records:
        restore_window(clickhouse, 0, [(record.offset, record.value or b"", record.headers)])
    assert state(clickhouse) == before and window_key(window)
    assert restore_window(clickhouse, 0, []) == 0 and generations(clickhouse) == {0: 0}


class Meanwhile:
    """A connection on which somebody else restores the same rows, whole, after ours were inserted and before others are deleted."""

    def __init__(self, clickhouse: ClickHouse, happens: Callable[[], object]) -> None:
        self._clickhouse = clickhouse
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clickhouse, name)

    def command(self, *asked: Any) -> Any:
        """Somebody else, then ours."""
        self._happens()
        return self._clickhouse.command(*asked)


def test_two_who_restore_the_same_rows_at_once_lose_none(engine_url: str) -> None:
    """Two operators repair one window at the same time: neither takes the other's rows for strangers, and what stands is what the log says."""
    clickhouse, world = archived(engine_url, "at_once", 26)
    before = state(clickhouse)
    window = a_window(world)
    (span,) = span_of(clickhouse, window)
    changed(clickhouse, "raw_events", f"DELETE WHERE kafka_offset = {span.last}")
    mine = records_of(world, span, window.customer)
    other = Meanwhile(clickhouse, lambda: restore_events(clickhouse, 0, window.customer, span, mine))
    restore_events(cast("ClickHouse", other), 0, window.customer, span, mine)
    assert state(clickhouse) == before
