"""The audit: nothing that the meter does is a difference, whatever the log holds and wherever its changelog was cut; everything planted is named."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from infra.auditing import compare
from infra.auditing.findings import IDS, Finding, PartitionAudit
from infra.auditing.sources import Bounds
from streams.row_segments import RowColumns, RowSegment
from streams.segments import COUNTERS, ROWS, CounterRecord, decode_segment, encode_segment
from tests.core.audit_world import AuditWorld, busy_log
from tests.core.meterlog import NOW_MS, Stored
from tests.core.plain_rows import plain
from tests.core.test_fold import HOME
from topics.catalog import DEFINITIONS, EVENTS, STATE, WINDOWS
from topics.codec import encode
from topics.definitions import decode_definition
from topics.meters import MeterVersion
from topics.window_total import decode_window_total

SEEDS = 25


def numbers(found: PartitionAudit) -> list[Finding]:
    """Findings that are no matter of what producers sent."""
    return [finding for finding in found.findings.kept if finding.kind not in IDS]


def finished(seed: int, length: int = 200) -> AuditWorld:
    """A world in which everything was emitted."""
    world = AuditWorld(seed, busy_log(seed, length))
    world.emit()
    return world


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_what_the_meter_does_is_no_difference(seed: int) -> None:
    """On a hostile log with changing meters and bindings every row, counter, revision and version is the recount's, and all are compared."""
    world = finished(seed)
    found = await world.audited()
    assert numbers(found) == []
    assert found.recounted == found.table == compare.numbers(world.meter.counters)
    assert found.checked.log_records == len(world.events.records)
    assert found.checked.rows == world.meter.state.rows.count
    assert found.checked.windows == world.meter.state.rows.count + world.meter.state.retired.rows
    assert found.checked.revisions > found.checked.windows
    assert (found.residual, found.checked.newer_revisions, found.checked.definitions > 3) == (0, 0, True)


@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
async def test_wherever_the_changelog_is_cut_there_is_no_false_alarm(seed: int) -> None:
    """While the meter works on, the changelog is read up to any record of any flush and the other topics further: still nothing differs."""
    rng = random.Random(seed)
    for _ in range(3):
        world = finished(seed)
        log = world.logs[STATE]
        log.records = log.records[: rng.randrange(len(log.records))]
        found = await world.audited()
        assert numbers(found) == []
        if found.next_offset:
            assert found.checked.log_records == sum(record.offset < found.next_offset for record in world.events.records)


