"""Laws 3, 4 and 6: ids and their hours, identity of the log, adoption, corrupt changelogs."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest

from streams.adopt import adopt
from streams.changelog import Changelog
from streams.duplicates import U64, Digester, first_of_each
from streams.id_table import IdTable
from streams.names import Names
from streams.partition import MeterPartition
from streams.recovery import recover
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, batch_of, customers, fresh, meters_record, usage
from topics.errors import CorruptState, ForeignLog, LostLog, UnknownVersion
from topics.instants import format_us
from topics.meters import Meter, Timing

METER = Meter(slug="calls", event_type="api.request", window_s=3600)
CUSTOMER = customers(1)[0]
HOUR_MS = 3_600_000


@pytest.mark.parametrize("seed", range(8))
def test_the_id_table_is_a_dict_of_digest_to_greatest_bucket(seed: int) -> None:
    """Random puts with shared halves of digests, growth and forgetting: the table answers as a dict does."""
    rng = np.random.default_rng(seed)
    table, model = IdTable(block_bits=6), dict[tuple[int, int], int]()
    for step in range(60):
        bucket, floor = 100 + step // 4, 100 + step // 4 - 6
        digests = np.unique(rng.integers(0, 40, (rng.integers(1, 200), 2)).astype(np.uint64) << np.uint64(58), axis=0)
        if step % 3:
            digests = rng.integers(0, 2**63, (rng.integers(1, 300), 2)).astype(np.uint64)
        found = table.find(digests).tolist()
        for (high, low), held in zip(digests.tolist(), found, strict=True):
            wanted = model.get((high, low), 0)
            assert held == wanted or (wanted < floor and held == 0)
        table.put(digests, bucket, floor)
        for high, low in digests.tolist():
            model[high, low] = max(bucket, model.get((high, low), 0))
    everything = np.array(list(model), np.uint64)
    live = [bucket if bucket >= 109 else None for bucket in model.values()]
    for wanted_bucket, held in zip(live, table.find(everything).tolist(), strict=True):
        assert wanted_bucket is None or held == wanted_bucket


def digests(digester: Digester, prefixes: list[bytes], ids: list[bytes]) -> U64:
    """Of ids in bytes, each with its prefix."""
    return digester.digests(np.frombuffer(b"".join(prefixes), np.uint64).reshape(-1, 2), Names.of_bytes(ids))


def test_a_digest_depends_on_nothing_but_customer_source_and_id() -> None:
    """An id's digest is the same whatever ids are digested beside it, short or long, and differs by customer, source, id and key."""
    rng = random.Random(3)
    digester = Digester(b"k" * 16)
    ids = [rng.randbytes(rng.choice((1, 15, 16, 17, 36, 128, 129, 500))) for _ in range(300)]
    prefixes = [digester.prefix(rng.choice("ab"), rng.choice("cd")) for _ in ids]
    together = digests(digester, prefixes, ids)
    for index in range(0, 300, 7):
        assert (digests(digester, [prefixes[index]], [ids[index]])[0] == together[index]).all()
    named = {(prefix, name) for prefix, name in zip(prefixes, ids, strict=True)}
    assert len(np.unique(together, axis=0)) == len(named)
    assert digester.prefix("ab", "c") != digester.prefix("a", "bc")
    other = Digester(b"z" * 16)
    assert (digests(other, [other.prefix("a", "c")], [b"x"]) != digests(digester, [digester.prefix("a", "c")], [b"x"])).any()


def test_the_first_copy_in_a_batch_stays() -> None:
    """Of equal digests the first in offset order is kept."""
    digests = np.array([[1, 2], [3, 4], [1, 2], [1, 5], [3, 4], [1, 2]], np.uint64)
    assert first_of_each(digests).tolist() == [True, True, False, True, False, False]


def counted(partition: MeterPartition) -> tuple[int, int]:
    """(counted, duplicate)."""
    return partition.counters.counted, partition.counters.duplicate


@pytest.mark.parametrize(("gap_ms", "wanted"), [(0, (1, 1)), (2 * HOUR_MS, (1, 1)), (3 * HOUR_MS + 1, (2, 0)), (30 * HOUR_MS, (2, 0))])
def test_copies_within_dedup_are_counted_once(gap_ms: int, wanted: tuple[int, int]) -> None:
    """Two copies within `dedup` of each other count once; a bucket dies when the log's now passes its end + dedup (H12)."""
    start_ms = NOW_MS + 1  # just after the hour: its bucket lives for one hour + dedup
    log = Log()
    log.add(*meters_record((METER,), Timing(dedup_ms=2 * HOUR_MS)), start_ms)
    value = usage(CUSTOMER, "same", format_us(NOW_MS * 1000))
    log.add(CUSTOMER.encode(), value, start_ms)
    log.add(CUSTOMER.encode(), value, start_ms + gap_ms)
    for seed in range(5):
        partition = fresh(Disk(), random.Random(seed))
        for batch in log.batches(0, random.Random(seed)):
            partition.apply(batch)
        assert counted(partition) == wanted


def saved(partition: MeterPartition, disk: Disk) -> None:
    """Flush everything to the disk."""
    flush = partition.begin_flush()
    assert flush is not None
    for send in [*flush.first, flush.counters, *flush.last]:
        if send.topic == "usage.state":
            disk.append(send.key, send.value)
    partition.end_flush(flush)


