"""Law 4 with segments so small that every flush says rows again, merges ids and makes garbage: nothing is lost, nothing piles up."""

from __future__ import annotations

import random

import pytest

from streams import changelog
from streams.partition import MeterPartition
from streams.rows import Row, Rows
from streams.segments import DEFINITIONS, IDS, ROWS, IdSegment, decode_segment
from tests.core import test_fold
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, batch_of, control, customers, fresh, meters_record, usage
from tests.core.plain_rows import plain
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.catalog import MIB
from topics.errors import CorruptState
from topics.instants import format_us
from topics.meters import Meter, Timing, meters_digest
from topics.windows import Window

HOUR_MS = 3_600_000
METER = Meter(slug="calls", event_type="api.request", window_s=3600)
HOME = customers(40)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few rows and ids, of which hardly any may be spare."""
    limits = {"SPARE_SEGMENTS": 1, "ROWS_A_SEGMENT": 3, "RESAID_ROWS": 4, "MERGED_PARTS": 1, "IDS_A_SEGMENT": 5, "ROW_BYTES": 900, "MERGED_IDS": 7}
    for name, value in limits.items():
        monkeypatch.setattr(changelog, name, value)


def apply(partition: MeterPartition, log: Log, upto: int) -> None:
    """Fold up to an offset."""
    start = partition.next_offset
    partition.apply(batch_of([record for record in log.records if start <= record.offset < upto], start, upto))


def flush(partition: MeterPartition, disk: Disk) -> list[tuple[bytes, bytes]]:
    """A whole flush; returns the segments that it wrote."""
    made = partition.begin_flush()
    assert made is not None
    for send in [*made.first, made.counters, *made.last]:
        if send.topic == "usage.state":
            disk.append(send.key, send.value)
    partition.end_flush(made)
    return [(send.key or b"", send.value or b"") for send in made.first if send.topic == "usage.state"]


def kinds(disk: Disk) -> dict[bytes, int]:
    """How many live keys of each kind the topic holds after compaction."""
    held = {key: value for key, value, _ in disk.records}
    found: dict[bytes, int] = {}
    for key, value in held.items():
        if value is not None and key is not None:
            found[key[:1]] = found.get(key[:1], 0) + 1
    return found


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.usefixtures("small")
def test_totals_are_exact_while_every_flush_says_rows_again(seed: int) -> None:
    """Crashes, compaction and late zombies as in the fold's test, where each flush moves rows and ids between segments (H1, H11)."""
    test_fold.test_totals_are_exact_after_crashes_at_every_point(2000 + seed)
    assert vars(changelog)["SPARE_SEGMENTS"] == 1


def world(hours: int) -> tuple[Log, random.Random]:
    """A few events an hour of many customers, each in its own window, with a short horizon and a short dedup."""
    rng, log = random.Random(hours), Log()
    log.add(*meters_record((METER,), Timing(dedup_ms=2 * HOUR_MS, horizon_ms=3 * HOUR_MS)), NOW_MS)
    for number in range(hours * 10):
        stamp = NOW_MS + number * HOUR_MS // 10
        customer = rng.choice(HOME)
        log.add(customer.encode(), usage(customer, f"e{number}", format_us(stamp * 1000)), stamp)
    return log, rng


