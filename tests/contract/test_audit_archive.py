"""The audit against ClickHouse's engine: it agrees to the byte, every hand that tampers is named, a truncated log is read there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.auditing import partition
from infra.auditing.findings import Finding, PartitionAudit
from infra.embedded.testing import engine_server
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import PROGRESS, RAW, columns_of
from tests.contract.archive_engine import archive_at, write_raw, write_topic
from tests.core.audit_world import AuditWorld, busy_log
from tests.core.meterlog import NOW_MS, Log
from tests.core.test_audit import numbers, with_quantity
from tests.core.test_audit_amendments import told
from tests.core.test_fold import build_log
from topics.catalog import DEFINITIONS, EVENTS, REJECTED, VERDICTS, WINDOWS
from topics.definitions import decode_definition
from topics.windows import Window

TABLES = ("raw_events", "verdict_log", "window_log")


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody archives here while the audit waits; small chunks make many of them."""
    monkeypatch.setattr(partition, "ARCHIVE_WAIT_S", 0.0)
    monkeypatch.setattr(partition, "CHUNK", 64)
    monkeypatch.setattr("infra.auditing.views.CHUNK", 64)


def archived(url: str, name: str, seed: int, length: int = 300) -> tuple[ClickHouse, AuditWorld]:
    """A world that was counted, emitted and archived to its end."""
    world = AuditWorld(seed, busy_log(seed, length))
    world.emit()
    clickhouse = archive_at(url, f"audit_{name}_{seed}")
    archive(clickhouse, world)
    return clickhouse, world


def archive(clickhouse: ClickHouse, world: AuditWorld) -> None:
    """Everything that the topics hold, as the archive worker writes it."""
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        write_topic(clickhouse, topic, world.logs[topic].records)
    write_raw(clickhouse, world.events.records, world.logs[DEFINITIONS].records)
    ends = [(topic, 0, 0, world.logs[topic].end) for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS)]
    clickhouse.insert(PROGRESS, columns_of([*ends, (EVENTS, 0, 0, world.meter.durable_offset)], PROGRESS))


def adopt(clickhouse: ClickHouse, world: AuditWorld, log: Log) -> None:
    """The log becomes another one, which is counted and archived to its end."""
    world.adopt(log)
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        write_topic(clickhouse, topic, world.logs[topic].records)
    in_force = InForce(at_once=True)
    for record in world.logs[DEFINITIONS].records:
        in_force.add(decode_definition(record.value or b"", "test"))
    raw = [RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in world.events.records]
    clickhouse.insert(RAW, RawRows(0, 1, in_force).columns(raw))
    ends = [(topic, 0, 0, world.logs[topic].end) for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS)]
    clickhouse.insert(PROGRESS, columns_of([*ends, (EVENTS, 0, 1, world.meter.durable_offset)], PROGRESS))


async def audited(clickhouse: ClickHouse, world: AuditWorld) -> tuple[list[Finding], PartitionAudit]:
    """Findings about numbers, and the whole audit."""
    found = await world.audited(archive=clickhouse)
    return numbers(found), found


def changed(clickhouse: ClickHouse, table: str, statement: str) -> None:
    """Tamper, and wait until it is done."""
    clickhouse.command(f"ALTER TABLE {table} {statement} SETTINGS mutations_sync = 1")


@pytest.mark.parametrize("seed", range(3))
async def test_what_the_archive_holds_is_what_the_log_holds(engine_url: str, seed: int) -> None:
    """Of a hostile log every record, verdict, revision and window in ClickHouse is compared, and none differs."""
    clickhouse, world = archived(engine_url, "clean", seed)
    found, audit = await audited(clickhouse, world)
    assert found == []
    assert (audit.unchecked, audit.archived_to) == ([], world.events.end)
    assert audit.checked.raw_rows == len(world.events.records)
    assert audit.checked.view_windows == audit.checked.windows
    assert audit.checked.verdicts == sum(audit.table[name] for name in ("duplicate", "rejected", "too_late", "rerouted"))


async def counted_event(world: AuditWorld) -> tuple[int, Window]:
    """Offset and window of an event that counted."""
    row = next(row for row in world.meter.state.rows.all() if row.events > 1)
    return row.through_offset, row.window


