"""H1, law 2: a slow broker holds a flush, a handler waits for room, the revoke times out; the handler wakes in another assignment."""

from __future__ import annotations

from tests.agents.meter_world import Worker, World
from tests.hazards.fold import clean
from tests.hazards.shell import ended, lived, turns, world_of


async def _life(world: World) -> list[str]:
    """Revoked after any number of turns, with any patience, reassigned after any number more; the broker holds its answers back meanwhile."""
    rng = world.rng
    worker = Worker(world, pressure_records=rng.choice((3, 10, 40)))
    await worker.assign()
    for _ in range(10):
        world.produce(rng.randrange(40))
        if rng.random() < 0.5:
            worker.outbox.running.clear()
        await turns(rng.randrange(25))
        await worker.revoke(rng.choice((0, 1, 2, 5, 30)))
        if rng.random() < 0.5:
            await turns(rng.randrange(6))
            worker.outbox.running.set()
        await turns(rng.randrange(4))
        if worker.crash is not None:
            worker.outbox.running.set()
            await worker.kill()
            worker = Worker(world, pressure_records=10)
        worker.outbox.running.set()
        await worker.assign()
    return await ended(world, worker)


def seeded(seed: int) -> list[str]:
    """One schedule of revokes that time out; the totals are the naive account's."""
    return lived(_life, world_of(seed))


def test_h01_nothing_crosses_an_assignment() -> None:
    """Revoked and reassigned at any await of handler and flush, totals, verdicts and revisions are those of the naive account."""
    assert not clean(seeded, 60)
