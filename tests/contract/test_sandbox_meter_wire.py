"""Meter events over HTTP: what a caller meets while an earlier call for the same customer and meter still executes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.sandbox.testing import Sandbox, sandbox_server


async def _send(sandbox: Sandbox, customer: str, key: str, **params: str) -> tuple[int | str, Any]:
    """A meter event as a fresh caller sends it: status and body, or the name of the break."""
    headers = {"Authorization": f"Bearer {sandbox.key}", "Idempotency-Key": key}
    data = {"event_name": "calls", "payload[stripe_customer_id]": customer, "payload[value]": "5", **params}
    url = f"{sandbox.url}/v1/billing/meter_events"
    try:
        async with aiohttp.ClientSession() as session, session.post(url, data=data, headers=headers) as response:
            return response.status, await response.json()
    except aiohttp.ClientError as error:
        return type(error).__name__, None


async def _faults(sandbox: Sandbox, **rates: float) -> None:
    await sandbox.control("faults", {"seed": 1, "rates": rates, "only": "meter_events"})


async def _prepared(sandbox: Sandbox) -> tuple[str, str]:
    """(customer, meter)."""
    meter = {"display_name": "calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
    made = await sandbox.call("POST", "/v1/billing/meters", data=meter)
    return (await sandbox.call("POST", "/v1/customers", data={}))["id"], made["id"]


async def _total(sandbox: Sandbox, customer: str, meter: str, at: int) -> Any:
    query = {"customer": customer, "start_time": at, "end_time": at + 60}
    page = await sandbox.call("GET", f"/v1/billing/meters/{meter}/event_summaries", params=query)
    return page["data"][0]["aggregated_value"]


@pytest.mark.parametrize("fault", ["hold", "delay"])
async def test_a_slow_call_holds_its_customer_and_meter(tmp_path: Path, fault: str) -> None:
    """While the first call waits for its effect another for the same customer is 429 and another customer's goes on; then all count once."""
    async with sandbox_server(tmp_path, hold_ms=400, delay_ms=400) as sandbox:
        customer, meter = await _prepared(sandbox)
        other = (await sandbox.call("POST", "/v1/customers", data={}))["id"]
        at = int((await sandbox.control("clock"))["now"]) // 60 * 60 - 60
        stamp = {"timestamp": str(at)}
        await _faults(sandbox, **{fault: 1.0})
        # Of two copies one executes and waits; the answer to the other (409), or the break of the first, says that it does.
        copies = [asyncio.create_task(_send(sandbox, customer, "a", **stamp)) for _ in range(2)]
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        await _faults(sandbox)
        status, body = await _send(sandbox, customer, "b", **stamp)
        assert (status, body["error"]["code"]) == (429, "lock_timeout")
        assert (await _send(sandbox, other, "c", **stamp))[0] == 200
        await asyncio.wait(copies)
        while (await _send(sandbox, customer, "b", **stamp))[0] == 429:
            await asyncio.sleep(0.02)
        assert (await _send(sandbox, customer, "a", **stamp))[0] == 200
        assert await _total(sandbox, customer, meter, at) == 10


@pytest.mark.parametrize("fault", ["lost", "cut"])
async def test_a_lost_answer_counts_once(tmp_path: Path, fault: str) -> None:
    """The event counts although nobody heard the 200; the same key replays it, another key with its identifier is told that it exists."""
    async with sandbox_server(tmp_path) as sandbox:
        customer, meter = await _prepared(sandbox)
        at = int((await sandbox.control("clock"))["now"]) // 60 * 60 - 60
        params = {"identifier": "w:1", "timestamp": str(at)}
        await _faults(sandbox, **{fault: 1.0})
        broken, _ = await _send(sandbox, customer, "a", **params)
        assert isinstance(broken, str)
        await _faults(sandbox)
        assert (await _send(sandbox, customer, "a", **params))[0] == 200
        status, body = await _send(sandbox, customer, "b", **params)
        assert (status, body["error"]["message"]) == (400, "An event already exists with identifier w:1.")
        assert await _total(sandbox, customer, meter, at) == 5
