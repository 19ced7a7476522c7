"""Meter events through Stripe's official client against the sandbox: exact bytes, each answer as its outcome, exact reading back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
import stripe

from infra.sandbox.testing import Sandbox, sandbox_server
from sinks.outcomes import AlreadyDelivered, Answer, Conflict, Delivered, Outcome, PeriodClosed, Refused, RetryAfter, WantedEvent, outcome_of
from sinks.stripe.client import StripeAccess
from sinks.stripe.request import METER_EVENTS_PATH, meter_event_body
from topics.quantity import ONE
from topics.receipt import MeterTarget


@dataclass
class MeterBench:
    """A sandbox, a client, a meter that adds up and one of a UTC hour, a customer."""

    sandbox: Sandbox
    access: StripeAccess
    customer: str
    hour_s: int

    async def report(self, value: str, key: str, identifier: str, *, event: str = "sums", customer: str = "", second: int = 0) -> Outcome:
        """Post a meter event `second` seconds from the hour's start."""
        target = MeterTarget(aggregation="sum", event_name=event, customer=customer or self.customer)
        body = meter_event_body(target, value, identifier, self.hour_s + second)
        wanted = WantedEvent(event, identifier, self.hour_s + second, {"value": value, "stripe_customer_id": target.customer})
        return outcome_of(await asyncio.to_thread(self.access.report, METER_EVENTS_PATH, body, key, lambda: True), wanted)

    async def read(self, event: str = "sums", grouping: str = "hour", hours: int = 1) -> Any:
        """The customer's usage from the hour on."""
        end_s = self.hour_s + hours * 3600
        return await asyncio.to_thread(self.access.event_summaries, event, self.customer, grouping, self.hour_s, end_s)


@asynccontextmanager
async def bench(directory: Path, **knobs: Any) -> AsyncIterator[MeterBench]:
    """A bench on a fresh sandbox; the hour is the one before the last."""
    async with sandbox_server(directory / "sandbox", **knobs) as sandbox:
        for name, window in (("sums", None), ("hours", "hour")):
            meter = {"display_name": name, "event_name": name, "default_aggregation[formula]": "sum"}
            await sandbox.call("POST", "/v1/billing/meters", data=meter | ({} if window is None else {"event_time_window": window}))
        customer = (await sandbox.call("POST", "/v1/customers", data={}))["id"]
        access = StripeAccess(sandbox.url, sandbox.key, timeout_s=3.0)
        try:
            yield MeterBench(sandbox, access, customer, int((await sandbox.control("clock"))["now"]) // 3600 * 3600 - 7200)
        finally:
            access.close()


async def test_events_add_up_or_replace(tmp_path: Path) -> None:
    """Signed deltas add up and totals of an hour replace each other, and both are read back to the last digit."""
    async with bench(tmp_path) as stripe:
        assert isinstance(await stripe.report("7.1", "k1", "i1"), Delivered)
        assert isinstance(await stripe.report("-0.000000000001", "k2", "i2", second=60), Delivered)
        assert [row.total for row in await stripe.read()] == [7 * ONE + ONE // 10 - 1]
        for number, value in enumerate(("5", "9", "8")):
            assert isinstance(await stripe.report(value, f"h{number}", f"h{number}", event="hours"), Delivered)
        assert [row.total for row in await stripe.read("hours")] == [8 * ONE]


async def test_the_same_event_lands_once(tmp_path: Path) -> None:
    """An event is known again by its key, and by its identifier under another key; other bytes under its key are a conflict (H24)."""
    async with bench(tmp_path) as stripe:
        assert isinstance(await stripe.report("7", "k1", "i1"), Delivered)
        assert isinstance(await stripe.report("7", "k1", "i1"), AlreadyDelivered)
        again = await stripe.report("7", "k2", "i1")
        assert isinstance(again, AlreadyDelivered) and again.reason == "identifier_taken"
        assert isinstance(await stripe.report("8", "k1", "i1"), Conflict)
        assert [row.total for row in await stripe.read()] == [7 * ONE]


async def test_a_saved_failure_is_passed_by_the_same_identifier(tmp_path: Path) -> None:
    """A saved 500 that had taken effect is found out under the next key, and nothing is counted twice (H24)."""
    async with bench(tmp_path) as stripe:
        await stripe.sandbox.control("faults", {"seed": 1, "rates": {"500_effect": 1.0}, "only": "meter_events"})
        assert isinstance(await stripe.report("7", "k1", "i1"), RetryAfter)
        await stripe.sandbox.control("faults", {"seed": 1, "rates": {}})
        spent = await stripe.report("7", "k1", "i1")
        assert isinstance(spent, RetryAfter) and spent.spent
        assert isinstance(await stripe.report("7", "k2", "i1"), AlreadyDelivered)
        assert [row.total for row in await stripe.read()] == [7 * ONE]


async def test_refusals_are_told_apart(tmp_path: Path) -> None:
    """No meter, a second too long ago, one too far ahead, too many digits: each by its name."""
    async with bench(tmp_path) as stripe:
        unknown = await stripe.report("7", "k1", "i1", event="none")
        assert isinstance(unknown, Refused) and unknown.reason == "no_meter"
        assert isinstance(await stripe.report("7", "k2", "i2", second=-36 * 86_400), PeriodClosed)
        early = await stripe.report("7", "k3", "i3", second=5 * 3600)
        assert isinstance(early, RetryAfter) and early.reason == "timestamp_in_future"
        long = await stripe.report("1234567890.123456", "k4", "i4")
        assert isinstance(long, Refused) and long.reason == "meter_event_value_too_many_digits"


async def test_an_unknown_customer_is_accepted_and_not_held(tmp_path: Path) -> None:
    """A 200 for an unknown customer is no more than acceptance: the meter holds nothing (H29)."""
    async with bench(tmp_path) as stripe:
        assert isinstance(await stripe.report("7", "k1", "i1", customer="cus_none"), Delivered)
        assert await stripe.read(hours=1) in ([], [(stripe.hour_s, stripe.hour_s + 3600, 0)])
        none = await stripe.read("none")
        assert isinstance(none, RetryAfter) and none.reason == "no_meter"


@pytest.mark.parametrize("value", ["1", "-0.5", "123456789012345"])
def test_the_bytes_are_those_of_the_client(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an intent stores is byte for byte what the client sends, whatever stands in the names, under the version of its era."""
    seen: dict[str, Any] = {}
    access = StripeAccess("http://127.0.0.1:9", "sk_test_1")

    def request(_self: Any, _method: str, _url: str, headers: Any, post_data: Any = None, **_more: Any) -> Any:
        seen.update(body=post_data, version=headers["Stripe-Version"])
        raise stripe.APIConnectionError("no")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(type(access._connections), "request", request)
    target = MeterTarget(aggregation="hour", event_name="a&b c=é", customer="cus_1", customer_key="who is", value_key="val")
    body = meter_event_body(target, value, "tm1_x", 1_700_000_000)
    assert access.report(METER_EVENTS_PATH, body, "k1", lambda: True) == Answer(None, sent=True, error="no")
    assert seen["body"] == body and str(seen["version"]).startswith("2026-10-28")
    assert f"payload[val]={value}" in unquote_plus(body)
