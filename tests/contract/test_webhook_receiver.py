"""The receiver against the sandbox: what really happens there reaches the log by real webhooks, as a sync would have read it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.sandbox.testing import Sandbox, sandbox_server
from infra.sandbox.webhook_signing import HEADER, signed
from infra.webhooks.app import listening
from infra.webhooks.binder import Binder, current_items
from infra.webhooks.errands import THIN_TYPES, TYPES
from infra.webhooks.face import METRIC
from infra.webhooks.provider import Provider
from infra.webhooks.receiver import LARGEST_BYTES, Receiver
from infra.webhooks.runner import Runner
from sinks.stripe.access import Eras
from sinks.stripe.binding import sync
from sinks.stripe.client import StripeAccess
from sinks.stripe.request import API_VERSION, MODERN_VERSION
from sinks.stripe.suitability import Terms
from tests.contract.webhook_listener import PATIENCE_S
from tests.core.webhook_log import FoldedLog
from topics.bindings import Item
from topics.clocks import CLOCK_TYPE
from topics.home import home_of
from topics.invoices import InvoiceRecord
from topics.meter_errors import METER_ERROR_TYPE

JAN_31 = 1_706_659_200
DAY_S = 86_400


@dataclass
class Stand:
    """A sandbox, a receiver that it posts to, and the log behind it."""

    sandbox: Sandbox
    log: FoldedLog
    receiver: Receiver
    eras: Eras
    terms: tuple[Terms, ...]
    url: str

    async def until(self, what: Callable[[], bool]) -> None:
        """Waits for something that webhooks bring about."""
        async with asyncio.timeout(PATIENCE_S):
            while not what():
                await asyncio.sleep(0.02)

    async def quiet(self) -> None:
        """Waits until every webhook that there is has been answered 2xx."""
        async with asyncio.timeout(PATIENCE_S):
            while {row["state"] for row in (await self.sandbox.control("webhooks"))["data"]} - {"delivered"}:
                await asyncio.sleep(0.05)

    def items(self) -> tuple[Item, ...]:
        """What acme is bound to now."""
        return tuple(current_items(self.log.states[home_of(b"acme", self.log.partitions)].definitions, "acme"))

    def invoices(self) -> list[InvoiceRecord]:
        """Every invoice in force, by period."""
        found = [held.said for state in self.log.states for held in state.definitions.invoices.values()]
        return sorted(found, key=lambda said: (said.period_start_s, said.invoice))


@asynccontextmanager
async def stand(directory: Path, **knobs: Any) -> AsyncIterator[Stand]:
    """Everything connected, with a legacy metered price for our one meter."""
    async with sandbox_server(directory, **knobs) as sandbox:
        params = {"currency": "usd", "unit_amount": "2", "product_data[name]": "calls", "recurring[interval]": "month"}
        price = await sandbox.call("POST", "/v1/prices", data={**params, "recurring[usage_type]": "metered", "recurring[aggregate_usage]": "sum"})
        terms = (Terms("calls", price=price["id"]),)
        eras = Eras(*(StripeAccess(sandbox.url, sandbox.key, version=version) for version in (API_VERSION, MODERN_VERSION)))
        log, secrets = FoldedLog(), list[str]()
        provider = Provider(eras, terms, {})
        receiver = Receiver(Runner(provider, log, Binder(provider, log, (), 10**15)), secrets)
        async with listening(receiver, "127.0.0.1", 0) as url:
            types = {f"enabled_events[{index}]": each for index, each in enumerate(TYPES)}
            secrets.append((await sandbox.call("POST", "/v1/webhook_endpoints", data={"url": url, **types}))["secret"])
            thin = {"name": "t", "type": "webhook_endpoint", "event_payload": "thin", "enabled_events": THIN_TYPES, "webhook_endpoint": {"url": url}}
            made = await sandbox.call("POST", "/v2/core/event_destinations", json={**thin, "include": ["webhook_endpoint.signing_secret"]})
            secrets.append(made["webhook_endpoint"]["signing_secret"])
            yield Stand(sandbox, log, receiver, eras, terms, url)


async def month(at: Stand) -> str:
    """A customer on a test clock who subscribes, uses something, and sees a month pass; the subscription."""
    clock = await at.sandbox.call("POST", "/v1/test_helpers/test_clocks", data={"frozen_time": JAN_31})
    customer = await at.sandbox.call("POST", "/v1/customers", data={"test_clock": clock["id"], "metadata[tidemark_customer]": "acme"})
    params = {"customer": customer["id"], "items[0][price]": at.terms[0].price}
    subscription = await at.sandbox.call("POST", "/v1/subscriptions", data=params)
    await at.until(lambda: bool(at.items()))
    item = subscription["items"]["data"][0]["id"]
    used = {"quantity": "7", "timestamp": str(JAN_31 + 1), "action": "set"}
    await at.sandbox.call("POST", f"/v1/subscription_items/{item}/usage_records", data=used)
    for days in (20, 31):
        await at.sandbox.call("POST", f"/v1/test_helpers/test_clocks/{clock['id']}/advance", data={"frozen_time": JAN_31 + days * DAY_S})
        await at.sandbox.control("clock")
        await at.sandbox.call("GET", f"/v1/test_helpers/test_clocks/{clock['id']}")
    return str(subscription["id"])


@pytest.mark.parametrize("knobs", [{}, {"webhook_shuffle_s": 1.0, "webhook_copies": 0.5, "webhook_seed": 3}])
async def test_a_month_at_stripe_is_in_the_log(tmp_path: Path, knobs: dict[str, Any]) -> None:
    """Subscription, clock, invoice and payment of one month arrive by webhooks, in order or shuffled and doubled, as a sync reads them."""
    async with stand(tmp_path, **knobs) as at:
        await month(at)
        await at.until(lambda: any(said.status == "paid" for said in at.invoices()))
        await at.quiet()
        synced = await asyncio.to_thread(lambda: sync(at.eras, at.terms, clocks=True, ended_after_s=0))
        assert at.items() == synced.items["acme"]
        told = [said for said in at.invoices() if said.status != "upcoming"]
        assert [(said.status, said.period_start_s, said.period_end_s) for said in told] == [("paid", JAN_31, JAN_31 + 29 * DAY_S)]
        clocks = [event.data["now_s"] for event in at.log.of(CLOCK_TYPE) if isinstance(event.data, dict)]
        assert max(clocks) == JAN_31 + 31 * DAY_S
        assert "payment_succeeded" in {notice.notice for notice in at.log.notices()}
        assert at.receiver.counts["unavailable"] == at.receiver.counts["bad_signature"] == at.receiver.counts["malformed"] == 0


async def test_a_cancelled_subscription_ends_its_binding(tmp_path: Path) -> None:
    """A cancellation at Stripe puts the end into the binding and tells the application."""
    async with stand(tmp_path) as at:
        subscription = await month(at)
        await at.sandbox.call("DELETE", f"/v1/subscriptions/{subscription}")
        await at.until(lambda: any(notice.notice == "subscription_deleted" for notice in at.log.notices()))
        assert [item.ends_at_s for item in at.items()] == [JAN_31 + 31 * DAY_S]


async def test_a_webhook_that_found_kafka_down_comes_again(tmp_path: Path) -> None:
    """While Kafka is down the sandbox is answered 503, and its retry brings the binding once Kafka is back."""
    async with stand(tmp_path) as at:
        at.log.down = True
        customer = await at.sandbox.call("POST", "/v1/customers", data={"metadata[tidemark_customer]": "acme"})
        await at.sandbox.call("POST", "/v1/subscriptions", data={"customer": customer["id"], "items[0][price]": at.terms[0].price})
        await at.until(lambda: at.receiver.counts["unavailable"] > 0)
        at.log.down = False
        assert at.items() == ()
        async with asyncio.timeout(PATIENCE_S):
            while not at.items():
                await at.sandbox.control("clock", {"advance_s": 1801})
                await asyncio.sleep(0.2)
        assert len(at.items()) == 1


async def test_refused_meter_events_come_back(tmp_path: Path) -> None:
    """A meter event that Stripe answered 200 and refused afterwards is a fact of the log, by the key of its request."""
    async with stand(tmp_path, meter_sync_checks=False, meter_report_s=1) as at:
        data = {"event_name": "none", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1"}
        await at.sandbox.call("POST", "/v1/billing/meter_events", data=data, headers={"Idempotency-Key": "ours"})
        await at.sandbox.control("clock", {"advance_s": 5})
        await at.until(lambda: bool(at.log.of(METER_ERROR_TYPE)))
        (event, *_) = at.log.of(METER_ERROR_TYPE)
        assert isinstance(event.data, dict)
        assert event.data["keys"] == ["ours"]


async def test_the_receivers_http_says_what_it_must(tmp_path: Path) -> None:
    """Unsigned 400, too large 413, another method or path 405 and 404; what came of webhooks is in the metrics, and no body is repeated."""
    async with stand(tmp_path) as at, aiohttp.ClientSession() as session:

        async def ask(method: str, url: str, **more: Any) -> tuple[int, str]:
            async with session.request(method, url, **more) as response:
                return response.status, await response.text()

        assert (await ask("POST", at.url, data=b"{}"))[0] == 400
        wrong = {HEADER: signed(b"secret usage", ["whsec_other"], 1)}
        status, text = await ask("POST", at.url, data=b"secret usage", headers=wrong)
        assert (status, "secret" in text) == (400, False)
        assert (await ask("POST", at.url, data=io.BytesIO(b"x" * (LARGEST_BYTES + 1))))[0] == 413
        assert (await ask("GET", at.url))[0] == 405
        assert (await ask("POST", at.url + "/other"))[0] == 404
        base = at.url.rsplit("/", 1)[0]
        assert (await ask("GET", base + "/ready"))[0] == 200
        _, metrics = await ask("GET", base + "/metrics")
        assert f'{METRIC}{{outcome="bad_signature"}} 2.0' in metrics
