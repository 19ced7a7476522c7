"""Laws 2 to 6 against a hostile changelog: crashed flushes before an adoption, two first writers, lost segments, many definitions."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from streams.adopt import adopt
from streams.changelog import Changelog
from streams.duplicates import Digester
from streams.durability import counters_of
from streams.identity import check_identity
from streams.names import Names
from streams.partition import MeterPartition
from streams.recovery import recover
from streams.segments import COUNTERS, DEFINITIONS, IDS, ROWS, encode_segment
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, batch_of, control, customers, fresh, meters_record, usage
from topics.bindings import BINDING_TYPE, Item, ItemVersion, items_digest
from topics.errors import CorruptState, ForeignLog, LostLog
from topics.instants import format_us
from topics.meters import Meter, Timing, meters_digest

METER = Meter(slug="calls", event_type="api.request", window_s=3600)
CUSTOMER = customers(1)[0]
HOUR_MS = 3_600_000


def log_of(count: int, meters: tuple[Meter, ...] = (METER,), timing: Timing | None = None) -> Log:
    """Meters and events e0, e1 … of one customer, a second apart."""
    log = Log()
    log.add(*meters_record(meters, timing), NOW_MS)
    for number in range(count):
        log.add(CUSTOMER.encode(), usage(CUSTOMER, f"e{number}", format_us((NOW_MS + number * 1000) * 1000)), NOW_MS + number * 1000)
    return log


def apply(partition: MeterPartition, log: Log, upto: int) -> None:
    """Fold up to an offset."""
    start = partition.next_offset
    partition.apply(batch_of([record for record in log.records if start <= record.offset < upto], start, upto))


def flush(partition: MeterPartition, disk: Disk, groups: int = 3, only: bytes = b"") -> list[Any]:
    """A flush of which the first `groups` of three arrive, of the first one only segments of kinds `only`; returns all sends."""
    flush = partition.begin_flush()
    assert flush is not None
    for index, group in enumerate((flush.first, [flush.counters], flush.last)[:groups]):
        for send in group:
            if send.topic == "usage.state" and (index or not only or (send.key or b"")[:1] in only):
                disk.append(send.key, send.value)
    if groups == 3:
        partition.end_flush(flush)
    return [*flush.first, flush.counters, *flush.last]


def adopted(disk: Disk, begin: int) -> None:
    """What `tidemark adopt` writes."""
    changelog = Changelog(b"adopting")
    state = recover(0, PARTITIONS, disk.records, changelog=changelog, id_key=b"x" * 16, base=0)
    send = adopt(state, changelog, begin=begin, cluster_id="new")
    disk.append(send.key, send.value)


@pytest.mark.parametrize("kinds", [IDS, ROWS, DEFINITIONS, IDS + ROWS, b""])
def test_a_flush_that_died_before_an_adoption_leaves_nothing_behind(kinds: bytes) -> None:
    """Ids and rows of a flush without counters are not taken for the old log's state after `adopt`: no event is lost or counted twice (H10)."""
    log, disk = log_of(8), Disk()
    other = Meter(slug="other", event_type="other", window_s=60)
    log.add(*meters_record((METER, other), None, meters_digest(Timing(), (METER,))), NOW_MS + 9000)
    first = fresh(disk, random.Random(1))
    apply(first, log, 4)
    flush(first, disk)
    apply(first, log, log.end)
    flush(first, disk, groups=1, only=kinds)
    adopted(disk, 0)
    again, partition = log_of(12), first
    for seed, upto in enumerate((5, 9, again.end)):
        partition = fresh(disk, random.Random(seed))
        apply(partition, again, upto)
        flush(partition, disk)
        disk.compact(random.Random(seed))
    assert (partition.counters.counted, partition.counters.duplicate) == (9, 3)
    assert sum(row.events for row in partition.state.rows.all()) == 12
    assert "other" not in partition.state.definitions.meters
    assert fresh(disk, random.Random(9)).status() == partition.status()


def test_an_old_generations_retired_rows_do_not_retire_the_new_ones() -> None:
    """Counters that a paused worker wrote before the adoption say nothing about which rows the new generation may drop."""
    log, disk = log_of(3, timing=Timing(horizon_ms=HOUR_MS)), Disk()
    first = fresh(disk, random.Random(1))
    apply(first, log, 4)
    flush(first, disk)
    zombie = fresh(disk, random.Random(2))
    adopted(disk, 0)
    log.add(CUSTOMER.encode(), usage(CUSTOMER, "late", format_us((NOW_MS + 9 * HOUR_MS) * 1000)), NOW_MS + 9 * HOUR_MS)
    apply(zombie, log, log.end)
    for row in zombie.state.rows.all():
        row.emitted = row.rev
    flush(zombie, disk, groups=2)
    assert zombie.state.retired.events == 3
    partition = fresh(disk, random.Random(3))
    assert (partition.generation, partition.state.retired.events, sum(row.events for row in partition.state.rows.all())) == (1, 0, 3)


