"""The archive worker against a model of ClickHouse: crashes, outages, order, back-pressure, halts (laws 18, 19; H33, H34)."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import pytest
from msgspec import structs

from sinks.clickhouse import app_patience, app_raw
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import RAW, VERDICT, WINDOW
from tests.agents.archive_world import DEFINITIONS, REJECTED, VERDICTS, WINDOWS, Killed, ModelStore, Process, Topics
from tests.core.test_fold import build_log
from topics.codec import encode
from topics.definitions import decode_definition
from topics.errors import Unreachable
from topics.verdict import Mark, decode_verdict
from topics.window_total import decode_window_total


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a millisecond."""
    monkeypatch.setattr(app_patience, "FIRST_S", 0.001)
    monkeypatch.setattr(app_patience, "MOST_S", 0.002)
    monkeypatch.setattr(app_raw, "IDLE_S", 0.002)


def expected_raw(topics: Topics) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The raw rows of the whole log, built in one go."""
    in_force = InForce()
    for record in topics.records(DEFINITIONS):
        in_force.add(decode_definition(record.value or b"", "test"))
    rows = RawRows(0, 0, in_force).columns([RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in topics.events.records])
    found = [dict(zip(RAW.names, cells, strict=True)) for cells in zip(*rows, strict=True)]
    return {(0, 0, row["kafka_offset"]): row for row in found}


def expect_everything(topics: Topics, store: ModelStore) -> None:
    """The archive holds exactly the log: each record once, each verdict, each revision."""
    assert store.final(RAW) == expected_raw(topics)
    verdicts = [decode_verdict(record.value, "test") for record in topics.records(VERDICTS)]
    offsets = {verdict.offset for verdict in verdicts if not isinstance(verdict, Mark)}
    assert {key[2] for key in store.final(VERDICT)} == offsets
    totals = {decode_window_total(record.value, "test") for record in topics.records(WINDOWS)}
    assert len(store.final(WINDOW)) == len(totals)


async def run_to_the_end(topics: Topics, store: ModelStore, rng: random.Random, **settings: Any) -> Process:
    """One life that archives everything; the caller ends it."""
    process = Process(topics, store, rng, **settings)
    try:
        await process.start()
        delivering = asyncio.ensure_future(process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng))
        watching = asyncio.ensure_future(process.archived(topics))
        await asyncio.wait({delivering, watching}, return_when=asyncio.FIRST_EXCEPTION)
        for task in (watching, delivering):
            if not task.done():
                task.cancel()
        await watching
        await delivering
    finally:
        await process.end()
    return process


@pytest.mark.parametrize("seed", range(25))
async def test_a_kill_at_any_insert_loses_and_doubles_nothing(seed: int) -> None:
    """However often the worker dies before, within or after an insert, the archive ends with each record exactly once and none past its mark."""
    rng = random.Random(seed)
    topics, store = Topics(seed, build_log(seed, 150), doubled=True), ModelStore()
    kills = 0

    def kill(_table: str) -> bool:
        nonlocal kills
        if kills < 8 and rng.random() < 0.5:
            kills += 1
            return True
        return False

    store.kill = kill
    for _ in range(40):
        try:
            process = await run_to_the_end(topics, store, rng)
            break
        except Killed:
            continue
    assert process.is_done(topics)
    assert kills >= 2
    expect_everything(topics, store)


async def test_rows_that_are_there_are_not_inserted_again() -> None:
    """After a crash between rows and progress the rows are found and skipped, so that nothing but the cut-off batch is sent twice."""
    rng = random.Random(1)
    topics, store = Topics(1, build_log(1, 150)), ModelStore()
    store.kill = lambda table: table == "progress"
    with pytest.raises(Killed):
        await run_to_the_end(topics, store, rng)
    store.kill = lambda _: False
    there = {name: len(rows) for name, rows in store.tables.items()}
    await run_to_the_end(topics, store, rng)
    expect_everything(topics, store)
    assert len(store.tables["verdict_log"]) == len(store.final(VERDICT)) >= there.get("verdict_log", 0)
    assert len(store.tables["raw_events"]) == len(store.final(RAW))


async def test_an_outage_is_said_once_and_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """While ClickHouse and Kafka do not answer the worker tries again, says so once each, and then has everything."""
    rng = random.Random(2)
    topics, store = Topics(2, build_log(2, 150)), ModelStore()
    failures = {"store": 60, "log": 15}

    def down() -> Exception | None:
        failures["store"] -= 1
        return Unreachable("ClickHouse does not answer") if failures["store"] > 0 else None

    store.fault = down
    process = Process(topics, store, rng)

    def log_down() -> Exception | None:
        failures["log"] -= 1
        return Unreachable("Kafka does not answer") if failures["log"] > 0 else None

    process.raw_log.fault = log_down
    with caplog.at_level(logging.WARNING):
        await process.start()
        await process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng)
        await process.archived(topics)
    await process.end()
    expect_everything(topics, store)
    said = [record.message for record in caplog.records if "does not answer" in record.message]
    assert sorted(sentence.split()[0] for sentence in said) == ["ClickHouse", "Kafka"]
    assert process.worker.progress > 60


async def test_raw_events_wait_for_the_definitions_below_their_mark() -> None:
    """No raw event is read while a definition that the meter published before the mark has not been consumed."""
    rng = random.Random(3)
    topics, store = Topics(3, build_log(3, 80)), ModelStore()
    process = Process(topics, store, rng)
    await process.start()
    await process.flow.deliver(process.worker, [VERDICTS, WINDOWS, REJECTED], rng)
    await asyncio.sleep(0.05)
    assert store.tables["mark_log"]
    assert process.raw_log.reads == 0
    await process.flow.deliver(process.worker, [DEFINITIONS], rng)
    await process.archived(topics)
    await process.end()
    expect_everything(topics, store)


async def test_a_full_buffer_makes_delivery_wait_and_blocks_nothing_else() -> None:
    """With more waiting than is allowed the worker takes no further batch, and goes on as soon as ClickHouse answers again."""
    rng = random.Random(4)
    topics, store = Topics(4, build_log(4, 200)), ModelStore()
    is_down = True
    process = Process(topics, store, rng, pending_rows=10)
    await process.start()
    store.fault = lambda: Unreachable("ClickHouse does not answer") if is_down else None
    delivering = asyncio.ensure_future(process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng))
    await asyncio.sleep(0.05)
    assert not delivering.done()
    is_down = False
    await delivering
    await process.archived(topics)
    await process.end()
    expect_everything(topics, store)


async def test_a_revoke_lets_go_and_the_next_assignment_goes_on() -> None:
    """Partitions that go away in the middle and come back are archived without loss, and a batch of the time before is dropped."""
    rng = random.Random(5)
    topics, store = Topics(5, build_log(5, 150)), ModelStore()
    process = Process(topics, store, rng)
    await process.start()
    others = topics.logs.keys() - {"usage.events"}
    for epoch in range(2, 6):
        await process.flow.deliver(process.worker, others, rng, most=4)
        stale = process.flow._cut(VERDICTS, rng) if process.flow.positions[(VERDICTS, 0)] < topics.logs[VERDICTS].end else None
        await process.flow.revoke(process.worker)
        if stale is not None:
            await process.worker.take(stale)
        await process.flow.assign(process.worker, epoch)
    await process.flow.deliver(process.worker, others, rng)
    await process.archived(topics)
    await process.end()
    expect_everything(topics, store)
    assert process.flow.current == 5


async def test_an_unreadable_record_halts_its_partition_by_name() -> None:
    """A record of ours that cannot be read stops its partition with topic, partition and offset, and nothing after it is archived."""
    rng = random.Random(6)
    topics, store = Topics(6, build_log(6, 40)), ModelStore()
    offset = topics.logs[WINDOWS].add(b"k", b'{"v":99}', 1)
    topics.logs[WINDOWS].add(b"k", b"not json", 1)
    process = Process(topics, store, rng)
    await process.start()
    await process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng)
    await asyncio.sleep(0.02)
    await process.end()
    assert process.worker.halted is not None
    assert f"usage.windows 0, offset {offset}" in process.worker.halted
    assert "upgrade tidemark" in process.worker.halted
    line = next(line for line in process.worker.status()["partitions"] if line["topic"] == WINDOWS)
    assert line["archived_offset"] <= offset


async def test_what_retention_removed_before_it_was_archived_is_refused() -> None:
    """An outage longer than retention halts with the range, for raw events as for verdicts, and shows nothing past it (H34)."""
    rng = random.Random(7)
    topics, store = Topics(7, build_log(7, 60)), ModelStore()
    await run_to_the_end(topics, store, rng)
    archived = await store.progress("usage.events", 0)
    assert archived is not None
    for _ in range(10):
        topics.events.add(b"k", b"{", 1)
    mark = decode_verdict([record for record in topics.records(VERDICTS) if record.key is None][-1].value, "test")
    assert isinstance(mark, Mark)
    topics.logs[VERDICTS].add(None, encode(structs.replace(mark, next_offset=topics.events.end)), 1)
    second = Process(topics, store, rng)
    second.raw_log.begin = archived.next_offset + 5
    await second.start()
    await second.flow.deliver(second.worker, [DEFINITIONS, VERDICTS], rng)
    await asyncio.sleep(0.05)
    await second.worker.on_out_of_range((WINDOWS, 0), 3, 9, 20)
    await second.end()
    halted = [lane.halted for lane in second.worker._raw.lanes.values()]
    assert f"offsets {archived.next_offset} to {archived.next_offset + 4} were removed" in str(halted)
    assert "usage.windows 0: offsets 3 to 8 were removed" in str(second.worker.halted)
    assert await store.progress("usage.events", 0) == archived


@pytest.mark.parametrize("with_crash", [False, True])
async def test_a_new_archive_shows_no_event_whose_verdict_is_gone(with_crash: bool) -> None:
    """Where retention took the first verdicts, a new archive holds raw events only from the first mark that is left, also after a crash."""
    rng = random.Random(10)
    topics, store = Topics(10, build_log(10, 2000)), ModelStore()
    marks = [record for record in topics.records(VERDICTS) if isinstance(decode_verdict(record.value, "test"), Mark)]
    begin = marks[0].offset + 1
    floor = decode_verdict(marks[1].value, "test")
    assert isinstance(floor, Mark)
    for life in range(2):
        process = Process(topics, store, rng)
        process.flow.begins[VERDICTS] = begin
        store.kill = (lambda table: table == "raw_events") if with_crash and life == 0 else (lambda _: False)
        await process.start()
        await process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng)
        if with_crash and life == 0:
            await asyncio.sleep(0.05)
        else:
            await process.archived(topics)
        await process.end()
    wanted = {key: row for key, row in expected_raw(topics).items() if key[2] >= floor.next_offset}
    assert store.final(RAW) == wanted
    assert 0 < len(wanted) < len(topics.events.records)


async def test_another_log_is_not_archived_until_it_is_adopted() -> None:
    """Records that differ from the archived ones halt the partition; a mark of the next generation goes on from that log's base."""
    rng = random.Random(8)
    topics, store = Topics(8, build_log(8, 60)), ModelStore()
    await run_to_the_end(topics, store, rng)
    before = dict(store.final(RAW))
    other = Topics(9, build_log(9, 90))
    marks = [record for record in other.records(VERDICTS) if record.key is None]
    verdict_log = topics.logs[VERDICTS]
    last = decode_verdict(marks[-1].value, "test")
    assert isinstance(last, Mark)
    topics.events.records[:], topics.events.end = other.events.records, other.events.end
    verdict_log.add(None, _generation(last, 0), 1)
    process = Process(topics, store, rng)
    await process.start()
    await process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng)
    await asyncio.sleep(0.03)
    assert "is not the one that was archived" in str(process.worker.halted)
    assert store.final(RAW) == before
    verdict_log.add(None, _generation(last, 1), 1)
    await process.flow.deliver(process.worker, [VERDICTS], rng)
    while process.worker.halted is not None:
        await asyncio.sleep(0.001)
    await process.archived(topics)
    await process.end()
    new = {key: row for key, row in store.final(RAW).items() if key[1] == 1}
    assert len(new) == len(other.events.records)
    assert {key: row for key, row in store.final(RAW).items() if key[1] == 0} == before


def _generation(mark: Mark, generation: int) -> bytes:
    return encode(structs.replace(mark, generation=generation))
