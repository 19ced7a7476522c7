"""A sandbox that is killed in mid-load loses nothing that it answered, and counts nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from infra.sandbox.testing import LEGACY_VERSION, Sandbox
from tests.contract.webhook_listener import listener

KEY = "sk_test_killed"
ROOT = Path(__file__).resolve().parents[2]
CELLS = 40


@asynccontextmanager
async def _process(directory: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Sandbox]]:
    """The sandbox as a real process; killed at the end if it still runs."""
    command = [sys.executable, "-m", "infra.sandbox", "--port", "0", "--state", str(directory), "--calls-per-second", "1000000", *arguments]
    environment = {**os.environ, "STRIPE_API_KEY": KEY}
    process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        yield process, Sandbox(line.split()[-1], KEY)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Load:
    """Increments on a few cells, each under its own key, until the sandbox dies; remembers what was answered and what is open."""

    def __init__(self, item: str, at: int) -> None:
        self.item = item
        self.at = at
        self.answered: dict[str, tuple[int, int]] = {}
        self.open: dict[str, tuple[int, int]] = {}
        self.number = 0

    async def send(self, session: aiohttp.ClientSession, url: str, key: str, second: int, quantity: int) -> bool:
        """One call; False when the connection broke."""
        headers = {"Authorization": f"Bearer {KEY}", "Stripe-Version": LEGACY_VERSION, "Idempotency-Key": key}
        data = {"quantity": str(quantity), "timestamp": str(second), "action": "increment"}
        self.open[key] = (second, quantity)
        try:
            async with session.post(f"{url}/v1/subscription_items/{self.item}/usage_records", data=data, headers=headers) as response:
                await response.read()
                assert response.status == 200
        except aiohttp.ClientError:
            return False
        self.answered[key] = self.open.pop(key)
        return True

    async def run(self, session: aiohttp.ClientSession, url: str, rng: random.Random) -> None:
        """Calls until the connection breaks."""
        alive = True
        while alive:
            self.number += 1
            alive = await self.send(session, url, f"k{self.number}", self.at + rng.randrange(CELLS), rng.randrange(1, 1000))


async def test_kill_in_mid_load(tmp_path: Path) -> None:
    """Killed five times with SIGKILL under concurrent increments: every answered call stands, every open one is settled by its key once."""
    rng = random.Random(20261121)
    load: Load | None = None
    for _ in range(5):
        async with _process(tmp_path) as (process, sandbox), aiohttp.ClientSession() as session:
            if load is None:
                _, _, item = await sandbox.metered_item()
                load = Load(item, int((await sandbox.control("clock"))["now"]) - 3600)
            else:
                await _settle(load, sandbox, session)
            workers = [asyncio.create_task(load.run(session, sandbox.url, random.Random(rng.random()))) for _ in range(8)]
            target = len(load.answered) + rng.randrange(50, 300)
            while len(load.answered) < target:
                await asyncio.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            await asyncio.gather(*workers)
    assert load is not None
    async with _process(tmp_path) as (_, sandbox), aiohttp.ClientSession() as session:
        await _settle(load, sandbox, session)
        assert (await sandbox.control("calls"))["idempotency_errors"] == 0
        page = await sandbox.call("GET", f"/v1/subscription_items/{load.item}/usage_record_summaries")
        assert page["data"][0]["total_usage"] == sum(quantity for _, quantity in load.answered.values())


async def _settle(load: Load, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
    """Sends every open call again under its key; afterwards the cells are exactly the sum of all calls."""
    for key, (second, quantity) in list(load.open.items()):
        assert await load.send(session, sandbox.url, key, second, quantity)
    expected: dict[int, int] = {}
    for second, quantity in load.answered.values():
        expected[second] = expected.get(second, 0) + quantity
    assert await sandbox.cells(load.item) == expected


async def test_the_process_stops_in_order_and_keeps_its_state(tmp_path: Path) -> None:
    """SIGTERM ends the process with exit code 0, and the next one continues with its cells and its faults."""
    async with _process(tmp_path, "--seed", "3", "--fault", "429=1", "--only", "prices") as (process, sandbox):
        assert (await sandbox.control("faults")) == {"seed": 3, "rates": {"429": 1.0}, "only": "prices"}
        await sandbox.control("clock", {"advance_s": 1000})
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    async with _process(tmp_path) as (_, sandbox):
        assert (await sandbox.control("faults"))["rates"] == {"429": 1.0}
        assert (await sandbox.control("clock"))["offset_s"] > 990


async def test_wrong_use_is_one_sentence(tmp_path: Path) -> None:
    """An impossible host, fault or key ends with exit code 2 and a sentence on standard error, without a traceback."""
    for arguments, environment in (
        (["--host", "192.0.2.1"], {}),
        (["--fault", "explode=1"], {}),
        (["--fault", "lost"], {}),
        ([], {"STRIPE_API_KEY": "sk_live_1"}),
    ):
        command = [sys.executable, "-m", "infra.sandbox", "--port", "0", "--state", str(tmp_path), *arguments]
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, told = await asyncio.wait_for(process.communicate(), 60)
        assert (process.returncode, told.count(b"\n")) == (2, 1), told
        assert b"sk_live_1" not in told


async def test_an_idempotency_error_is_counted_even_if_killed_at_once(tmp_path: Path) -> None:
    """The one count that every run is judged by is on disk before its answer leaves."""
    async with _process(tmp_path) as (process, sandbox):
        await sandbox.call("POST", "/v1/customers", data={"name": "a"}, headers={"Idempotency-Key": "k"})
        with pytest.raises(aiohttp.ClientResponseError, match="400"):
            await sandbox.call("POST", "/v1/customers", data={"name": "b"}, headers={"Idempotency-Key": "k"})
        process.kill()
    async with _process(tmp_path) as (_, sandbox):
        assert (await sandbox.control("calls"))["idempotency_errors"] == 1


async def test_a_killed_sandbox_still_sends_its_webhooks(tmp_path: Path) -> None:
    """Killed with SIGKILL while a receiver thinks and after calls that it answered: the next process posts an event for each of them."""
    async with listener() as heard:
        heard.silent = True
        async with _process(tmp_path) as (process, sandbox):
            await sandbox.call("POST", "/v1/webhook_endpoints", data={"url": heard.url, "enabled_events[]": "billing.meter.created"})
            made = set()
            for name in ("early", "late"):
                data = {"display_name": name, "event_name": name, "default_aggregation[formula]": "sum"}
                made.add((await sandbox.call("POST", "/v1/billing/meters", data=data))["id"])
                await heard.heard(1)
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
        before = len(heard.posts)
        heard.silent = False
        async with _process(tmp_path):
            posts = (await heard.heard(before + 2))[before:]
    assert {json.loads(body)["data"]["object"]["id"] for body, _ in posts} == made
