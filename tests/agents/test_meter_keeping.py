"""What a worker kept across a rebalance: exactly what a recovery would read, or not kept at all (law 2); and each guard of that alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streams.bases import Bases
from streams.driver import Meter
from streams.partition import MeterPartition
from streams.ports import Base, Kept
from streams.segments import ROWS, SegmentKey
from tests.agents.keeping_life import PATIENCE, life_of
from tests.agents.meter_lives import inside, small_segments, turns
from tests.agents.meter_verdict import disagreements
from tests.agents.meter_world import TP, Worker, World, settle
from tests.core.meterlog import batch_of
from topics.errors import CorruptState

SEEDS = 25
"""Schedules a case; `python -m tests.agents.keeping_life FIRST LAST` runs any number of others."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are small and halts silent."""
    small_segments(monkeypatch)


async def counted(world: World, events: int = 40) -> Worker:
    """A worker that has counted something, and all of it durable."""
    worker = Worker(world)
    await worker.assign()
    world.produce(events)
    await turns(600)
    return worker


def core_of(worker: Worker) -> MeterPartition:
    """The state that it counts with."""
    return worker.meter.held[0].core


# ── kept, and right ─────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_partition_that_comes_back_unchanged_is_not_read_again() -> None:
    """A clean revoke and an assignment with nothing written in between: the same state goes on, under keys of its own, and ends exact."""

    async def life(world: World) -> None:
        worker = await counted(world)
        before, epoch, offset = core_of(worker), core_of(worker).changelog.epoch, world.disk.offset
        for _ in range(3):
            await worker.revoke(PATIENCE)
            assert not worker.meter.held
            await worker.assign()
            assert core_of(worker) is before
            world.produce(20)
            await turns(600)
        assert worker.around.reads == 1
        assert before.changelog.epoch != epoch
        assert world.disk.offset > offset
        assert await settle(world, worker)
        assert not disagreements(world, worker)
        await worker.kill()

    inside(life)


def test_another_owner_that_wrote_nothing_changes_nothing() -> None:
    """Another worker takes the partition and dies before its first flush: what it counted is nobody's, and the kept state counts it."""

    async def life(world: World) -> None:
        worker = await counted(world)
        await worker.revoke(PATIENCE)
        other = Worker(world)
        other.outbox.running.clear()
        await other.assign()
        world.produce(20)
        await turns()
        other.outbox.under_way.clear()  # none of it ever lands
        await other.kill()
        await worker.assign()
        assert worker.around.reads == 1
        assert await settle(world, worker)
        assert not disagreements(world, worker)
        await worker.kill()

    inside(life)


@pytest.mark.parametrize("first", range(0, 3 * SEEDS, SEEDS))
def test_kept_states_are_what_a_recovery_makes(first: int) -> None:
    """Whatever happens between any two awaits: each kept state equals the recovery of its changelog, and the outcome is the naive account's."""
    seen: list[int] = []
    found = {seed: faults for seed in range(first, first + SEEDS) if (faults := life_of(seed, seen=seen))}
    assert not found
    assert len(seen) > SEEDS


@pytest.mark.parametrize("first", [0])
def test_without_keeping_the_same_lives_end_exact(first: int) -> None:
    """The same schedules, each partition read again at each rebalance, end with the same truth."""
    assert not {seed: faults for seed in range(first, first + SEEDS) if (faults := life_of(seed, keeps=False))}


# ── not kept ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_any_write_of_somebody_else_leads_to_a_recovery() -> None:
    """One record of another writer, before the revoke or after it, and the changelog is read whole; the next time it need not be."""

    async def life(world: World) -> None:
        worker = await counted(world)
        world.disk.append(SegmentKey(ROWS, bytes(8), 1).to_bytes(), None)
        await worker.revoke(PATIENCE)
        await worker.assign()
        assert worker.around.reads == 2
        await turns(400)
        await worker.revoke(PATIENCE)
        world.disk.append(SegmentKey(ROWS, bytes(8), 1).to_bytes(), None)
        await worker.assign()
        assert worker.around.reads == 3
        await turns(400)
        await worker.revoke(PATIENCE)
        await worker.assign()
        assert worker.around.reads == 3
        assert await settle(world, worker)
        assert not disagreements(world, worker)
        await worker.kill()

    inside(life)


