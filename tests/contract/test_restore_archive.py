"""A partition built again from a real ClickHouse: what comes back is what was archived, byte for byte, and folds to the state that ran."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from infra.embedded.testing import engine_server
from infra.replaying import archived as reading
from infra.replaying.archived import clamped
from infra.replaying.compare import Wanted
from infra.replaying.folding import fold_archived, reach_of
from infra.restoring.archive import RestoreArchive, check_count
from infra.restoring.guard import counted_partitions
from sinks.clickhouse.client import Address, ClickHouse, ClickHouseStore
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.record_rows import batch_rows, mark_row
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import MARK, PROGRESS, RAW, RECEIPT, columns_of
from streams.rebuild import Rebuild
from tests.contract.archive_engine import archive_at, batch, write_raw, write_topic
from tests.core.meterlog import PARTITIONS, Stored
from tests.core.restore_world import LostWorld, NewCluster, plain, restored, rows_of
from tests.core.test_fold import HOME
from topics.catalog import DEFINITIONS, EVENTS, RECEIPTS, REJECTED, VERDICTS, WINDOWS
from topics.definitions import decode_definition
from topics.errors import UsageError
from topics.verdict import Counters, Mark, decode_verdict


@pytest.fixture(scope="module")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for the module."""
    with engine_server(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small questions."""
    monkeypatch.setattr(reading, "CHUNK", 97)
    monkeypatch.setattr(reading, "WIDE_CHUNK", 83)


def archived(url: str, name: str, lost: LostWorld) -> ClickHouse:
    """Everything that the world's topics hold, as the archive worker writes it."""
    clickhouse = archive_at(url, name)
    world = lost.world
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        write_topic(clickhouse, topic, world.logs[topic].records)
    receipts = [Stored(at, key, one.value, (), 0) for at, (key, one) in enumerate(lost.archive.kept.items())]
    write_topic(clickhouse, RECEIPTS, receipts)
    for number, (_, generation) in enumerate(lost.archive.logs):
        if number == len(lost.archive.logs) - 1:
            write_raw(clickhouse, world.events.records, world.logs[DEFINITIONS].records, number)
        else:
            in_force = InForce(at_once=True)
            for record in world.logs[DEFINITIONS].records:
                in_force.add(decode_definition(record.value or b"", "a test"))
            raw = [RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in lost.given[number].records]
            clickhouse.insert(RAW, RawRows(0, number, in_force).columns(raw))
        clickhouse.insert(PROGRESS, columns_of([(EVENTS, 0, number, generation.archived)], PROGRESS))
    said = (decode_verdict(record.value, "a test") for record in world.logs[VERDICTS].records)
    marks = {mark.generation: mark_row(mark) for mark in said if isinstance(mark, Mark)}  # the newest of each log
    clickhouse.insert(MARK, columns_of(list(marks.values()), MARK))
    ends = [(topic, 0, 0, world.logs[topic].end) for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS)]
    clickhouse.insert(PROGRESS, columns_of(ends, PROGRESS))
    return clickhouse