@pytest.mark.parametrize("kind", [IDS, DEFINITIONS, ROWS])
def test_a_lost_segment_of_any_kind_halts(kind: bytes) -> None:
    """Each segment of live rows, live ids or versions that the changelog lost halts the worker; none is counted without (H7)."""
    log, disk = log_of(6), Disk()
    partition = fresh(disk, random.Random(1))
    for upto in (2, 5, 7):
        apply(partition, log, upto)
        flush(partition, disk)
    item = Item(meter="calls", item="si", period_anchor_s=0)
    data = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
    log.add(*control(BINDING_TYPE, CUSTOMER, data, CUSTOMER.encode()), NOW_MS + 7000)
    log.add(*meters_record((METER,), Timing(dedup_ms=9 * HOUR_MS), meters_digest(Timing(), (METER,))), NOW_MS + 7000)
    for upto in (8, 9):
        apply(partition, log, upto)
        flush(partition, disk)
    disk.compact(random.Random(1))
    whole = [record for record in disk.records if record[1] is not None]
    found = [record for record in whole if (record[0] or b"")[:1] == kind]
    assert found
    for lost in found:
        disk.records = [record for record in whole if record is not lost]
        with pytest.raises(CorruptState, match="segments are missing"):
            fresh(disk, random.Random(2))
    disk.records = whole
    assert fresh(disk, random.Random(2)).status() == partition.status()


class Writer:
    """A worker that believes it owns the partition, one group of one flush at a time."""

    def __init__(self, disk: Disk, rng: random.Random, found: Disk | None = None) -> None:
        self.disk, self.rng = disk, rng
        self.partition = fresh(found or disk, rng)
        self.groups: list[list[Any]] = []

    def go_on(self, log: Log) -> bool:
        """Write the next group, or fold some more; False where it died on the way."""
        if not self.groups:
            apply(self.partition, log, min(log.end, self.partition.next_offset + self.rng.randrange(8)))
            made = self.partition.begin_flush()
            self.groups = [list(made.first), [made.counters], list(made.last)] if made else []
            return True
        group = [send for send in self.groups.pop(0) if send.topic == "usage.state"]
        dies = self.rng.random() < 0.05
        self.rng.shuffle(group)
        for send in group[: self.rng.randrange(len(group) + 1) if dies else None]:
            self.disk.append(send.key, send.value)
        return not dies


@pytest.mark.parametrize("seed", range(60))
def test_two_first_writers_whose_flushes_interleave_count_once(seed: int) -> None:
    """Two workers that both found nothing make ids under two keys; whoever's counters win, no copy is counted twice and nothing halts (H11)."""
    rng, log, disk = random.Random(seed), log_of(20), Disk()
    log.records += [record._replace(offset=record.offset + log.end - 1) for record in log.records[1:]]  # every event a second time
    log.end = 2 * log.end - 1
    writers = [Writer(disk, rng), Writer(disk, rng, found=Disk())]
    for _ in range(80):
        which = rng.randrange(2)
        if not writers[which].go_on(log) or rng.random() < 0.05:
            writers[which] = Writer(disk, rng)
        if rng.random() < 0.3:
            disk.compact(rng)
    last = fresh(disk, rng)
    apply(last, log, log.end)
    assert last.counters.residual == 0
    assert (last.counters.counted, last.counters.duplicate) == (20, 20)
    assert sum(row.events for row in last.state.rows.all()) == 20


def test_thousands_of_bindings_in_one_flush_fit_their_topic() -> None:
    """A sync of all customers makes segments below the topic's limit, and their order is kept when they are read again."""
    log, disk, names = log_of(0), Disk(), customers(6000)
    for name in names:
        item = Item(meter="calls", item=f"si_{name}", period_anchor_s=0, price="price_" + "x" * 100)
        data = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
        log.add(*control(BINDING_TYPE, name, data, name.encode()), NOW_MS)
    partition = fresh(disk, random.Random(1))
    apply(partition, log, log.end)
    sends = flush(partition, disk)
    assert max(len(send.value or b"") for send in sends) < 1_000_000
    again = fresh(disk, random.Random(2))
    assert again.state.definitions.items == partition.state.definitions.items
    assert again.state.definitions.customer_digests == partition.state.definitions.customer_digests
    assert len(again.state.definitions.items) == 6000