async def test_a_deleted_raw_row_is_named(engine_url: str) -> None:
    """A row that is gone from raw_events is named by its offset, its window by both sums, and the verdicts by their counts."""
    clickhouse, world = archived(engine_url, "deleted", 11)
    offset, window = await counted_event(world)
    changed(clickhouse, "raw_events", f"DELETE WHERE kafka_offset = {offset}")
    found, _ = await audited(clickhouse, world)
    (row,) = [finding for finding in found if finding.kind == "raw"]
    assert (row.offset, row.of_customer, row.one_says) == (offset, window.customer, "no row")
    assert window in {finding.window for finding in found if finding.kind == "view"}
    assert f"counted below offset {world.events.end}" in {finding.what for finding in found}


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        ("UPDATE value = concat(value, ' ') WHERE kafka_offset = {offset}", {"raw"}),
        ("UPDATE header_names = ['x'], header_values = ['y'] WHERE kafka_offset = {offset}", {"raw"}),
        ("UPDATE quantities = arrayMap(q -> q + 1, quantities) WHERE kafka_offset = {offset}", {"view"}),
        # An event's id is stored once: where it is changed, both the copy of its bytes and what is counted are not the log's any more.
        ("UPDATE event_id = 'another' WHERE kafka_offset = {offset}", {"raw", "view"}),
    ],
)
async def test_a_changed_raw_row_is_named(engine_url: str, statement: str, kinds: set[str]) -> None:
    """A changed byte, header, quantity or id of one raw row is named by its offset or by its window, and by nothing else."""
    clickhouse, world = archived(engine_url, f"changed_{len(statement)}", 12)
    offset, window = await counted_event(world)
    changed(clickhouse, "raw_events", statement.format(offset=offset))
    found, _ = await audited(clickhouse, world)
    assert {finding.kind for finding in found} == kinds
    assert {finding.offset for finding in found} <= {offset, None}
    assert {finding.of_customer for finding in found} == {window.customer}


async def test_a_deleted_verdict_is_named(engine_url: str) -> None:
    """A duplicate whose verdict is gone shows as counted in ClickHouse: its offset is named, and what its window adds up to."""
    clickhouse, world = archived(engine_url, "verdict", 13)
    gone = clickhouse.read("SELECT min(kafka_offset) AS o FROM verdict_log WHERE verdict = 'rejected'")[0]["o"]
    changed(clickhouse, "verdict_log", f"DELETE WHERE kafka_offset = {gone}")
    found, _ = await audited(clickhouse, world)
    assert [finding.offset for finding in found if finding.kind == "verdict"] == [gone]
    assert "view" in {finding.kind for finding in found}


async def test_changed_and_deleted_revisions_are_named(engine_url: str) -> None:
    """A total that differs in ClickHouse is named under both views that show it, one that is gone by the topic that has it."""
    clickhouse, world = archived(engine_url, "revision", 14)
    offset, window = await counted_event(world)
    name = f"customer = '{window.customer}' AND meter = '{window.meter}' AND toUnixTimestamp(window_start) = {window.start_s}"
    changed(clickhouse, "window_log", f"UPDATE quantity = quantity + 1 WHERE {name} AND through_offset = {offset}")
    found, _ = await audited(clickhouse, world)
    assert {finding.one for finding in found} == {"ClickHouse (window_revisions)", "ClickHouse (window_totals)"}
    assert {(finding.window, finding.offset) for finding in found} == {(window, offset)}
    changed(clickhouse, "window_log", f"DELETE WHERE {name}")
    found, _ = await audited(clickhouse, world)
    assert {(finding.one, finding.other_says, finding.window) for finding in found} == {("usage.windows", "it is not there", window)}


async def test_a_forged_total_is_named_wherever_it_went(engine_url: str) -> None:
    """A forged record of usage.windows that was archived too is named on the topic and under both views."""
    clickhouse, world = archived(engine_url, "forged", 15)
    record = world.logs[WINDOWS].records[-1]
    world.logs[WINDOWS].add(record.key, with_quantity(record, through_offset=world.events.end - 1, quantity="1000000"), NOW_MS)
    archive(clickhouse, world)
    found, _ = await audited(clickhouse, world)
    assert {finding.one for finding in found} >= {"usage.windows", "ClickHouse (window_revisions)", "ClickHouse (window_totals)"}
    assert {finding.offset for finding in found} == {world.events.end - 1}


async def test_an_archive_that_is_behind_is_compared_as_far_as_it_is(engine_url: str) -> None:
    """Where ClickHouse has only a part, that part is compared, nothing beyond it is called a difference, and the rest is said."""
    world = AuditWorld(16, busy_log(16), until=150)
    clickhouse = archive_at(engine_url, "audit_behind")
    archive(clickhouse, world)
    reached = world.meter.durable_offset
    world.go_on()
    world.emit()
    found, audit = await audited(clickhouse, world)
    assert found == []
    assert audit.archived_to == reached
    assert audit.checked.raw_rows == sum(record.offset < reached for record in world.events.records)
    assert audit.checked.log_records == len(world.events.records)
    assert any(f"offsets {reached} to {audit.next_offset - 1} in ClickHouse" in sentence for sentence in audit.unchecked)


