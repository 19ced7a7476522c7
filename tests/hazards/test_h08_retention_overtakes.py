"""H8, law 7: the worker was down longer than retention; every hole is legal, so the loss would show nowhere."""

from __future__ import annotations

import asyncio

import pytest

from tests.agents.meter_world import TP, Worker, World
from tests.hazards.apps import built_app
from tests.hazards.fold import clean
from tests.hazards.shell import ended, lived, turns, world_of
from topics.batch import NOT_ASSIGNED


async def _life(world: World) -> list[str]:
    """Records below a random offset are deleted while nobody counts, or under a running worker's feet, or before the very first start."""
    rng = world.rng
    kind = rng.choice(("down", "down", "running", "never counted"))
    worker = Worker(world)
    world.produce(20)
    next_offset = 0
    if kind != "never counted":
        await worker.assign()
        await turns(rng.randrange(200))
        held = worker.meter.held.get(0)
        next_offset = held.core.next_offset if held else 0
    if kind == "running":
        worker.flow.current = NOT_ASSIGNED
        await worker.meter.on_out_of_range(TP, next_offset, next_offset + 7, next_offset + 9)
        await worker.kill()
        said = worker.meter.halted or ""
        return [] if f"offsets {next_offset} to {next_offset + 6} (7 of them)" in said else [f"lost 7 events and said {said!r}"]
    await worker.kill()
    await turns(20)
    world.produce(20)
    world.begin = rng.randrange(1, world.log.end)
    world.faults.clear()
    again = Worker(world)
    await again.assign()
    await turns(100)
    held = again.meter.held.get(0)
    if again.meter.halted is None:
        counted = held.core.counters.base if held else -1
        faults = await ended(world, again)
        return faults if counted == 0 else [*faults, f"counts from {counted} and not from the log's start"]
    said, durable = again.meter.halted, world.committed or 0
    await again.kill()
    if world.begin <= durable:
        return [f"halted although nothing is lost: {said}"]
    return [] if f"to {world.begin - 1}" in said and "tidemark adopt" in said else [f"offsets to {world.begin - 1} are gone, and it says {said!r}"]


def seeded(seed: int) -> list[str]:
    """One deletion: exact where nothing that was to be counted is gone, a halt with the range where it is."""
    return lived(_life, world_of(seed))


def seeded_reset(seed: int) -> list[str]:
    """Told a start, a consumer of ours never chooses another: where the log does not hold it, it must refuse."""
    reset = asyncio.run(_reset())
    jumps = {"earliest": "to the log's start, over what was never counted", "latest": "to the log's end"}
    return [f"seed {seed}: a lost offset is answered by a jump {jumps[reset]}"] if reset in jumps else []


async def _reset() -> str:
    app = built_app()
    consumer = app.consumer.thread._create_worker_consumer(app.transport)
    consumer._closed = True  # it never connected
    reset: str = consumer._auto_offset_reset
    return reset


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_h08_no_consumer_resets_itself() -> None:
    """The consumer of a worker has no offset reset: an offset that the log lost is an error, never a jump."""
    assert not clean(seeded_reset, 1)


def test_h08_what_retention_took_uncounted_halts_with_the_range() -> None:
    """Deleted below any offset, at any time, the log leads to exact totals or to a halt that names what is gone, never to a jump."""
    assert not clean(seeded, 80)