@pytest.mark.parametrize("seed", range(2))
async def test_what_comes_back_is_what_was_archived(engine_url: str, seed: int) -> None:
    """Logs with their bytes, headers, null keys and values, marks, receipts and totals are read as they were written, and restored from there."""
    lost = LostWorld(seed, logs=1 + seed, hostile=True)
    clickhouse = archived(engine_url, f"restore_{seed}", lost)
    archive, model = RestoreArchive(clickhouse, 0), lost.archive
    assert archive.generations() == model.generations()
    for generation in archive.generations():
        given = {record.offset: record for record in lost.given[generation.number].records}
        found = [Stored(o, k, v, tuple(h), ms) for b in archive.batches(generation.number, generation.base, generation.whole_to)
                 for o, ms, k, v, h in zip(b.offsets, b.timestamps_ms, b.keys, b.values, b.headers, strict=True)]  # fmt: skip
        assert found == [given[offset] for offset in sorted(given)]
    rows = lost.state.rows.all()
    assert dict(archive.covered(rows)) == model.covered(rows)
    assert {r.key: (r.value, r.state) for portion in archive.receipts() for r in portion} == {k: (o.value, o.state) for k, o in model.kept.items()}
    end = lost.world.events.end
    assert archive.beyond(lost.state.generation, end // 2) == model.beyond(lost.state.generation, end // 2)
    assert {window: held for window, held in archive.totals(0, 1 << 33).items() if window in model.emitted} == {
        window: held[max(held)] for window, held in model.emitted.items()
    }
    cluster = NewCluster()
    result = await restored(lost, cluster, archive=archive)
    assert (result.done, result.receipts) == (True, len(model.kept))
    assert rows_of(cluster.recovered(lost.rng).state).items() >= rows_of(lost.state).items()
    assert archive.places() == dict.fromkeys((DEFINITIONS, VERDICTS, REJECTED, WINDOWS), 1 << 48)


@pytest.mark.parametrize("seed", range(2))
def test_one_customers_records_alone_give_its_totals(engine_url: str, seed: int) -> None:
    """Folded from its own and the control records, each customer's windows are those of the whole fold: others' records only move the now."""
    lost = LostWorld(seed + 20, logs=1 + seed % 2, hostile=True)
    clickhouse = archived(engine_url, f"customer_{seed}", lost)
    archive, generations = RestoreArchive(clickhouse, 0), lost.archive.generations()
    whole = Rebuild(0, PARTITIONS, id_key=bytes(16), writer_epoch=bytes(8))
    fold_archived(whole, generations, archive.batches, reach_of(generations), emitted=lambda _: {})
    assert plain(whole.state.counters) == plain(lost.state.counters)
    for customer in (HOME[0], HOME[-1]):
        alone = Rebuild(0, PARTITIONS, id_key=bytes(16), writer_epoch=bytes(8))
        for generation in generations:
            if generation.number:
                alone.begin_generation(generation.base)
            for now_ms, part in archive.batches_of(customer, generation.number, generation.base, generation.whole_to):
                alone.pass_time(now_ms)
                alone.fold(part)
        mine = {window: row for window, row in rows_of(alone.state).items() if window.customer == customer}
        assert mine == {window: row for window, row in rows_of(whole.state).items() if window.customer == customer}
        wanted = Wanted(from_s=0, to_s=1 << 33, customer=customer)
        assert set(archive.totals(0, 1 << 33, customer)) <= {clamped(window) for window in mine if wanted.takes(window)}


def test_another_number_of_partitions_is_refused(engine_url: str) -> None:
    """A customer's home hangs on the number of partitions, so topics with another number than was archived are no place to restore to."""
    clickhouse = archived(engine_url, "count", LostWorld(40, length=40))
    check_count(clickhouse, 1)
    with pytest.raises(UsageError, match="have 4 partitions, the archive has 1"):
        check_count(clickhouse, 4)
    check_count(archive_at(engine_url, "count_empty"), 4)


def test_only_an_archive_that_has_counted_something_holds_apply_back(engine_url: str) -> None:
    """A database that is not there, one without tables and one of an idle stack know of nothing lost; one with a counted partition does."""
    assert counted_partitions(ClickHouse(Address(url=engine_url, database="never_made"))) == set()
    empty = archive_at(engine_url, "guard_empty")
    assert counted_partitions(empty) == set()
    idle = Mark(generation=0, partition=0, next_offset=0, counters=Counters())
    empty.insert(MARK, columns_of([mark_row(idle)], MARK))
    assert counted_partitions(empty) == set()
    empty.insert(MARK, columns_of([mark_row(msgspec.structs.replace(idle, partition=2, next_offset=1))], MARK))
    assert counted_partitions(empty) == {2}


async def test_a_receipt_that_was_archived_without_its_record_is_archived_again(engine_url: str) -> None:
    """Rows of an older program do not count as archived, so the archive writes them once more, and then the record is there once, with its bytes."""
    clickhouse, lost = archive_at(engine_url, "receipts_again"), LostWorld(50, length=60)
    receipts = [Stored(at, key, one.value, (), 0) for at, (key, one) in enumerate(lost.archive.kept.items())]
    old = [(*row[:-3], b"", *row[-2:]) for row in batch_rows(batch(RECEIPTS, receipts), frozenset()).rows]
    assert RECEIPT.names[-3] == "record"
    clickhouse.insert(RECEIPT, columns_of(old, RECEIPT))
    store, archive = ClickHouseStore(clickhouse), RestoreArchive(clickhouse, 0)
    assert await store.present(RECEIPT, 0, 0) == set()
    assert {one.value for portion in archive.receipts() for one in portion} == {b""}
    write_topic(clickhouse, RECEIPTS, receipts)
    assert await store.present(RECEIPT, 0, 0) == set(range(len(receipts)))
    assert {one.key: one.value for portion in archive.receipts() for one in portion} == {key: one.value for key, one in lost.archive.kept.items()}

