"""H37: a worker that was suspended longer than `max_poll_interval` never joins its group again; one that waits for room must not count as such.

With real processes: `tests/system/test_stack_supervisor.py`, and SIGSTOP in `make chaos`.
"""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from infra import delivery_consumer
from infra.delivery_consumer import BatchConsumer
from infra.embedded.supervision import Action, Policy, Supervised, observe, started, step
from tests.hazards.fold import clean

TICK_S = 0.25


def _status(progress: int, end: int, done: int) -> dict[str, Any]:
    return {"progress": progress, "halted": None, "partitions": [{"partition": 0, "next_offset": done, "end_offset": end}]}


def seeded(seed: int) -> list[str]:
    """A worker works, then answers but gets nothing done although there is lag: it is killed in time, and started again; before that never."""
    rng, policy = random.Random(seed), Policy()
    process, now_s = started(Supervised(), 0.0), 0.0
    dead_from_s = rng.uniform(20, 200)
    progress, end = 0, 0
    while now_s < dead_from_s + policy.stuck_s + 5:
        now_s += TICK_S
        end += rng.randrange(3)
        if now_s < dead_from_s:
            progress += rng.random() < 0.2 or end % 7 == 0
        seen = observe(None, True, _status(progress, end, end if rng.random() < 0.01 and now_s < dead_from_s else 0), False)
        process, action = step(process, seen, now_s, policy)
        if action is Action.KILL:
            if now_s < dead_from_s:
                return [f"killed at {now_s:.0f} s, it worked until {dead_from_s:.0f} s"]
            process, action = step(process, observe(-9, False, None, False), now_s, policy)
            process, action = step(process, observe(-9, False, None, False), now_s + policy.backoff_max_s, policy)
            return [] if action is Action.START else ["killed, and never started again"]
    return [f"stands still with lag for {now_s - dead_from_s:.0f} s, and nobody does anything"]


async def _waiting(rng: random.Random) -> list[str]:
    """The app takes nothing for a while: aiokafka must hear all the time that its consumer lives, and a revoke must not wait for room."""
    touched = 0

    async def touch() -> None:
        nonlocal touched
        touched += 1

    gone, room = asyncio.Event(), asyncio.Event()
    consumer: Any = SimpleNamespace(thread=SimpleNamespace(touch=touch), suspend_flow=gone)
    waiting = asyncio.ensure_future(BatchConsumer._unless_suspended(consumer, _put(room)))
    wanted = rng.randrange(3, 9)
    for _ in range(300):
        if touched >= wanted:
            break
        await asyncio.sleep(0.001)
    revoked = rng.random() < 0.5
    (gone if revoked else room).set()
    ended, _ = await asyncio.wait({waiting}, timeout=1.0)
    faults = [] if touched >= wanted else ["a consumer that waits for room shows no sign of life"]
    if not ended:
        waiting.cancel()
        return [*faults, "a put that waits for room holds the revoke up"]
    return faults if waiting.result() is not revoked else [*faults, f"revoked {revoked}, and the put counts as {waiting.result()}"]


async def _put(room: asyncio.Event) -> None:
    await room.wait()


def seeded_waiting(seed: int) -> list[str]:
    """A consumer whose app has no room: it shows that it lives, and a revoke takes the put away from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery_consumer, "TOUCH_EVERY_S", 0.001)
        return asyncio.run(_waiting(random.Random(seed)))


def test_h37_a_worker_that_gets_nothing_done_is_killed_and_started_again() -> None:
    """A worker that answers, has lag and makes no progress is killed within the supervisor's patience and started again; one that works is not."""
    assert not clean(seeded, 20)


def test_h37_a_consumer_that_waits_for_room_is_alive() -> None:
    """While its app takes nothing a consumer keeps telling the group that it lives, and a revoke never waits for room."""
    assert not clean(seeded_waiting, 5)
