"""Stripe's official client, as we use it, against the sandbox: each answer arrives as the outcome that the table names."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path

import pytest

from sinks.outcomes import AlreadyDelivered, Conflict, Delivered, PeriodClosed, Refused, RetryAfter, Wanted, outcome_of
from sinks.stripe.client import StripeAccess
from sinks.stripe.request import body_parameters, usage_record_body, usage_record_path
from tests.contract.stripe_bench import bench
from topics.errors import Unreachable, UsageError


async def test_the_same_request_lands_once(tmp_path: Path) -> None:
    """A record is delivered, its repetition is known as such, another body under its key is a conflict, and the cell keeps the first (C1, C9)."""
    async with bench(tmp_path) as stripe:
        assert isinstance(await stripe.report(5, "k1"), Delivered)
        assert isinstance(await stripe.report(5, "k1"), AlreadyDelivered)
        assert isinstance(await stripe.report(6, "k1"), Conflict)
        assert list((await stripe.sandbox.cells(stripe.item)).values()) == [5]
        assert isinstance(await stripe.report(6, "k2"), Delivered)
        assert list((await stripe.sandbox.cells(stripe.item)).values()) == [6]


async def test_refusals_are_told_apart(tmp_path: Path) -> None:
    """An unknown item is refused by name and an old second closes the period; neither is tried again (C11)."""
    async with bench(tmp_path) as stripe:
        unknown = await stripe.report(5, "k1", item="si_none")
        assert isinstance(unknown, Refused) and unknown.reason == "no_such_item"
        assert isinstance(await stripe.report(5, "k2", second=-40 * 86_400), PeriodClosed)
        early = await stripe.report(5, "k3", second=86_400)
        assert isinstance(early, RetryAfter) and early.reason == "timestamp_in_future"


@pytest.mark.parametrize(
    ("fault", "reason"), [("429", None), ("503", "server_error"), ("500", "server_error"), ("lost", "no_answer"), ("cut", "no_answer")]
)
async def test_what_is_no_answer_is_asked_again(tmp_path: Path, fault: str, reason: str | None) -> None:
    """A limit, a failure, a lost reply and a cut body ask for the same key again, never for another one (C1, C4 to C6)."""
    async with bench(tmp_path) as stripe:
        await stripe.sandbox.control("faults", {"seed": 1, "rates": {fault: 1.0}, "only": "usage_records"})
        outcome = await stripe.report(5, "k1")
        assert isinstance(outcome, RetryAfter) and not outcome.spent
        assert reason is None or outcome.reason == reason


async def test_a_saved_failure_is_seen_on_its_replay(tmp_path: Path) -> None:
    """The second answer under a key with a saved 500 spends the key, and the next key delivers (C5)."""
    async with bench(tmp_path) as stripe:
        await stripe.sandbox.control("faults", {"seed": 1, "rates": {"500": 1.0}, "only": "usage_records"})
        await stripe.report(5, "k1")
        await stripe.sandbox.control("faults", {"seed": 1, "rates": {}})
        again = await stripe.report(5, "k1")
        assert isinstance(again, RetryAfter) and again.spent
        assert isinstance(await stripe.report(5, "k2"), Delivered)


async def test_the_last_look_at_the_clock_keeps_a_request_at_home(tmp_path: Path) -> None:
    """A request whose time is over when the connection stands is not sent, and the connection serves the next one."""
    async with bench(tmp_path) as stripe:
        late = await stripe.answer(5, "k1", may_send=lambda: False)
        assert late.late and not late.sent
        assert await stripe.sandbox.cells(stripe.item) == {}
        assert isinstance(await stripe.report(5, "k1"), Delivered)


async def test_periods_are_read_back(tmp_path: Path) -> None:
    """The total of an item's period, as Stripe sums it, is what its cells add up to."""
    async with bench(tmp_path) as stripe:
        await stripe.report(5, "k1", second=-100)
        await stripe.report(7, "k2", second=-200)
        found = await stripe.call(stripe.access.summaries, stripe.item, stripe.now_s - 100)
        assert isinstance(found, list) and found[0].total == 12
        assert await stripe.call(stripe.access.summaries, "si_none", 0) == []


async def test_a_server_that_restarted_is_called_again(tmp_path: Path) -> None:
    """A connection that the other side has closed meanwhile is not used again, so no answer is lost by it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)
    access = StripeAccess(f"http://127.0.0.1:{listener.getsockname()[1]}", "sk_test_1", timeout_s=3)
    body = usage_record_body(5, 100)
    reply = b'{"object":"usage_record","subscription_item":"si_1","timestamp":100,"quantity":5}'

    closed = threading.Event()

    def serve_twice() -> list[str]:
        seen = []
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                data = b""
                while not data.endswith(body.encode()):
                    data += connection.recv(65536)
                seen.append(data.decode())
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(reply), reply))
            closed.set()
        return seen

    serving = asyncio.ensure_future(asyncio.to_thread(serve_twice))
    for key in ("k1", "k2"):
        answer = await asyncio.to_thread(access.report, usage_record_path("si_1"), body, key, lambda: True)
        assert isinstance(outcome_of(answer, Wanted("si_1", 100, 5)), Delivered)
        assert await asyncio.to_thread(closed.wait, 5)
    first, _ = await serving
    listener.close()
    access.close()
    assert first.startswith("POST /v1/subscription_items/si_1/usage_records HTTP/1.1\r\n")
    assert "\r\nStripe-Version: 2025-02-24.acacia\r\n" in first
    assert "\r\nIdempotency-Key: k1\r\n" in first
    assert "X-Stripe-Client-Telemetry" not in first


def test_the_client_writes_the_stored_bytes() -> None:
    """The parameters given to the client are those of the stored body, in its order, so that the same bytes leave again (H24)."""
    body = usage_record_body(2**63 - 1, 1_700_000_000)
    assert "&".join(f"{name}={value}" for name, value in body_parameters(body).items()) == body
    assert body == "quantity=9223372036854775807&timestamp=1700000000&action=set"


def test_a_live_key_is_refused() -> None:
    """A key of real invoices is not used unless that is allowed on purpose, and no key at all is said in one sentence."""
    for key in ("sk_live_1", "rk_live_1"):
        with pytest.raises(UsageError, match="live key"):
            StripeAccess("http://127.0.0.1:9", key)
        StripeAccess("http://127.0.0.1:9", key, live=True).close()
    with pytest.raises(UsageError, match="STRIPE_API_KEY"):
        StripeAccess("http://127.0.0.1:9", "")


async def test_the_key_stays_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error, nor a log line at any level, nor a repr shows the key."""
    caplog.set_level(logging.DEBUG)
    async with bench(tmp_path) as stripe:
        secret = "sk_test_" + "5e" * 12
        other = StripeAccess(stripe.sandbox.url, secret)
        answer = await stripe.call(other.report, usage_record_path(stripe.item), usage_record_body(5, 100), "k1", lambda: True)
        assert answer.status == 401
        shown = [repr(answer), repr(other), repr(vars(other)["_connections"]), caplog.text]
        with pytest.raises(Exception, match="401") as refusal:
            await stripe.call(other.get, "/v1/customers")
        other.close()
        gone = StripeAccess("http://127.0.0.1:9", secret)
        with pytest.raises(Unreachable) as unreachable:
            gone.get("/v1/customers")
        assert not any(secret in text for text in [*shown, str(refusal.value), str(unreachable.value)])
