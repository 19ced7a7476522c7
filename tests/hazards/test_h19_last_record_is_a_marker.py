"""H19, law 9: the last record of the log is a transaction's marker, or an aborted record; nothing ever comes after it."""

from __future__ import annotations

from collections import Counter

from tests.agents.meter_world import Worker, World
from tests.hazards.fold import clean
from tests.hazards.shell import ended, lived, turns, world_of


async def _life(world: World) -> list[str]:
    """Some usage, then markers, then silence; perhaps a restart in the silence."""
    worker = Worker(world)
    await worker.assign()
    for _ in range(2):
        world.produce(world.rng.randrange(1, 15))
        await turns(world.rng.randrange(40))
    world.log.marker(world.rng.randrange(1, 4))
    if world.rng.random() < 0.5:
        await turns(world.rng.randrange(60))
        await worker.kill()
        worker = Worker(world)
        await worker.assign()
    return await ended(world, worker)


def seeded(seed: int) -> list[str]:
    """A marker and silence: every window closes and is emitted."""
    return lived(_life, world_of(seed))


async def _backlog(world: World) -> list[str]:
    """All usage lies in the log, hours old, when a slow worker starts; no window may be emitted before it is whole."""
    for _ in range(3):
        world.produce(40)
    world.now_ms += 30_000
    worker = Worker(world, pressure_records=7)
    await worker.assign()
    faults = await ended(world, worker)
    emitted = Counter(send.key for send in world.windows)
    return faults + [f"{key!r} is emitted in {count} parts" for key, count in emitted.items() if count > 1][:3]


def seeded_backlog(seed: int) -> list[str]:
    """A backlog: every window is emitted once, whole."""
    return lived(_backlog, world_of(seed))


def test_h19_a_backlog_never_closes_a_window_early() -> None:
    """However old a backlog is, a window is emitted once all of the log is counted that was there when it became due."""
    assert not clean(seeded_backlog, 40)


def test_h19_windows_close_behind_a_trailing_marker() -> None:
    """Though the log ends in a marker and stays silent for ever, every window closes with its exact total."""
    assert not clean(seeded, 40)
