"""Loops that were told to end do end, also when what they wait for comes in the same turn of the event loop."""

from __future__ import annotations

import ast
import asyncio
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.delivery_thread import BatchConsumerThread, Polled
from streams.driver import Meter, MeterOptions

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("topics", "streams", "sinks", "infra")
TURNS = 50
"""More turns of the loop than any of these tasks needs to end."""


async def turns(count: int) -> None:
    """Let everything that can go on go on, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def idle_meter() -> Meter:
    """A meter without partitions: its turns do nothing, its pauses are long."""
    unused: Any = None
    options = MeterOptions(partitions=1, turn_ms=3_600_000)
    return Meter(flow=unused, changelog=unused, outbox=unused, log_reader=unused, options=options, now_ms=lambda: 0, random_bytes=bytes)


@pytest.mark.parametrize("between", range(5))
async def test_a_meter_that_is_woken_and_cancelled_at_once_ends(between: int) -> None:
    """However many turns lie between the wake and the cancellation, the meter's loop is over after it."""
    meter = idle_meter()
    running = asyncio.ensure_future(meter.run())
    await turns(TURNS)
    meter._wake.set()
    await turns(between)
    running.cancel()
    await turns(TURNS)
    ended = running.done()
    running.cancel()
    await asyncio.wait({running})
    assert ended


class Thread(BatchConsumerThread):
    """The consumer thread's poll over nothing but a fetch that the test answers."""

    def __init__(self) -> None:
        self.waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _ensure_consumer(self) -> Any:
        fetcher = SimpleNamespace(_create_fetch_waiter=lambda: self.waiter, _closed=False, error_future=asyncio.Future())
        coordinator = SimpleNamespace(check_errors=lambda: None)
        subscription = SimpleNamespace(fetch_context=nullcontext)
        return SimpleNamespace(_closed=False, _fetcher=fetcher, _coordinator=coordinator, _subscription=subscription)

    async def _take(self, *_: Any) -> Polled:
        return Polled()


@pytest.mark.parametrize("between", range(5))
async def test_a_poll_that_is_answered_and_cancelled_at_once_ends(between: int) -> None:
    """A loop that polls for ever is over after its cancellation, however many turns before it the fetch came."""

    async def forever() -> None:
        while True:
            await thread._poll({}, {}, 3600.0)
            thread.waiter = asyncio.get_running_loop().create_future()

    thread = Thread()
    running = asyncio.ensure_future(forever())
    await turns(TURNS)
    thread.waiter.set_result(None)
    await turns(between)
    running.cancel()
    await turns(TURNS)
    ended = running.done()
    running.cancel()
    await asyncio.wait({running})
    assert ended


def test_nobody_waits_with_wait_for() -> None:
    """No file of the product calls `asyncio.wait_for`, which before Python 3.12 swallows a cancellation that comes with the answer."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "wait_for" and isinstance(node.value, ast.Name) and node.value.id == "asyncio"
    ]
    assert not found
