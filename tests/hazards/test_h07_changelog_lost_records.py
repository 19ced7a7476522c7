"""H7, law 5: offsets survive and the changelog does not, or not all of it: the state ends anywhere before what was committed."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace

from faust.types import TP

from streams.bases import Bases
from streams.ports import ChangelogRecord
from streams.table import CollectingStore
from tests.agents.meter_world import Worker, World
from tests.hazards.fold import clean
from tests.hazards.shell import ended, lived, turns, world_of
from topics.catalog import STATE
from topics.errors import CorruptState, Halt

Record = tuple[bytes | None, bytes | None, int]


async def _life(world: World) -> list[str]:
    """A life with a committed offset; then the changelog is cut at any record, in half of the lives after retention took the log's beginning."""
    rng = world.rng
    worker = Worker(world)
    await worker.assign()
    for _ in range(5):
        world.produce(rng.randrange(25))
        await turns(rng.randrange(60))
        if rng.random() < 0.4:
            world.disk.compact(rng)
    await worker.kill()
    await turns(5)
    committed = world.committed or 0
    end = len(world.disk.records)
    world.disk.records = world.disk.records[: rng.randrange(end + 1)]
    has_all = rng.random() < 0.5 or committed == 0
    world.begin = 0 if has_all else rng.randrange(1, committed + 1)
    world.faults.clear()
    again = Worker(world)
    await again.assign()
    if again.meter.halted:
        # A segment that is gone halts, as nothing can rebuild it but a replay; less than everything in the log halts, with the range.
        await again.kill()
        why = again.meter.halted
        return [] if "segments are missing" in why or not has_all else [f"halted although the log holds everything: {why}"]
    world.faults.clear()  # behind the committed offset: read again
    return await ended(world, again)


def _damaged(records: list[Record], rng: random.Random) -> list[Record]:
    """A changelog from which one record was lost, or in which one byte flipped."""
    at = rng.randrange(len(records))
    key, value, offset = records[at]
    if value is None or rng.random() < 0.5:
        return records[:at] + records[at + 1 :]
    flipped = bytearray(value)
    flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return [*records[:at], (key, bytes(flipped), offset), *records[at + 1 :]]


async def _damage(world: World) -> list[str]:
    """One record of a compacted changelog is lost or changed on disk, and a new worker takes the partition."""
    worker = Worker(world)
    await worker.assign()
    for _ in range(4):
        world.produce(world.rng.randrange(1, 25))
        await turns(world.rng.randrange(60))
    await worker.kill()
    await turns(5)
    world.disk.compact(world.rng)
    if not world.disk.records:
        return []
    world.disk.records = _damaged(world.disk.records, world.rng)
    again = Worker(world)
    await again.assign()
    world.faults.clear()  # what is behind the committed offset is read again
    if again.meter.halted or again.crash is not None:
        await again.kill()
        return []
    return await ended(world, again)


def seeded_damage(seed: int) -> list[str]:
    """One damaged record: the totals are equal, or the worker halts."""
    try:
        return lived(_damage, world_of(seed))
    except Halt:
        return []


def seeded_base(seed: int) -> list[str]:
    """Recoveries that a rebalance interrupts: what the table hands over is the whole changelog of this assignment, or nothing."""
    rng = random.Random(seed)
    store = object.__new__(CollectingStore)
    store.bases = Bases()
    log = [ChangelogRecord(b"k%d" % number, b"v", number) for number in range(12)]
    base: list[ChangelogRecord] | None = None
    for number in range(12, 18):
        log = [*rng.sample(log, len(log) - 1), ChangelogRecord(b"k%d" % number, b"v", number)]  # compaction, and a flush
        log.sort(key=lambda record: record.offset)
        if rng.random() < 0.7:
            asyncio.run(store.on_rebalance(set(), set(), set()))
            upto = rng.choice((0, 5, 12, 12))
            store.apply_changelog_batch([_event(record) for record in log[:upto]], _same, _same)
            base = log if upto == 12 else None
            if base is not None:
                asyncio.run(store.on_recovery_completed({TP(STATE, 0)}, set()))
        if rng.random() < 0.3:
            continue  # revoked before it was taken
        try:
            found = store.bases.take(0).records
        except CorruptState:
            if base is not None:
                return ["a whole recovery was refused"]
        else:
            if found != base:
                return [f"records {[record.offset for record in found]} are taken for the whole base"]
        base = None  # taken once
    start = store.persisted_offset(TP(STATE, 0))
    return [] if start == -1 else [f"recovery begins behind {start}"]


def _same(value: object) -> object:
    return value


def _event(record: ChangelogRecord) -> SimpleNamespace:
    return SimpleNamespace(message=SimpleNamespace(partition=0, key=record.key, value=record.value, offset=record.offset))


def test_h07_a_damaged_changelog_is_exact_or_halts() -> None:
    """One lost record or one flipped bit anywhere in the changelog leads to the naive totals or to a halt."""
    assert not clean(seeded_damage, 100)


def test_h07_a_recovery_that_was_interrupted_is_no_base() -> None:
    """What a table collected before a rebalance, or in part, is never taken for the partition's state."""
    assert not clean(seeded_base, 60)


def seeded(seed: int) -> list[str]:
    """One cut: the totals are equal, or the worker halts and says why."""
    return lived(_life, world_of(seed))


def test_h07_lost_state_is_read_again_or_halts() -> None:
    """Cut at any record after the commit, the changelog leads to the naive totals or to a halt, never to windows that begin anew."""
    assert not clean(seeded, 120)