def small_log(count: int = 5, salt: str = "") -> Log:
    """Meters and a few events."""
    log = Log()
    log.add(*meters_record((METER,)), NOW_MS)
    for number in range(count):
        log.add(CUSTOMER.encode(), usage(CUSTOMER, f"{salt}{number}", format_us(NOW_MS * 1000)), NOW_MS + number)
    return log


def folded(log: Log, disk: Disk) -> MeterPartition:
    """A worker that folded and saved the whole log."""
    partition = fresh(disk, random.Random(1))
    partition.apply(batch_of(log.records[partition.next_offset :], partition.next_offset, log.end))
    saved(partition, disk)
    return partition


def test_the_same_log_is_known_again() -> None:
    """After a restart on the same log the identity holds, also where retention removed the record but the cluster is the same."""
    disk, log = Disk(), small_log()
    folded(log, disk)
    partition = fresh(disk, random.Random(2))
    last = log.records[-1]
    partition.check_identity(cluster_id="test", begin=0, end=log.end, record=(last.key, last.value, last.timestamp_ms))
    partition.check_identity(cluster_id="test", begin=log.end, end=log.end + 5, record=None)
    assert partition.identity_offset == log.end - 1


@pytest.mark.parametrize("case", ["recreated", "truncated", "expired", "mirrored", "overwritten"])
def test_another_log_halts_with_the_command_that_adopts_it(case: str) -> None:
    """A recreated, truncated, expired or mirrored topic halts, naming `tidemark adopt` (H8, H10)."""
    disk, log = Disk(), small_log()
    folded(log, disk)
    partition = fresh(disk, random.Random(2))
    other = small_log(salt="other").records[-1]
    last = log.records[-1]
    arguments = {
        "recreated": {"cluster_id": "test", "begin": 0, "end": log.end, "record": (other.key, other.value, other.timestamp_ms)},
        "truncated": {"cluster_id": "test", "begin": 0, "end": 3, "record": None},
        "expired": {"cluster_id": "test", "begin": log.end + 7, "end": log.end + 9, "record": None},
        "mirrored": {"cluster_id": "another", "begin": log.end, "end": log.end, "record": None},
        "overwritten": {"cluster_id": "test", "begin": 0, "end": log.end, "record": (last.key, last.value, last.timestamp_ms + 1)},
    }[case]
    with pytest.raises((ForeignLog, LostLog), match="tidemark adopt"):
        partition.check_identity(**arguments)  # type: ignore[arg-type]


def test_an_adopted_log_counts_only_what_is_new() -> None:
    """After `adopt` a recreated topic with overlapping events raises totals by the new ones only, under greater revisions (H10)."""
    disk = Disk()
    old = folded(small_log(), disk)
    before = {row.window: row.rev for row in old.state.rows.all()}
    changelog = Changelog(b"adoptadopt"[:8])
    state = recover(0, PARTITIONS, disk.records, changelog=changelog, id_key=b"x" * 16, base=0)
    send = adopt(state, changelog, begin=0, cluster_id="new")
    disk.append(send.key, send.value)
    again = small_log()
    again.add(CUSTOMER.encode(), usage(CUSTOMER, "new", format_us(NOW_MS * 1000)), NOW_MS + 50)
    partition = fresh(disk, random.Random(3))
    partition.check_identity(cluster_id="new", begin=0, end=again.end, record=None)
    partition.apply(batch_of(again.records, 0, again.end))
    assert counted(partition) == (1, 5)
    (row,) = partition.state.rows.all()
    assert row.events == 6
    assert row.rev > before[row.window]
    assert partition.counters.residual == 0
    saved(partition, disk)
    assert fresh(disk, random.Random(4)).status() == partition.status()


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_byte_halts_and_is_never_guessed_at(seed: int) -> None:
    """Any changed byte of any changelog value halts with its place; a lost segment is seen by the sum of its rows."""
    rng, disk = random.Random(seed), Disk()
    folded(small_log(), disk)
    index = rng.randrange(len(disk.records))
    key, value, offset = disk.records[index]
    if value is None:
        pytest.skip("a tombstone has no bytes to flip")
    at = rng.randrange(len(value))
    disk.records[index] = (key, value[:at] + bytes([value[at] ^ (1 << rng.randrange(8))]) + value[at + 1 :], offset)
    with pytest.raises((CorruptState, UnknownVersion), match=f"usage.state 0@{offset}"):
        fresh(disk, rng)


def test_a_mark_that_a_crash_kept_back_is_said_again() -> None:
    """A worker that takes a partition says its mark anew even if no event follows, else the archive would wait for ever."""
    disk, log = Disk(), small_log()
    folded(log, disk)
    flush = fresh(disk, random.Random(2)).begin_flush()
    assert flush is not None
    marks = [msgspec.json.decode(send.value or b"") for send in flush.last if send.topic == "usage.verdicts"]
    assert [mark["next_offset"] for mark in marks] == [log.end]


def test_a_lost_row_segment_halts() -> None:
    """Rows missing from the changelog make the sum of postings wrong, and that halts instead of billing less (H7)."""
    disk = Disk()
    folded(small_log(), disk)
    disk.records = [record for record in disk.records if not (record[0] or b"").startswith(b"r")]
    with pytest.raises(CorruptState, match="segments are missing"):
        fresh(disk, random.Random(1))
