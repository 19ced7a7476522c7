"""One Faust worker as a process: `tidemark worker meter|report|archive`, or `python -m infra.worker meter`.

It waits for Kafka instead of dying of its absence, refuses to start on wrong topics in one message, and leaves within seconds of SIGTERM
with everything flushed and committed.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack
from typing import NoReturn, get_args

from infra import logs, topics_admin
from infra.face import Kind, WorkerFace
from infra.faust_app import end_process, serve
from infra.http import WorkerHttp
from infra.kafka_io import wait_until_reachable
from infra.settings import Settings, load_settings
from infra.topics_rules import Difference
from infra.wiring import WIRINGS, Resource, worker_name
from topics.errors import ConfigurationFault, Fault, TidemarkError, Unreachable, UsageError

log = logging.getLogger(__name__)

KINDS: tuple[Kind, ...] = get_args(Kind)

LEAVE_S = 10.0
"""How long a worker may take to leave after SIGTERM. What must be flushed and committed usually takes a tenth of a second; Faust's own
shutdown was seen to wait for a consumer thread that was just starting. Whatever is not done by then is replayed, as after a kill."""

GC_THRESHOLDS = (100_000, 20, 100)
"""A meter holds millions of rows that no cycle ever holds: with Python's own (700, 10, 10) the collector walks them for 40 % of its time
(600,000 events of 500,000 customers: 24 µs an event against 15)."""

SAFE_REPLICATION, SAFE_MIN_INSYNC = 3, 2
"""Law 5: with these an acknowledged record survives the loss of any one broker."""


def run(kind: str) -> NoReturn:
    """Be one worker until SIGTERM or SIGINT. Exit code 0 after a stop, 1 after a crash, 2 for a wrong configuration."""
    known = known_kind(kind)
    settings = load_settings()
    gc.set_threshold(*GC_THRESHOLDS)
    logs.configure(worker_name(known, settings))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        code = loop.run_until_complete(work(known, settings))
    except TidemarkError as error:
        log.critical("%s", error)
        code = error.exit_code
    except Exception:
        log.exception("the worker ends")
        code = 1
    end_process(code)


def known_kind(kind: str) -> Kind:
    """The kind of worker that is named. Raises UsageError for none of ours."""
    known = next((name for name in KINDS if name == kind), None)
    if known is None:
        raise UsageError(f"there is no worker {kind!r}; there are {', '.join(KINDS)}")
    return known


async def work(kind: Kind, settings: Settings) -> int:
    """The whole life of a worker; returns its exit code. Raises ConfigurationFault for wrong topics, UsageError for a taken port."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    leaving = asyncio.ensure_future(leave_at_last(stop))
    face = WorkerFace(kind, worker_name(kind, settings), settings.alarms.limits())
    async with AsyncExitStack() as ending:
        http = WorkerHttp(face, settings.worker.http)
        await http.start()
        ending.push_async_callback(http.stop)
        wired = WIRINGS[kind](settings, face.metrics)
        if not await unless_stopped(opened(wired.resources, settings, face, ending), stop):
            return 0
        face.attach(wired.work)
        watching = asyncio.ensure_future(face.watch())
        try:
            code = await serve(wired.app, stop)
        finally:
            watching.cancel()
    leaving.cancel()
    return code


async def leave_at_last(stop: asyncio.Event) -> None:
    """End the process when it has not left within `LEAVE_S` of being told."""
    await stop.wait()
    await asyncio.sleep(LEAVE_S)
    log.warning("this worker did not leave within %s s and ends now; what it had not committed is replayed", LEAVE_S)
    end_process(0)


async def opened(resources: Iterable[Resource], settings: Settings, face: WorkerFace, ending: AsyncExitStack) -> None:
    """Return when Kafka answers, its topics are right and everything that the worker needs is open; `ending` closes it."""
    await ready_for(settings, face)
    for resource in resources:
        while True:
            try:
                await resource.start()
                break
            except Unreachable:
                await ready_for(settings, face)  # it went away between two questions
        ending.push_async_callback(resource.stop)


async def unless_stopped(waiting: Awaitable[None], stop: asyncio.Event) -> bool:
    """Wait for something unless the worker is told to leave first; False then."""
    task, stopped = asyncio.ensure_future(waiting), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        task.cancel()
        stopped.cancel()


async def ready_for(settings: Settings, face: WorkerFace) -> None:
    """Return when Kafka answers and has our topics as they must be. Raises ConfigurationFault with everything that is wrong about them."""
    while True:
        face.waiting = f"Kafka at {settings.kafka.bootstrap} does not answer yet"
        await wait_until_reachable(settings.kafka.bootstrap)
        try:
            found = await visible(settings)
        except Unreachable:
            continue  # it went away between two questions; waiting says so once
        refuse(found)
        warn_of_risk(settings)
        face.waiting = "starting"
        return


async def visible(settings: Settings) -> list[Difference]:
    """What differs in the topics. One that is absent is asked for again: of several brokers, one that has just come up may not know it yet."""
    for pause_s in topics_admin.ASK_AGAIN_S:
        found = await topics_admin.plan(settings.kafka)
        if all(one.change != "create" for one in found):
            return found
        await asyncio.sleep(pause_s)
    return await topics_admin.plan(settings.kafka)


def refuse(found: Iterable[Difference]) -> None:
    """Raise ConfigurationFault with all that is wrong about the topics, or return."""
    wrong = []
    for one in found:
        problem = "the topic does not exist" if one.change == "create" else f"{one.what} is {one.is_}, must be {one.wanted}"
        wrong.append(Fault(one.topic, problem, one.remedy or "Run `tidemark topics apply`."))
    if wrong:
        raise ConfigurationFault(wrong)


def warn_of_risk(settings: Settings) -> None:
    """Say what is allowed but loses money when a machine is lost; the embedded stack has one machine and says nothing."""
    kafka = settings.kafka
    if not settings.embedded and (kafka.replication < SAFE_REPLICATION or kafka.min_insync < SAFE_MIN_INSYNC):
        log.warning("kafka.replication %s, min_insync %s: not for money; use 3 and 2", kafka.replication, kafka.min_insync)


if __name__ == "__main__":
    try:
        run(sys.argv[1] if len(sys.argv) == 2 else "")
    except TidemarkError as refusal:
        sys.exit(f"{refusal}")