async def test_revisions_beyond_the_point_are_passed_over_and_counted() -> None:
    """A table that stands before the log's end is compared at its own point; what was emitted later is counted as not judged."""
    log = busy_log(7)
    world = AuditWorld(7, log, until=log.end // 2)
    records = [*world.logs[STATE].records]
    world.go_on()
    world.emit()
    world.logs[STATE].records = records
    found = await world.audited()
    assert numbers(found) == []
    assert found.next_offset == log.end // 2
    assert found.checked.newer_revisions > 0


# ── planted ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def in_segments(world: AuditWorld, kind: bytes, change: Callable[[Any], None]) -> None:
    """Tamper with every stored segment of a kind, with the right checksum."""

    def changed(record: Stored) -> Stored:
        found = decode_segment(kind, record.value or b"", "test")
        segment = plain(found) if isinstance(found, RowColumns) else found
        change(segment)
        return record._replace(value=encode_segment(segment))

    assert world.change(STATE, lambda record: (record.key or b"")[:1] == kind and record.value is not None, changed)


def raised(customer: str) -> Callable[[RowSegment], None]:
    """A customer's rows get one unit more."""

    def change(segment: RowSegment) -> None:
        for row in segment.rows:
            if row.customer == customer:
                scaled = int.from_bytes(row.scaled, "little", signed=True) + 10**12
                row.scaled = scaled.to_bytes(24, "little", signed=True)

    return change


async def test_a_changed_row_of_the_table_is_named() -> None:
    """Rows with another sum, right checksums and all, are named with customer, meter, window and both totals."""
    world = finished(3)
    live = {row.window for row in world.meter.state.rows.all() if row.window.customer == HOME[0]}
    in_segments(world, ROWS, raised(HOME[0]))
    found = numbers(await world.audited())
    assert {finding.window for finding in found} == live
    assert {finding.kind for finding in found} == {"row"}
    assert all("usage.state" in finding.sentence() and HOME[0] in finding.place() for finding in found)


async def test_a_lost_segment_of_the_table_is_the_finding() -> None:
    """Where the product's own recovery refuses the table, its sentence is the finding and nothing else is claimed."""
    world = finished(3)
    world.change(STATE, lambda record: (record.key or b"")[:1] == ROWS, lambda _: None)
    found = await world.audited()
    assert [finding.kind for finding in numbers(found)] == ["state"]
    assert "segments are missing" in numbers(found)[0].one_says
    assert found.checked.log_records == 0
    assert len(found.unchecked) == 1


def moved(one: str, other: str) -> Callable[[CounterRecord], None]:
    """Counters in which an event has another fate."""

    def change(record: CounterRecord) -> None:
        setattr(record.counters, one, getattr(record.counters, one) + 1)
        if other:
            setattr(record.counters, other, getattr(record.counters, other) - 1)

    return change


async def test_changed_counters_are_named() -> None:
    """An event that moved from one fate to another is named twice with both numbers, one that came from nowhere is a residual too."""
    world = finished(4)
    in_segments(world, COUNTERS, moved("duplicate", "counted"))
    found = {finding.what: finding for finding in numbers(await world.audited())}
    assert set(found) == {"duplicate", "counted"}
    assert int(found["duplicate"].one_says) == int(found["duplicate"].other_says) + 1
    world = finished(4)
    in_segments(world, COUNTERS, moved("control", ""))
    audit = await world.audited()
    assert audit.residual == -1
    assert {finding.kind for finding in numbers(audit)} == {"residual", "counters"}


def some_total(world: AuditWorld, at: int = 0) -> Stored:
    """A record of usage.windows."""
    return world.logs[WINDOWS].records[at]


def with_quantity(record: Stored, **changes: Any) -> bytes:
    """The record's body with other fields."""
    return encode(msgspec.structs.replace(decode_window_total(record.value, "test"), **changes))


async def test_a_forged_total_is_named() -> None:
    """A record that the meter did not write, under a revision that no event made, is named with its place on the log and its window."""
    world = finished(5)
    record = some_total(world)
    total = decode_window_total(record.value, "test")
    world.logs[WINDOWS].add(record.key, with_quantity(record, quantity="999", through_offset=total.through_offset + 1), NOW_MS)
    (finding,) = numbers(await world.audited())
    assert (finding.kind, finding.window, finding.offset) == ("revision", total.window, total.through_offset + 1)
    assert "999" in finding.one_says
    assert "no counted event" in finding.other_says


async def test_a_second_total_under_one_revision_is_named() -> None:
    """Two records that name two totals by one revision are found as such, and which of them is the log's."""
    world = finished(5)
    record = some_total(world)
    world.logs[WINDOWS].add(record.key, with_quantity(record, quantity="999"), NOW_MS)
    found = numbers(await world.audited())
    assert [finding.kind for finding in found] == ["uniqueness", "revision"]
    assert "999" in found[1].one_says


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda record: record._replace(key=b"a|b|1|2"), "its key"),
        (lambda record: record._replace(value=b"no json"), "cannot be read"),
        (lambda record: record._replace(value=with_quantity(record, partition=3)), "it says partition 3"),
        (lambda record: record._replace(value=with_quantity(record, quantity="1e3")), "no stored total"),
    ],
)
async def test_a_strange_record_of_usage_windows_is_named(changed: Callable[[Stored], Stored], words: str) -> None:
    """A record under a wrong key, of a wrong partition, or that is none, is named by its offset on usage.windows."""
    world = finished(5)
    last = world.logs[WINDOWS].records[-1]
    world.logs[WINDOWS].add(*changed(last)[1:3], NOW_MS)
    found = [finding for finding in numbers(await world.audited()) if finding.kind == "record"]
    assert [words in finding.one_says for finding in found] == [True]
    assert f"usage.windows at {last.offset + 1}" in found[0].one