@pytest.mark.usefixtures("small")
def test_the_changelog_does_not_grow_with_history() -> None:
    """After 20 hours and after 120 the topic holds about as many keys: dead ids, retired rows and old counters are tombstoned."""
    sizes = []
    for hours in (20, 120):
        (log, rng), disk = world(hours), Disk()
        partition = fresh(disk, rng)
        while partition.next_offset < log.end:
            apply(partition, log, min(log.end, partition.next_offset + rng.randrange(1, 6)))
            written = [plain(decode_segment(ROWS, value, "")) for key, value in flush(partition, disk) if key[:1] == ROWS]
            windows = [(row.customer, row.meter, row.start_s) for segment in written for row in segment.rows]
            assert len(windows) == len(set(windows))  # no row twice in one flush
            for row in partition.state.rows.all():
                row.emitted = row.rev
            if rng.random() < 0.02:
                partition = fresh(disk, rng)
        sizes.append(kinds(disk))
        allowed = 1 + 2 * (partition.state.rows.count // 3)
        assert sizes[-1][ROWS] <= allowed + 4
        assert sizes[-1][IDS] <= 40
        assert fresh(disk, rng).counters == partition.counters
    assert sum(sizes[1].values()) <= sum(sizes[0].values()) + 20


def ids_of(partition: MeterPartition) -> dict[int, list[bytes]]:
    """The live ids by hour."""
    partition.state.live_ids()
    return {hour: sorted(row.tobytes() for row in partition.state.ids.in_bucket(hour)) for hour in partition.state.id_counts}


@pytest.mark.usefixtures("small")
def test_a_busy_hour_is_merged_in_portions() -> None:
    """An hour of many small segments is written again over several flushes, none of which says more than a portion; whenever a crash comes, with
    the counters or before them, every id is recovered once; when all is written the small segments are gone."""
    log, disk, rng = Log(), Disk(), random.Random(1)
    log.add(*meters_record((METER,)), NOW_MS)
    for number in range(60):
        log.add(HOME[0].encode(), usage(HOME[0], f"e{number}", format_us(NOW_MS * 1000)), NOW_MS)
    for number in range(30):
        log.add(HOME[0].encode(), usage(HOME[0], f"later{number}", format_us(NOW_MS * 1000)), NOW_MS + HOUR_MS)
    partition, most = fresh(disk, rng), 0
    while partition.next_offset < log.end:
        apply(partition, log, min(log.end, partition.next_offset + 2))
        before = ids_of(fresh(disk, rng))
        made = partition.begin_flush()
        assert made is not None
        state = [(send.key, send.value) for send in made.first if send.topic == "usage.state"]
        crashed = Disk()
        crashed.records = disk.records + [(key, value, disk.offset + at) for at, (key, value) in enumerate(state)]
        assert ids_of(fresh(crashed, rng)) == before
        segments = [decode_segment(key[:1], value, "") for key, value in state if key and value]
        most = max(most, sum(len(one.digests) // 16 for one in segments if isinstance(one, IdSegment)))
        for send in [*made.first, made.counters, *made.last]:
            if send.topic == "usage.state":
                disk.append(send.key, send.value)
        partition.end_flush(made)
        assert ids_of(fresh(disk, rng)) == ids_of(partition)
    assert 7 < most <= 7 + 2
    assert kinds(disk)[IDS] <= 18 + 15  # 60 ids in portions of 5 and 2; the newest hour as it came
    assert len(ids_of(partition)) == 2


@pytest.mark.usefixtures("small")
def test_rows_that_are_let_go_leave_no_segment() -> None:
    """When the last row is retired, no row segment is left, also where the flush that retires them had rows of theirs to write."""
    (log, rng), disk = world(5), Disk()
    partition = fresh(disk, rng)
    for upto in range(1, log.end, 3):
        apply(partition, log, upto)
        flush(partition, disk)
    log.add(HOME[0].encode(), usage(HOME[0], "future", "2031-01-01T00:00:00Z"), NOW_MS + 30 * HOUR_MS)
    apply(partition, log, log.end)
    for _ in range(2):
        now_ms = NOW_MS + 30 * HOUR_MS
        partition.tick(now_ms, log.end if partition.tick(now_ms, None) else None)
        partition.end_emission(partition.due(now_ms))
        flush(partition, disk)
    assert partition.state.rows.count == 0
    assert partition.state.retired.events == 50
    assert ROWS not in kinds(disk)


def test_definitions_are_read_in_the_order_of_the_log() -> None:
    """Whatever random epochs two workers drew, the meters and timings in force are the last ones."""
    for first, second in ((b"a" * 8, b"z" * 8), (b"z" * 8, b"a" * 8)):
        log, disk = Log(), Disk()
        log.add(*meters_record((METER,)), NOW_MS)
        log.add(*meters_record((METER,), Timing(dedup_ms=5000), meters_digest(Timing(), (METER,))), NOW_MS)
        for upto, epoch in ((1, first), (2, second)):
            partition = MeterPartition.recover(0, PARTITIONS, disk.records, writer_epoch=epoch, id_key=b"k" * 16, cluster_id="test")
            apply(partition, log, upto)
            flush(partition, disk)
        assert kinds(disk)[DEFINITIONS] == 2
        assert fresh(disk, random.Random(1)).state.definitions.timing.dedup_ms == 5000


def test_a_window_that_only_a_duplicate_asked_for_is_cut_by_a_later_edge() -> None:
    """A duplicate opens an hour without counting in it; an edge learned then cuts it, and the next event lies behind the edge (law 8)."""
    customer, edge_s = HOME[0], NOW_MS // 1000 + 3600 + 1800
    log = Log()
    log.add(*meters_record((METER,)), NOW_MS)
    log.add(customer.encode(), usage(customer, "a", format_us(NOW_MS * 1000)), NOW_MS + HOUR_MS)
    log.add(customer.encode(), usage(customer, "a", format_us((NOW_MS + HOUR_MS) * 1000)), NOW_MS + HOUR_MS)
    item = Item(meter="calls", item="si", period_anchor_s=edge_s, period="month")
    data = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
    log.add(*control(BINDING_TYPE, customer, data, customer.encode()), NOW_MS + HOUR_MS)
    log.add(customer.encode(), usage(customer, "b", format_us((edge_s + 1) * 10**6)), NOW_MS + 2 * HOUR_MS)
    partition = fresh(Disk(), random.Random(1))
    apply(partition, log, 3)
    apply(partition, log, log.end)
    windows = sorted((row.window.start_s - edge_s, row.window.end_s - edge_s) for row in partition.state.rows.all())
    assert windows == [(-5400, -1800), (0, 1800)]


def test_a_record_with_a_key_of_a_megabyte_fits_every_topic() -> None:
    """The verdict of an event that is too large because of its key leaves the key out; the rejected record keeps it."""
    log = Log()
    log.add(*meters_record((METER,)), NOW_MS)
    log.add(b"k" * 1_040_000, b"{}", NOW_MS)
    partition = fresh(Disk(), random.Random(1))
    apply(partition, log, log.end)
    made = partition.begin_flush()
    assert made is not None
    sizes = {send.topic: len(send.key or b"") + len(send.value or b"") for send in made.first}
    assert sizes["usage.verdicts"] < 1000
    assert sizes["usage.rejected"] > 1_040_000


@pytest.mark.parametrize("order", [1, -1])
def test_no_order_of_long_names_makes_a_segment_that_its_topic_refuses(order: int) -> None:
    """Names are the producers': where the longest come first the segment ends early, so a flush of them never stops the meter."""
    partition = fresh(Disk(), random.Random(1))
    names = [*(f"{number:03d}" + "日" * 30_000 for number in range(60)), *(f"cus_{number}" for number in range(3900))][::order]
    for number, name in enumerate(names):
        row = Row(Window(name, "calls", NOW_MS // 1000, NOW_MS // 1000 + 60))
        row.rev = row.first_offset = number
        row.events, row.scaled = 1, number
        partition.state.rows.add(row)
    segments = partition.changelog.write_rows(partition.state, partition.state.rows.store.live())
    assert max(len(value) for _, value in segments) < 4 * MIB // 3
    assert len(segments) < 14
    assert [row.customer for _, value in segments for row in plain(decode_segment(ROWS, value, "there")).rows] == names


def test_a_replay_does_not_move_the_logs_identity_back() -> None:
    """After records below the fence come again, the record by which the log is known is still the last one folded (law 3)."""
    (log, rng), disk = world(2), Disk()
    partition = fresh(disk, rng)
    apply(partition, log, log.end)
    known = partition.state.identity.last_digest
    partition.apply(batch_of(log.records[:5], 0, 5))
    assert (partition.identity_offset, partition.state.identity.last_digest) == (log.end - 1, known)


def test_what_was_emitted_is_not_emitted_again_after_a_restart() -> None:
    """The flush after an emission makes it durable, so a restart does not say every window of the horizon a second time."""
    (log, rng), disk = world(2), Disk()
    partition = fresh(disk, rng)
    apply(partition, log, log.end)
    flush(partition, disk)
    now_ms = NOW_MS + 30 * HOUR_MS
    partition.tick(now_ms, log.end if partition.tick(now_ms, None) else None)
    emissions = partition.due(now_ms)
    partition.end_emission(emissions)
    flush(partition, disk)
    assert len(emissions) == partition.state.rows.count > 0
    assert fresh(disk, rng).windows(now_ms) == (0, 0, 0)


def test_two_windows_of_one_start_are_corruption() -> None:
    """A row never takes the place of another that begins with it: events would vanish from every total."""
    rows = Rows()
    whole, part = Row(Window("c", "calls", 0, 3600)), Row(Window("c", "calls", 0, 1800))
    rows.add(whole)
    assert rows.get(part.window) is None
    with pytest.raises(CorruptState, match="begin at one instant"):
        rows.add(part)
    assert rows.all() == [whole]
