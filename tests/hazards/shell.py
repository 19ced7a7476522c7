"""Lives of the meter's shell in the world of chance (`tests/agents/meter_world.py`): settings, ends, and the truth about them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from tests.agents.meter_verdict import disagreements
from tests.agents.meter_world import Worker, World, in_a_loop, settle
from tests.hazards.fold import small_segments

Life = Callable[[World], Coroutine[Any, Any, list[str]]]


@contextmanager
def _unheard() -> Iterator[None]:
    """Halts and repeated reads of mutants need no log."""
    heard = logging.getLogger("streams.driver")
    before = heard.level
    heard.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        heard.setLevel(before)


def lived(life: Life, world: World) -> list[str]:
    """What is wrong after a life in a loop of its own, with a changelog of small segments."""
    with small_segments(), _unheard():
        return in_a_loop(life(world))


def world_of(seed: int) -> World:
    """A world whose every chance hangs on the seed."""
    return World(random.Random(seed))


async def turns(count: int) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ended(world: World, worker: Worker) -> list[str]:
    """Let a healthy worker finish, and compare with the naive account; a worker that died is followed by another."""
    world.fail_rate = 0.0
    done = worker.crash is None and await settle(world, worker, 6000)
    if worker.crash is not None:  # perhaps only now, of a send that had failed before
        await worker.kill()
        worker = Worker(world)
        await worker.assign()
        done = await settle(world, worker, 6000)
    faults = disagreements(world, worker) if done or worker.meter.halted else [*world.faults, "never settled"]
    await worker.kill()
    return faults
