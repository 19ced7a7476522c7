"""H7, law 5: offsets survive and the changelog does not, or not all of it: the state ends anywhere before what was committed."""

from __future__ import annotations

from tests.agents.meter_world import Worker, World
from tests.hazards.fold import clean
from tests.hazards.shell import ended, lived, turns, world_of


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


def seeded(seed: int) -> list[str]:
    """One cut: the totals are equal, or the worker halts and says why."""
    return lived(_life, world_of(seed))


def test_h07_lost_state_is_read_again_or_halts() -> None:
    """Cut at any record after the commit, the changelog leads to the naive totals or to a halt, never to windows that begin anew."""
    assert not clean(seeded, 120)
