"""The sandbox as a process: opens its state, listens, writes its counters back now and then, closes in order on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from aiohttp import web

from infra.sandbox.calls import Calls
from infra.sandbox.clock import Clock
from infra.sandbox.control import keep_plan, kept_plan
from infra.sandbox.engine import Engine
from infra.sandbox.faults import Plan
from infra.sandbox.knobs import Knobs
from infra.sandbox.limiter import Limiter
from infra.sandbox.server import Face
from infra.sandbox.standing_receiver import Receiver, put
from infra.sandbox.store import Store
from infra.sandbox.webhook_sender import Sender
from topics.errors import Unreachable, UsageError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
EVERYWHERE = "0.0.0.0"  # noqa: S104  the one other host that may be asked for, by a container
WRITE_BACK_S = 0.25
"""How old the counters on disk may be: a kill loses at most the counts of a quarter second, never an effect."""
DRAIN_S = 2.0
"""How long open requests may still run after a stop was asked for; more than any fault waits."""


def checked_key(api_key: str | None) -> str | None:
    """The only key that will be accepted, or None for every `sk_test_` key. A live key is refused: it has no business in a sandbox."""
    if not api_key:
        return None
    if not api_key.startswith("sk_test_"):
        raise UsageError("STRIPE_API_KEY is no test key: the sandbox takes keys that begin with sk_test_")
    return api_key


@asynccontextmanager
async def listening(
    host: str,
    port: int,
    state_dir: Path,
    *,
    api_key: str | None = None,
    knobs: Knobs | None = None,
    plan: Plan | None = None,
    receiver: Receiver | None = None,
) -> AsyncIterator[str]:
    """A sandbox inside this event loop; yields its base URL. `port` 0 takes a free one; without `plan` the last run's faults go on.
    `receiver` is told of what happens; the knobs have to know it (`standing_receiver.known_to`)."""
    if host not in LOOPBACK | {EVERYWHERE}:
        raise UsageError(f"the sandbox listens on 127.0.0.1, or with --host {EVERYWHERE} in a container; not on {host}")
    knobs = knobs or Knobs()
    store = Store(state_dir)
    try:
        if plan is not None:
            keep_plan(store, plan)
        engine = Engine(store, Clock(store), knobs, checked_key(api_key), plan or kept_plan(store), Limiter(knobs))
        if receiver is not None:
            put(store, receiver, engine.clock.now_s())
        calls = Calls(store)
        # Bodies above 1 MiB, the HTTP library's default, are refused with 413: far beyond any call of the API.
        runner = web.ServerRunner(web.Server(Face(engine, calls).handle, access_log=None), shutdown_timeout=DRAIN_S)
        await runner.setup()
        sender = Sender(engine)
        keeper = asyncio.create_task(_keep(engine, calls, sender))
        try:
            yield await _bound(runner, host, port)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await sender.close()
            await runner.cleanup()
            calls.write_back()
    finally:
        store.close()


async def _bound(runner: web.ServerRunner, host: str, port: int) -> str:
    try:
        await web.TCPSite(runner, host, port, backlog=512).start()
    except OSError as error:
        sentence = f"the sandbox cannot listen on {host}:{port}: {error.strerror or error}. Choose another port, or 0 for a free one"
        raise Unreachable(sentence) from error
    address = runner.addresses[0]
    return f"http://{'127.0.0.1' if host == EVERYWHERE else host}:{address[1]}"


async def _keep(engine: Engine, calls: Calls, sender: Sender) -> None:
    while True:
        await asyncio.sleep(WRITE_BACK_S)
        calls.write_back()
        engine.keep()
        sender.look()


def serve(
    host: str = "127.0.0.1",
    port: int = 12111,
    state_dir: Path | str = ".tidemark/sandbox",
    *,
    api_key: str | None = None,
    seed: int = 0,
    rates: Mapping[str, float] | None = None,
    only: str | None = None,
    calls_per_second: float = 100.0,
    knobs: Knobs | None = None,
    receiver: Receiver | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Runs a sandbox until SIGTERM or SIGINT. The key comes from `api_key` or STRIPE_API_KEY; without one every `sk_test_` key is taken.

    `rates` (fault name: share of the calls) begins a new fault plan; None goes on with the one of the last run on this directory.
    `knobs`, if given, replaces `calls_per_second` too. `ready` is told the base URL once the socket listens.
    """
    plan = None if rates is None else Plan(seed, dict(rates), only)
    chosen = knobs or Knobs(calls_per_second=calls_per_second)
    key = api_key if api_key is not None else os.environ.get("STRIPE_API_KEY")
    running = listening(host, port, Path(state_dir), api_key=key, knobs=chosen, plan=plan, receiver=receiver)
    asyncio.run(_run(running, ready))


async def _run(running: AbstractAsyncContextManager[str], ready: Callable[[str], None] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running as url:
        if ready is not None:
            ready(url)
        await stop.wait()