async def test_a_removed_total_is_named() -> None:
    """A revision that was emitted and is not on usage.windows any more is named; once retention removed it, it is only not checked."""
    world = finished(6)
    window = next(row.window for row in world.meter.state.rows.all())
    world.change(WINDOWS, lambda record: decode_window_total(record.value, "test").window == window, lambda _: None)
    (finding,) = numbers(await world.audited())
    assert (finding.window, finding.other_says) == (window, "it is not there")
    world.begins[WINDOWS] = 1
    found = await world.audited()
    assert numbers(found) == []
    assert any("revisions that were emitted: they are older" in sentence for sentence in found.unchecked)


async def test_a_forged_definition_is_named() -> None:
    """A version on usage.definitions that no control record brought, and one that was removed, are named: they decide who is billed where."""
    world = finished(8)
    record = next(one for one in world.logs[DEFINITIONS].records if b'"kind":"meter"' in (one.value or b""))
    version = decode_definition(record.value or b"", "test")
    assert isinstance(version, MeterVersion)
    forged = msgspec.structs.replace(version, meter=msgspec.structs.replace(version.meter, window_s=90))
    world.logs[DEFINITIONS].add(record.key, encode(forged), NOW_MS)
    (finding,) = numbers(await world.audited())
    assert finding.kind == "definition"
    assert '"window_s":90' in finding.one_says
    assert '"window_s":60' in finding.other_says
    world.change(DEFINITIONS, lambda one: one.key == record.key, lambda _: None)
    (finding,) = numbers(await world.audited())
    assert finding.one_says == "nothing"
    world.logs[DEFINITIONS].add(record.key, (record.value or b"").replace(b'"window_s":60', b'"window_s":90'), NOW_MS)
    (finding,) = numbers(await world.audited())
    assert (finding.kind, "checksum" in finding.one_says) == ("record", True)


async def test_a_record_that_left_the_log_is_seen_in_every_number_it_was_part_of() -> None:
    """A counted event that is not in the log any more shows as one skipped more, by what is counted in its place, and by its window."""
    world = finished(9)
    row = next(row for row in world.meter.state.rows.all() if row.events > 1)
    world.change(EVENTS, lambda record: record.offset == row.through_offset, lambda _: None)
    found = numbers(await world.audited())
    said = {finding.what for finding in found}
    assert "skipped" in said
    assert said & {"counted", "duplicate"}
    assert row.window in {finding.window for finding in found}


async def test_retention_between_two_questions_is_no_difference() -> None:
    """Where the log's beginning is removed after it was asked for and before it is read, nothing is claimed, and the sentence says: again."""
    world = finished(9)

    class Moving(AuditWorld):
        """Its log loses ten offsets after the first question."""

        async def bounds(self, topic: str) -> Bounds:
            """See `Source.bounds`."""
            found = await super().bounds(topic)
            if topic == EVENTS:
                self.begins[EVENTS] = 10
            return found

    world.__class__ = Moving
    found = await world.audited()
    assert numbers(found) == []
    assert any("audit again" in sentence for sentence in found.unchecked)


async def test_a_truncated_log_claims_nothing_but_holds_the_sources_together() -> None:
    """Without the log's beginning and without ClickHouse nothing is said to be counted again; a changed total is found all the same."""
    world = finished(10)
    world.begins[EVENTS] = 5
    found = await world.audited()
    assert numbers(found) == []
    assert (found.checked.log_records, found.checked.windows, found.recounted) == (0, 0, {})
    assert any("Kafka no longer has offsets below 5" in sentence for sentence in found.unchecked)
    in_segments(world, ROWS, raised(HOME[1]))
    found = await world.audited()
    assert {finding.kind for finding in numbers(found)} == {"uniqueness"}
    assert {finding.of_customer for finding in numbers(found)} == {HOME[1]}