async def test_a_truncated_log_is_counted_again_from_the_copy(engine_url: str) -> None:
    """Where retention has removed the log's beginning, ClickHouse's copy of it is counted instead, and that it was is said."""
    clickhouse, world = archived(engine_url, "truncated", 17)
    begin = world.events.end // 2
    world.begins[EVENTS] = begin
    found, audit = await audited(clickhouse, world)
    assert found == []
    assert audit.recounted == audit.table
    assert audit.checked.copy_records == sum(record.offset < begin for record in world.events.records)
    assert any(f"offsets 0 to {begin - 1} against Kafka" in sentence for sentence in audit.unchecked)
    changed(clickhouse, "raw_events", f"UPDATE value = '' WHERE kafka_offset IN (SELECT kafka_offset FROM usage_events WHERE kafka_offset < {begin})")
    found, _ = await audited(clickhouse, world)
    assert {"counters", "row"} <= {finding.kind for finding in found}


async def test_where_neither_has_the_beginning_nothing_is_claimed(engine_url: str) -> None:
    """Where the copy's oldest month was dropped too, there is no recount and no false alarm, and the sentence says from where on there is one."""
    clickhouse, world = archived(engine_url, "dropped", 18)
    begin = world.events.end // 2
    world.begins[EVENTS] = begin
    changed(clickhouse, "raw_events", f"DELETE WHERE kafka_offset < {begin - 20}")
    found, audit = await audited(clickhouse, world)
    assert found == []
    assert (audit.checked.log_records, audit.recounted) == (0, {})
    assert any("the totals of earlier events cannot be added up again" in sentence for sentence in audit.unchecked)


async def test_an_archive_that_began_late_is_compared_from_its_beginning_on(engine_url: str) -> None:
    """An archive that was made after the first verdicts had left their topic is no difference; were they still there, it would be one."""
    clickhouse, world = archived(engine_url, "late", 22)
    first = world.events.records[60].offset
    for table in ("raw_events", "verdict_log"):
        changed(clickhouse, table, f"DELETE WHERE kafka_offset < {first}")
    world.begins[VERDICTS] = 1
    found, audit = await audited(clickhouse, world)
    assert found == []
    assert audit.checked.raw_rows == len(world.events.records) - 60
    assert any(f"the archive begins at {first}" in sentence for sentence in audit.unchecked)
    world.begins[VERDICTS] = 0
    found, _ = await audited(clickhouse, world)
    assert sum(finding.kind == "raw" for finding in found) == 60


async def test_an_adopted_log_is_counted_through_all_its_generations(engine_url: str) -> None:
    """After an adoption the first generation is counted from ClickHouse's copy and the second from Kafka, through the same windows."""
    clickhouse, world = archived(engine_url, "adopted", 20)
    first, before = world.events, world.meter.counters.postings
    adopt(clickhouse, world, build_log(21))
    found, audit = await audited(clickhouse, world)
    assert found == []
    assert (audit.generation, audit.recounted) == (1, audit.table)
    assert audit.checked.copy_records == len(first.records)
    assert audit.checked.log_records == len(first.records) + len(world.events.records)
    assert audit.table["postings"] > before
    gone = first.records[-1].offset
    changed(clickhouse, "raw_events", f"DELETE WHERE generation = 0 AND kafka_offset = {gone}")
    found, _ = await audited(clickhouse, world)
    assert [finding.what for finding in found if finding.kind == "raw"] == ["offsets without a record in generation 0"]
    changed(clickhouse, "raw_events", "DELETE WHERE generation = 0 AND kafka_offset < 50")
    found, audit = await audited(clickhouse, world)
    assert (found, audit.recounted) == ([], {})
    assert any("generation 0" in sentence for sentence in audit.unchecked)


@pytest.mark.parametrize("seed", [301, 302])
async def test_amendments_are_counted_through_all_generations(engine_url: str, seed: int) -> None:
    """Amendments that act and refused ones agree everywhere, and a recreated log that says all of it again adds nothing anywhere."""
    story = told(seed)
    world = AuditWorld(seed, story.bench.log)
    world.emit()
    clickhouse = archive_at(engine_url, f"audit_amended_{seed}")
    archive(clickhouse, world)
    found, audit = await audited(clickhouse, world)
    assert (found, audit.recounted, audit.table["control"]) == ([], audit.table, 1 + len(story.acting))
    assert audit.checked.view_windows == audit.checked.windows > 0
    again = Log()
    for record in world.events.records:
        again.add(record.key, record.value, record.timestamp_ms)
    before = audit.table["postings"]
    adopt(clickhouse, world, again)
    found, audit = await audited(clickhouse, world)
    assert (found, audit.generation, audit.recounted, audit.table["postings"]) == ([], 1, audit.table, before)


async def test_a_topic_that_retention_emptied_is_stood_for_by_the_archive(engine_url: str) -> None:
    """Revisions that retention removed from usage.windows are taken from ClickHouse: each is still held against the log, and none is missed."""
    clickhouse, world = archived(engine_url, "emptied", 19)
    world.begins[WINDOWS] = world.logs[WINDOWS].end
    found, audit = await audited(clickhouse, world)
    assert found == []
    assert audit.checked.revisions > audit.checked.windows
    assert [sentence for sentence in audit.unchecked if "retention has removed it" in sentence]
