"""H11, law 4: two writers, of which one does not know that it is over, write one changelog; compaction keeps what came last."""

from __future__ import annotations

import random

import numpy as np

from streams.segments import COUNTERS, CounterRecord, decode_segment
from tests.core.meterlog import Disk, fresh
from tests.core.test_meter_recovery import Writer, apply, log_of
from tests.hazards.fold import clean, differences, faults_of, small_segments


def _durable(disk: Disk) -> tuple[int, int]:
    """The greatest prefix whose counters were ever acknowledged and are still there."""
    found = [decode_segment(COUNTERS, value, "") for key, value, _ in disk.records if key and value and key[:1] == COUNTERS]
    return max(((record.generation, record.counters.next_offset) for record in found if isinstance(record, CounterRecord)), default=(0, 0))


def _emit(writer: Writer) -> None:
    """Note every row as emitted, so that its next record is the same revision said again."""
    if not writer.groups:
        for row in writer.partition.state.rows.all():
            row.emitted = max(row.emitted, row.rev)
            writer.partition._dirty.append(np.array([row.slot]))


def _compacted(disk: Disk, rng: random.Random, committed: tuple[int, int]) -> list[str]:
    """Compaction, and a recovery in its middle: it has all that was durable."""
    disk.compact(rng)
    recovered = fresh(disk, rng)
    has_all = (recovered.generation, recovered.next_offset) >= committed
    return [] if has_all else [f"recovered {recovered.next_offset}, {committed[1]} was durable"]


def seeded(seed: int) -> list[str]:
    """Two to three workers write their flushes in random pieces, with compaction between all of them; whoever recovers has all that was durable."""
    rng, log, disk = random.Random(seed), log_of(24), Disk()
    log.records += [record._replace(offset=record.offset + log.end - 1) for record in log.records[1:]]
    log.end = 2 * log.end - 1
    faults: list[str] = []
    committed = (0, 0)
    with small_segments(SPARE_SEGMENTS=1, ROWS_A_SEGMENT=2):
        writers = [Writer(disk, rng), Writer(disk, rng)]
        for _ in range(60):
            at = rng.randrange(len(writers))
            if rng.random() < 0.1:
                _emit(writers[at])
            if not writers[at].go_on(log) or rng.random() < 0.08:
                writers[at] = Writer(disk, rng)
            committed = max(committed, _durable(disk))
            faults += _compacted(disk, rng, committed) if rng.random() < 0.4 else []
        last = fresh(disk, rng)
        apply(last, log, log.end)
    found = {"counted": last.counters.counted, "duplicate": last.counters.duplicate, "events": sum(row.events for row in last.state.rows.all())}
    return faults + differences("number", found, {"counted": 24, "duplicate": 24, "events": 24})


FOUND = (2012,)
"""Seeds that found a defect: one writer relied on the copy of a row that knew of more emissions, the other on the later copy, and each tombstoned
the other's."""


def test_h11_seeds_that_found_something_stay_clean() -> None:
    """A history of two writers that once lost a row keeps it."""
    assert not {seed: faults for seed in FOUND if (faults := faults_of(seeded, seed))}


def test_h11_two_writers_of_one_changelog_lose_nothing() -> None:
    """However the flushes of a worker and of its zombie interleave with compaction, what was durable is recovered and counts once."""
    assert not clean(seeded, 60)
