"""What the archive's checks share: lives of its worker over a model of ClickHouse that can be killed, and the real engine, started once."""

from __future__ import annotations

import asyncio
import atexit
import logging
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from infra.embedded.testing import engine_server, unique
from sinks.clickhouse import app_patience, app_raw
from sinks.clickhouse.client import ClickHouse
from tests.agents.archive_world import Killed, ModelStore, Process, Topics
from tests.contract.archive_engine import archive_at
from tests.core.test_fold import build_log

PATIENCE = 1500
"""Turns of a millisecond that one life may take before it counts as stuck: thirty times what it needs. Not seconds: a busy machine stretches
those, and the model waits for nothing outside of the loop."""


@contextmanager
def quick() -> Iterator[None]:
    """Pauses of the worker of a millisecond."""
    held = app_patience.FIRST_S, app_patience.MOST_S, app_raw.IDLE_S
    heard = [(logging.getLogger(name), logging.getLogger(name).level) for name in ("sinks.clickhouse.app", "sinks.clickhouse.app_raw")]
    for logger, _ in heard:
        logger.setLevel(logging.CRITICAL + 1)  # halts are what some checks ask for
    app_patience.FIRST_S, app_patience.MOST_S, app_raw.IDLE_S = 0.001, 0.002, 0.002  # type: ignore[misc]
    try:
        yield
    finally:
        app_patience.FIRST_S, app_patience.MOST_S, app_raw.IDLE_S = held  # type: ignore[misc]
        for logger, level in heard:
            logger.setLevel(level)


class Stuck(AssertionError):
    """A life of the archive that never ends."""


async def _life(topics: Topics, store: ModelStore, rng: random.Random, prepare: Callable[[Process], None], late: str) -> Process:
    process = Process(topics, store, rng)
    prepare(process)
    try:
        await process.start()
        if late:  # all but this topic, and a little of it; the rest of it comes when the others are long there
            await process.flow.deliver(process.worker, [late], rng, most=1)
            await process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events", late}, rng)
            await asyncio.sleep(0.02)
        delivering = asyncio.ensure_future(process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng))
        watching = asyncio.ensure_future(_archived(process, topics))
        await asyncio.wait({delivering, watching}, return_when=asyncio.FIRST_EXCEPTION)
        for task in (watching, delivering):
            task.cancel()
        await asyncio.wait({watching, delivering})
        for task in (watching, delivering):
            if not task.cancelled():
                task.result()
    finally:
        await process.end()
    return process


async def _archived(process: Process, topics: Topics) -> None:
    watching = asyncio.ensure_future(process.archived(topics))
    for _ in range(PATIENCE):
        await asyncio.sleep(0.001)
        if watching.done():
            return watching.result()
    watching.cancel()
    raise Stuck("the archive never has everything")


def live(
    topics: Topics, store: ModelStore, rng: random.Random, prepare: Callable[[Process], None] = lambda _: None, late: str = ""
) -> Process | None:
    """One life of an archive worker, to the end of all topics; None where it was killed on the way. `late` is a topic that lags."""

    async def life() -> Process:
        return await _life(topics, store, rng, prepare, late)

    with quick():
        try:
            return asyncio.run(life())
        except Killed:
            return None


def topics_of(seed: int, length: int, *, doubled: bool = True) -> Topics:
    """A hostile log judged by the meter, its output doubled at random."""
    return Topics(seed, build_log(seed, length), doubled=doubled)


_engine = ExitStack()


@cache
def _engine_url() -> str:
    folder = _engine.enter_context(tempfile.TemporaryDirectory(prefix="tidemark-hazards-"))
    return _engine.enter_context(engine_server(Path(folder))).url


def end_engine() -> None:
    """End the engine, if one was started; the next database starts another."""
    _engine_url.cache_clear()
    _engine.close()


atexit.register(end_engine)


def database() -> ClickHouse:
    """A new, migrated database on the engine of this process."""
    return archive_at(_engine_url(), unique("hazard").replace("-", "_"))