def test_a_partition_that_another_worker_counted_on_is_read_again() -> None:
    """Given away and got back: the other's flushes are in the changelog, so its end differs, and nothing of the old state is used."""

    async def life(world: World) -> None:
        worker = await counted(world)
        before = core_of(worker)
        await worker.revoke(PATIENCE)
        other = Worker(world)
        await other.assign()
        world.produce(20)
        await turns(600)
        await other.revoke(PATIENCE)
        await worker.assign()
        assert worker.around.reads == 2
        assert core_of(worker) is not before
        assert core_of(worker).next_offset > before.next_offset
        await worker.kill()
        await other.kill()

    inside(life)


def test_a_revoke_that_was_cut_short_or_halted_keeps_nothing() -> None:
    """A flush that is not acknowledged in time, or a worker that has halted, leaves nothing that could be taken for a state."""

    async def life(world: World) -> None:
        worker = await counted(world)
        worker.outbox.running.clear()
        world.produce(20)
        await turns()
        await worker.revoke(3)
        worker.outbox.running.set()
        await worker.assign()
        assert worker.around.reads == 2
        await turns(600)
        await worker.meter.on_out_of_range(TP, 12, 40, 90)
        await worker.revoke(PATIENCE)
        assert not worker.around.bases._kept
        await worker.kill()

    inside(life)


def test_what_is_not_durable_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush under way, rows that changed, a batch folded by half, a base that nobody measured: none of them has an extent."""

    async def life(world: World) -> None:
        worker = await counted(world)
        await worker.revoke(PATIENCE)
        core = worker.around.bases._kept[0].core
        assert core.durable_extent() is not None
        found = world.log.records[-1]
        end = world.log.end
        world.produce(5)
        more = [record for record in world.log.records if record.offset > found.offset]
        core.apply(batch_of(more, end, world.log.end))
        assert core.durable_extent() is None
        pending = core.begin_flush()
        assert pending is not None
        assert core.durable_extent() is None
        before = core._extent
        core.end_flush(pending)
        assert before is not None
        assert core.durable_extent() == (0, before[1] + pending.changelog_records())
        core.stand_on(None)
        assert core.durable_extent() is None
        await worker.kill()

    inside(life)


def test_kept_states_of_others_partitions_are_let_go() -> None:
    """The new assignment is known: what others have now is let go of at once, what differs before the first record is read."""
    held = Bases()
    core: Any = object()
    for partition in range(3):
        held.keep(partition, Kept(core, 0, 10))
    held.begin({0, 1})
    assert set(held._kept) == {0, 1}
    assert held.stands(0, 0, 10)
    assert not held.stands(1, 0, 11)
    assert set(held._kept) == {0}
    with pytest.raises(CorruptState, match="not recovered in this assignment"):
        held.take(0)
    held.complete({0, 1})
    assert held.take(0) == Base((), (0, 10), core)
    assert held.take(1) == Base([], (0, 11))
    assert not held._kept
    with pytest.raises(CorruptState, match="not recovered in this assignment"):
        held.take(0)


@pytest.mark.parametrize(("begin", "end"), [(1, 10), (0, 9), (0, 11), (5, 15)])
def test_a_changelog_with_other_bounds_is_read(begin: int, end: int) -> None:
    """Longer, shorter or cut at its beginning: the kept state is not that changelog's, and does not come back when the bounds do."""
    held = Bases()
    held.keep(0, Kept(Any, 0, 10))  # type: ignore[arg-type]
    held.begin({0})
    assert not held.stands(0, begin, end)
    assert not held.stands(0, 0, 10)


# ── each guard alone ────────────────────────────────────────────────────────────────────────────────────────────────
def _whatever_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def stands(self: Bases, partition: int, begin: int, end: int) -> bool:
        self._bounds[partition] = begin, end
        if partition in self._kept:
            self._standing.add(partition)
        return partition in self._kept

    monkeypatch.setattr(Bases, "stands", stands)


def _also_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = Meter.on_revoked

    async def on_revoked(self: Meter, tps: Any) -> None:
        leaving = {partition: self._held[partition] for _, partition in tps if partition in self._held}
        try:
            await let_go(self, tps)
        finally:
            self._held |= leaving
            self._keep_clean(leaving)
            for partition in leaving:
                del self._held[partition]

    monkeypatch.setattr(Meter, "on_revoked", on_revoked)
    monkeypatch.setattr(MeterPartition, "durable_extent", lambda self: self._extent)


@pytest.mark.parametrize("mutate", [_whatever_its_end, _also_cut_short])
def test_lives_notice_a_missing_guard(mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A state kept although somebody wrote, or although it was not durable, is found out."""
    mutate(monkeypatch)
    assert any(life_of(seed, seen=[]) for seed in range(200))
