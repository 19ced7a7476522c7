"""`tidemark serve reconcile`: reconciles every so often, until SIGTERM, and shows what came of it."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from infra.clock import now_ms, steady_s
from infra.http import WorkerHttp
from infra.reconciling.found import Found
from infra.reconciling.keeper import Keeper
from infra.reconciling.looking_back import LookingBack
from topics.errors import TidemarkError

if TYPE_CHECKING:
    from infra.settings import Settings

log = logging.getLogger(__name__)

FIRST_MS: Final = 120_000
"""When the first run begins: a stack that starts has better things to do, and nothing is due at once."""


async def serve(settings: Settings, listen: str, ready: Callable[[str], None], first_ms: int = FIRST_MS) -> None:
    """Runs until SIGTERM or SIGINT. `ready` is told the URL once the socket listens. Raises UsageError for an address that is taken."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    back = LookingBack(settings.reconcile.back_ms // 1000, settings.reconcile.whole_ms // 1000)
    keeper = Keeper(settings.reconcile.every_ms, steady_s, settings.worker.name or "reconcile", back)
    server = WorkerHttp(keeper, listen)
    ready(await server.start())
    try:
        await _keep(keeper, settings, stop, min(first_ms, settings.reconcile.every_ms))
    finally:
        await server.stop()


async def _keep(keeper: Keeper, settings: Settings, stop: asyncio.Event, first_ms: int) -> None:
    """One run after the other; the next begins `every` after the last began, or at once where that took longer."""
    wait_s = first_ms / 1000
    while not await _stopped(stop, wait_s):
        began_s = steady_s()
        from_s = keeper.back.from_s(now_ms() // 1000, began_s)
        run = asyncio.create_task(_in_thread(partial(_once, settings, from_s)))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({run, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not run.done():
            return  # it only reads: nothing is lost
        try:
            keeper.took(run.result(), steady_s() - began_s, from_s)
        except TidemarkError as error:
            keeper.failed(str(error))
        wait_s = max(1.0, keeper.every_ms / 1000 - (steady_s() - began_s))


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    # Not by `asyncio.wait_for`: before Python 3.12 it swallows a cancellation that comes together with the event.
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True


async def _in_thread(work: Callable[[], Found]) -> Found:
    """In a thread that does not keep the process: a run that waits for a server must not hold up its end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Found] = loop.create_future()

    def tell(result: Found | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        elif result is not None:
            done.set_result(result)

    def call() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - whatever it is belongs to who waits for it
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=call, name="reconcile", daemon=True).start()
    return await done


def _once(settings: Settings, from_s: int) -> Found:
    """A run over the periods from an instant on."""
    from infra.reconciling.run import opened, reconcile
    from infra.reconciling.sources import Order

    with opened(settings) as sources:
        return reconcile(sources, Order(from_s=from_s))
