"""H10, law 3: the topic is recreated, restored or mirrored; offsets fall below the fences and new events look like replays."""

from __future__ import annotations

from tests.agents.meter_world import METERS, NAIVE_METERS, TIMING, Worker, World
from tests.core.meterlog import Log, fresh, meters_record
from tests.core.naive import Naive
from tests.core.test_meter_recovery import adopted
from tests.hazards.fold import clean
from tests.hazards.shell import ended, lived, turns, world_of


def _naive(world: World) -> Naive:
    return Naive(NAIVE_METERS, dedup_ms=TIMING.dedup_ms, horizon_ms=TIMING.horizon_ms, future_ms=TIMING.future_ms, at_home=set(world.names))


def _replace_log(world: World, durable: int) -> None:
    """Another log: cut and grown anew, or made from scratch with part of the old events in it; the account goes on from what was counted."""
    rng, old = world.rng, world.log
    last = max((record.offset for record in old.records if record.offset < durable), default=0)
    world.log = Log()
    if rng.random() < 0.4 and durable > 2:
        upto = rng.randrange(1, durable)
        world.log.records = [record for record in old.records if record.offset < upto]
        world.log.end = world.log.records[-1].offset + 1
    else:
        world._add(*meters_record(METERS, TIMING))
        for record in old.records[1:]:
            if rng.random() < 0.5:
                world.log.add(record.key, record.value, world.now_ms, record.headers)
    world.produce(rng.choice((0, 3, 60)))
    if rng.random() < 0.3 and last > 0:  # what was counted last is a marker in the other log
        world.log.records = [record for record in world.log.records if record.offset != last]
    world.naive = _naive(world)
    for record in old.records:
        if record.offset < durable:
            world.naive.take(record)
    world.naive.verdicts.clear()
    for record in world.log.records:
        world.naive.take(record)


def _cut_markers(world: World) -> None:
    """The log lost nothing but the markers behind its last record."""
    world.log.end = world.log.records[-1].offset + 1


async def _life(world: World) -> list[str]:
    """The worker is stopped, the log becomes another one; it must halt, and after `adopt` count what is new, once."""
    rng = world.rng
    worker = Worker(world)
    await worker.assign()
    for _ in range(3):
        world.produce(rng.randrange(1, 20))
        await turns(rng.randrange(80))
    kind = rng.choice(("replaced", "replaced", "another cluster", "cut"))
    if kind == "cut":
        world.log.marker(2)
        await turns(400)
    await worker.kill()
    await turns(10)
    durable = fresh(world.disk, rng).next_offset
    if durable < 2 or (kind == "cut" and durable < world.log.end):
        return []
    if kind == "cut":
        _cut_markers(world)
    elif kind == "replaced":
        _replace_log(world, durable)
        world.committed = min(world.committed or 0, world.log.end)
    else:
        world.cluster_id, world.begin = "mirror", durable
    again = Worker(world)
    await again.assign()
    said = again.meter.halted or ""
    await again.kill()
    if "tidemark adopt --partition 0" not in said:
        return [f"{kind}: nothing halts over another log; it says {said!r}"]
    if kind != "replaced":
        return []
    adopted(world.disk, 0)
    world.cluster_id, world.committed = "new", None
    world.faults.clear()
    last = Worker(world)
    await last.assign()
    return await ended(world, last)


def seeded(seed: int) -> list[str]:
    """One recreated log: a halt that names the command, then exact totals over both logs."""
    return lived(_life, world_of(seed))


def test_h10_another_log_halts_and_counts_once_when_adopted() -> None:
    """A cut, recreated or mirrored topic stops the worker with the command that goes on, and after it each event counts once."""
    assert not clean(seeded, 60)