def test_a_log_without_its_beginning_halts_where_there_is_no_state() -> None:
    """No state and offsets that are gone: events that nobody counted; the worker halts instead of beginning in the middle (law 7, H8)."""
    partition = fresh(Disk(), random.Random(1))
    with pytest.raises(LostLog, match="offsets 0 to 4 are gone"):
        partition.check_identity(cluster_id="test", begin=5, end=9, record=None)
    disk = Disk()
    adopted(disk, 5)
    accepted = fresh(disk, random.Random(2))
    check_identity(accepted.state, cluster_id="new", begin=5, end=9, record=None)
    assert accepted.next_offset == 5


def test_a_batch_that_was_folded_by_half_is_never_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised inside a batch, offsets that were read but not counted never become durable."""
    log, partition = log_of(5), fresh(Disk(), random.Random(1))
    apply(partition, log, 2)
    monkeypatch.setattr("streams.step._add", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        apply(partition, log, 4)
    with pytest.raises(CorruptState, match="by half"):
        partition.begin_flush()
    assert partition.due(NOW_MS + 99 * HOUR_MS) == []


def test_what_is_published_does_not_depend_on_which_rows_were_let_go() -> None:
    """A binding folded by a worker that has let go of final rows, and by one that has not, is the same to the byte (law 0)."""
    timing, published = Timing(horizon_ms=HOUR_MS), []
    for retires in (True, False):
        log, disk = log_of(3, timing=timing), Disk()
        log.add(CUSTOMER.encode(), usage(CUSTOMER, "now", format_us((NOW_MS + 5 * HOUR_MS) * 1000)), NOW_MS + 5 * HOUR_MS)
        item = Item(meter="calls", item="si", period_anchor_s=NOW_MS // 1000 + 1800, period="day")
        data = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
        log.add(*control(BINDING_TYPE, CUSTOMER, data, CUSTOMER.encode()), NOW_MS + 5 * HOUR_MS)
        partition = fresh(disk, random.Random(1))
        apply(partition, log, 5)
        if retires:
            for row in partition.state.rows.all():
                row.emitted = row.rev
        flush(partition, disk)
        assert (partition.state.retired.rows > 0) is retires
        apply(partition, log, log.end)
        published.append([one for one in partition.state.facts.definitions if isinstance(one, ItemVersion)])
    assert published[0] == published[1]
    assert len(published[0]) == 1


def test_no_two_ids_are_digested_alike() -> None:
    """Ids that differ by a trailing NUL, by length and by a bit of their last byte have digests of their own (law 6)."""
    digester = Digester(b"k" * 16)
    names = [b"12345678" + bytes([letter]) + b"\0" * zeros for letter in range(128) for zeros in range(9)]
    names += [b"x" * length + tail for length in range(1, 300) for tail in (b"", b"\0", b"\x80", b"\x80\0")]
    names = sorted(set(names))
    prefix = digester.prefix("c", "s")
    digests = {tuple(row) for row in digester.digests(np.frombuffer(prefix * len(names), np.uint64).reshape(-1, 2), Names.of_bytes(names)).tolist()}
    assert len(digests) == len(names)


def test_counters_say_what_the_state_holds() -> None:
    """The live ids of the counters are those of the table at every hour, while buckets die (law 6)."""
    log = log_of(0, timing=Timing(dedup_ms=2 * HOUR_MS))
    rng = random.Random(4)
    for number in range(300):
        stamp = NOW_MS + number * HOUR_MS // 10
        log.add(CUSTOMER.encode(), usage(CUSTOMER, f"i{rng.randrange(40)}", format_us(stamp * 1000)), stamp)
    disk, partition = Disk(), fresh(Disk(), rng)
    for upto in range(1, log.end + 1, 25):
        apply(partition, log, upto)
        record = counters_of(partition.state)
        assert record.ids == sum(partition.state.ids.counts(partition.state.clocks.dead_before).values())
        assert len(encode_segment(record)) < 500
        flush(partition, disk)
        recovered = fresh(disk, rng)
        assert recovered.state.live_ids() == record.ids
    assert any((key or b"")[:1] == COUNTERS for key, _, _ in disk.records)


def test_a_log_that_lost_only_its_last_markers_or_its_last_record_halts() -> None:
    """The record last folded is there but the log ends before what was folded; or the log is long enough and has no record there (law 3)."""
    log, disk = log_of(5), Disk()
    log.marker(2)
    partition = fresh(disk, random.Random(1))
    apply(partition, log, log.end)
    flush(partition, disk)
    last = log.records[-1]
    again = fresh(disk, random.Random(2))
    known = (last.key, last.value, last.timestamp_ms)
    again.check_identity(cluster_id="test", begin=0, end=log.end, record=known)
    with pytest.raises(ForeignLog, match="the log ends at"):
        again.check_identity(cluster_id="test", begin=0, end=log.end - 1, record=known)
    with pytest.raises(ForeignLog, match="is not in the log"):
        again.check_identity(cluster_id="test", begin=0, end=log.end, record=None)
