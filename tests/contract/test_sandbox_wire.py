"""The sandbox over HTTP: faults on the wire, the control URLs, what a restart keeps."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.sandbox.knobs import Knobs
from infra.sandbox.serve import checked_key, listening
from infra.sandbox.store import Store
from infra.sandbox.testing import LEGACY_VERSION, Sandbox, sandbox_server
from topics.errors import TidemarkError, UnknownVersion, Unreachable, UsageError


class Caller:
    """A client that says what the wire did: a status with JSON, or the name of the break."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self._sandbox = sandbox
        self._session = session

    async def use(self, item: str, key: str, timeout_s: float = 10, **params: object) -> tuple[int | str, Any]:
        """POSTs a usage record."""
        headers = {"Authorization": f"Bearer {self._sandbox.key}", "Stripe-Version": LEGACY_VERSION, "Idempotency-Key": key}
        url = f"{self._sandbox.url}/v1/subscription_items/{item}/usage_records"
        data = {name: str(value) for name, value in params.items()}
        try:
            async with self._session.post(url, data=data, headers=headers, timeout=aiohttp.ClientTimeout(timeout_s)) as response:
                return response.status, json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__, None


async def _faults(sandbox: Sandbox, **rates: float) -> None:
    await sandbox.control("faults", {"seed": 1, "rates": rates, "only": "usage_records"})


@pytest.mark.parametrize("fault", ["lost", "cut"])
async def test_a_lost_answer_has_its_effect(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    """The connection breaks, the effect stands, the same key replays it: the cell is counted once, and nothing is logged as a failure."""
    async with sandbox_server(tmp_path) as sandbox, aiohttp.ClientSession() as session:
        caller = Caller(sandbox, session)
        _, _, item = await sandbox.metered_item()
        at = int((await sandbox.control("clock"))["now"]) - 60
        await _faults(sandbox, **{fault: 1.0})
        status, _ = await caller.use(item, "k", quantity=5, timestamp=at)
        assert status in {"ServerDisconnectedError", "ClientOSError", "ClientPayloadError", "ClientConnectionResetError"}
        assert await sandbox.cells(item) == {at: 5}
        await _faults(sandbox)
        status, body = await caller.use(item, "k", quantity=5, timestamp=at)
        assert (status, body["quantity"]) == (200, 5)
        assert await sandbox.cells(item) == {at: 5}
        calls = await sandbox.control("calls")
        assert (calls["faults"], calls["replayed"], calls["idempotency_errors"]) == ({fault: 1}, 1, 0)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_held_request_executes_late(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The connection breaks before the effect, the key is 409 for a while, then the effect comes although nobody listens."""
    async with sandbox_server(tmp_path, hold_ms=300) as sandbox, aiohttp.ClientSession() as session:
        caller = Caller(sandbox, session)
        _, _, item = await sandbox.metered_item()
        at = int((await sandbox.control("clock"))["now"]) - 60
        await _faults(sandbox, hold=1.0)
        broken, _ = await caller.use(item, "k", quantity=5, timestamp=at)
        assert isinstance(broken, str)
        assert await sandbox.cells(item) == {}
        await _faults(sandbox)
        held, body = await caller.use(item, "k", quantity=5, timestamp=at)
        assert (held, body["error"]["code"]) == (409, "idempotency_key_in_use")
        status: int | str = 409
        while status == 409:
            await asyncio.sleep(0.02)
            status, body = await caller.use(item, "k", quantity=5, timestamp=at)
        assert (status, body["quantity"]) == (200, 5)
        assert await sandbox.cells(item) == {at: 5}
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_delayed_request_outlives_its_caller(tmp_path: Path) -> None:
    """A caller that gives up before a slow answer finds the effect done and its key replaying."""
    async with sandbox_server(tmp_path, delay_ms=300) as sandbox, aiohttp.ClientSession() as session:
        caller = Caller(sandbox, session)
        _, _, item = await sandbox.metered_item()
        at = int((await sandbox.control("clock"))["now"]) - 60
        await _faults(sandbox, delay=1.0)
        gave_up, _ = await caller.use(item, "k", timeout_s=0.05, quantity=5, timestamp=at)
        assert isinstance(gave_up, str)
        await _faults(sandbox)
        status: int | str = 409
        while status == 409:
            status, _ = await caller.use(item, "k", quantity=5, timestamp=at)
            await asyncio.sleep(0.02)
        assert status == 200
        assert await sandbox.cells(item) == {at: 5}


async def _until_definite(caller: Caller, item: str, cell: int, quantity: int, at: int, seen: Counter[str]) -> None:
    """What a right sender does: same key and body until a definite answer, a new attempt only after a replayed failure."""
    attempt = 0
    for _ in range(200):
        status, body = await caller.use(item, f"k-{cell}-{quantity}-{attempt}", quantity=quantity, timestamp=at + cell, action="set")
        seen[str(status)] += 1
        if status == 200:
            return
        if status == 500 and body is not None:
            attempt += 1
        await asyncio.sleep(0.002)
    raise AssertionError(f"no definite answer for cell {cell}")


async def test_under_all_faults_a_right_sender_is_exact(tmp_path: Path) -> None:
    """With every fault at 6 % a sender that follows the rules ends with exactly its quantities and no idempotency_error."""
    rates = dict.fromkeys(("429", "503", "409", "500", "500_effect", "delay", "hold", "lost", "cut"), 0.06)
    async with sandbox_server(tmp_path, hold_ms=20, delay_ms=10) as sandbox, aiohttp.ClientSession() as session:
        caller, seen = Caller(sandbox, session), Counter[str]()
        _, _, item = await sandbox.metered_item()
        at = int((await sandbox.control("clock"))["now"]) - 3600
        await _faults(sandbox, **rates)

        async def revisions(cell: int) -> None:
            for quantity in (cell + 1, cell + 100):
                await _until_definite(caller, item, cell, quantity, at, seen)

        await asyncio.gather(*(revisions(cell) for cell in range(60)))
        assert await sandbox.cells(item) == {at + cell: cell + 100 for cell in range(60)}
        calls = await sandbox.control("calls")
        assert set(calls["faults"]) == set(rates)
        assert calls["idempotency_errors"] == 0
        assert {"429", "503", "409", "500"} <= set(seen)


async def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    """Cells, keys, objects, clock, faults and counters are the same after a restart on the same directory."""
    async with sandbox_server(tmp_path) as sandbox, aiohttp.ClientSession() as session:
        _, subscription, item = await sandbox.metered_item()
        await sandbox.control("clock", {"advance_s": 5000})
        at = int((await sandbox.control("clock"))["now"]) - 60
        assert (await Caller(sandbox, session).use(item, "k", quantity=5, timestamp=at))[0] == 200
        await Caller(sandbox, session).use(item, "k", quantity=6, timestamp=at)
        await _faults(sandbox, lost=0.25)
        before = await sandbox.control("calls")
    async with sandbox_server(tmp_path) as sandbox, aiohttp.ClientSession() as session:
        assert await sandbox.control("calls") == before
        assert before["idempotency_errors"] == 1
        assert await sandbox.control("faults") == {"seed": 1, "rates": {"lost": 0.25}, "only": "usage_records"}
        assert 4990 < (await sandbox.control("clock"))["offset_s"] < 5010
        assert await sandbox.cells(item) == {at: 5}
        await sandbox.control("faults", {})
        assert (await Caller(sandbox, session).use(item, "k", quantity=5, timestamp=at))[1]["quantity"] == 5
        assert (await sandbox.call("GET", f"/v1/subscriptions/{subscription}"))["id"] == subscription
        assert (await sandbox.control("calls"))["replayed"] == before["replayed"] + 1


async def test_the_clock_is_set_and_advanced(tmp_path: Path) -> None:
    """The clock takes an instant or a step, runs on from there, and moves the periods."""
    async with sandbox_server(tmp_path) as sandbox:
        assert (await sandbox.control("clock"))["offset_s"] == 0
        assert 0 <= (await sandbox.control("clock", {"now": 1_700_000_000}))["now"] - 1_700_000_000 < 5
        _, subscription, _ = await sandbox.metered_item(backdated_s=0)
        first = await sandbox.call("GET", f"/v1/subscriptions/{subscription}")
        assert 1_700_000_000 <= first["current_period_start"] < 1_700_000_010
        await sandbox.control("clock", {"advance_s": 31 * 86_400})
        second = await sandbox.call("GET", f"/v1/subscriptions/{subscription}")
        assert second["current_period_start"] == first["current_period_end"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {}),
        ("clock", {"now": 1, "advance_s": 1}),
        ("clock", {"now": -1}),
        ("clock", {"now": 1e12}),
        ("clock", {"advance_s": 3.2e10}),
        ("clock", {"noon": 1}),
        ("faults", {"rates": {"explode": 1}}),
        ("faults", {"rates": {"lost": 2}}),
        ("faults", {"rate": {}}),
    ],
)
async def test_wrong_control_bodies_are_refused(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    """A control body that makes no sense is a 400 and changes nothing."""
    async with sandbox_server(tmp_path) as sandbox:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await sandbox.control(path, body)
        assert caught.value.status == 400
        assert (await sandbox.control("clock"))["offset_s"] == 0
        assert (await sandbox.control("faults"))["rates"] == {}


async def test_control_needs_the_key_and_health_does_not(tmp_path: Path) -> None:
    """The control URLs are closed without the key, unknown ones are named, and /healthz is open."""
    async with sandbox_server(tmp_path) as sandbox, aiohttp.ClientSession() as session:
        for method, path in (("GET", "cells"), ("POST", "clock"), ("POST", "faults"), ("GET", "calls"), ("GET", "nothing")):
            async with session.request(method, f"{sandbox.url}/_sandbox/{path}", json={}) as response:
                assert response.status == 401
        async with session.get(f"{sandbox.url}/_sandbox/nothing", headers={"Authorization": f"Bearer {sandbox.key}"}) as response:
            assert response.status == 404
            assert "GET /_sandbox/cells" in (await response.json())["error"]["message"]
        async with session.get(f"{sandbox.url}/healthz") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        assert {rule["id"] for rule in (await sandbox.control("rules"))["rules"]} >= {"usage.grace", "idempotency.prune"}


async def test_the_rate_limit_holds_on_the_wire(tmp_path: Path) -> None:
    """A burst above the account's rate gets 429 with its reason, and what was let through stands."""
    async with sandbox_server(tmp_path, calls_per_second=20) as sandbox, aiohttp.ClientSession() as session:
        _, _, item = await sandbox.metered_item()
        at = int((await sandbox.control("clock"))["now"]) - 600
        caller = Caller(sandbox, session)
        statuses = Counter(
            status for status, _ in await asyncio.gather(*(caller.use(item, f"k{n}", quantity=1, timestamp=at + n) for n in range(60)))
        )
        assert set(statuses) == {200, 429}
        assert len(await sandbox.cells(item)) == statuses[200]


async def test_a_directory_has_one_sandbox(tmp_path: Path) -> None:
    """A second sandbox on the same directory is refused in a sentence instead of sharing a database."""
    async with sandbox_server(tmp_path):
        with pytest.raises(UsageError, match="in use by another sandbox"):
            Store(tmp_path)


async def test_a_state_from_the_future_is_refused(tmp_path: Path) -> None:
    """A database that a newer program wrote is left alone."""
    store = Store(tmp_path)
    store._db.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(UnknownVersion):
        Store(tmp_path)


@pytest.mark.parametrize(("host", "error"), [("192.0.2.1", UsageError), ("::", UsageError), ("example.com", UsageError)])
async def test_only_loopback_unless_asked(tmp_path: Path, host: str, error: type[TidemarkError]) -> None:
    """The sandbox listens on loopback, and elsewhere only where a container asks for every interface by name."""
    with pytest.raises(error):
        async with listening(host, 0, tmp_path):
            raise AssertionError("it listens")


async def test_an_occupied_port_is_said(tmp_path: Path) -> None:
    """A port that is taken is one clear sentence."""
    async with sandbox_server(tmp_path / "a") as sandbox:
        port = int(sandbox.url.rsplit(":", 1)[1])
        with pytest.raises(Unreachable, match=f"cannot listen on 127.0.0.1:{port}"):
            async with listening("127.0.0.1", port, tmp_path / "b", knobs=Knobs()):
                raise AssertionError("it listens")


def test_a_live_key_is_refused() -> None:
    """A sandbox does not start with a live key, and does not repeat it."""
    with pytest.raises(UsageError) as caught:
        checked_key("sk_live_secret")
    assert "secret" not in str(caught.value)
    assert (checked_key("sk_test_a"), checked_key(None), checked_key("")) == ("sk_test_a", None, None)
