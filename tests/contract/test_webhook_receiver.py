"""The receiver over HTTP: what is answered when, and that 200 means published."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import stripe
from aiohttp import web
from aiohttp.test_utils import TestServer

from infra.webhooks.fresh import News
from infra.webhooks.receiver import FORGERIES, MOST_BYTES, Receiver
from infra.webhooks.said import Said
from infra.webhooks.serving import application
from topics.errors import Unreachable

SECRET = "whsec_" + "receiver"
NOW_S = 1_795_219_200


class Shop:
    """What deliveries come to: one customer's items, unless it is told otherwise."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_down = False
        self.news_ = News({"acme": ()}, ())

    def news(self, said: Said, now_s: int, ended_after_s: int) -> News:
        """See `Source.news`."""
        assert (now_s, ended_after_s) == (NOW_S, NOW_S - 60)
        if self.is_down:
            raise Unreachable("Stripe does not answer")
        self.asked.append(said.id)
        return self.news_


class Log:
    """What was published."""

    def __init__(self) -> None:
        self.published: list[News] = []
        self.is_down = False

    async def publish(self, news: News) -> None:
        """See `Publisher.publish`."""
        if self.is_down:
            raise Unreachable("Kafka does not answer")
        self.published.append(news)


class Bench:
    """A receiver that listens."""

    def __init__(self, shop: Shop, log: Log, receiver: Receiver, url: str) -> None:
        self.shop, self.log, self.receiver, self.url = shop, log, receiver, url

    async def post(self, body: bytes, header: str | None) -> tuple[int, str]:
        """Status and text."""
        headers = {} if header is None else {"Stripe-Signature": header}
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/stripe", data=io.BytesIO(body), headers=headers) as answer:
            return answer.status, (await answer.text()).strip()

    async def deliver(self, **more: Any) -> tuple[int, str]:
        """A right delivery."""
        body = event(**more)
        return await self.post(body, signed(body))


def event(**more: Any) -> bytes:
    """A subscription's event."""
    body = {"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "created": 1, "livemode": False}
    return json.dumps({**body, "data": {"object": {"id": "sub_1", "customer": "cus_1", "secret": "not for a log"}}, **more}).encode()


def signed(body: bytes, secret: str = SECRET) -> str:
    """As Stripe signs."""
    header: str = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, NOW_S)
    return header


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A receiver of test mode."""
    shop, log = Shop(), Log()
    receiver = Receiver(shop, log, secrets=(SECRET,), now_s=lambda: NOW_S, horizon_s=60, live=False)
    server = TestServer(application(receiver))
    await server.start_server()
    yield Bench(shop, log, receiver, str(server.make_url("")).rstrip("/"))
    await server.close()


async def test_what_is_believed_is_read_and_published(bench: Bench) -> None:
    """A right delivery is answered 200 once it is published, and again when it comes again."""
    assert [await bench.deliver(), await bench.deliver()] == [(200, "published")] * 2
    assert bench.log.published == [bench.shop.news_] * 2


@pytest.mark.parametrize("where", ["shop", "log"])
async def test_what_may_pass_is_put_off(bench: Bench, where: str) -> None:
    """While Stripe or Kafka does not answer the delivery is answered 503, so that it comes again; nothing counts as published meanwhile."""
    down = bench.shop if where == "shop" else bench.log
    down.is_down = True
    assert await bench.deliver() == (503, "later")
    assert bench.log.published == []
    down.is_down = False
    assert await bench.deliver() == (200, "published")


async def test_what_is_not_believed_is_not_read(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Without a right signature nothing is read or published, and nothing of the body or the secret is logged; too many are turned away."""
    body = event()
    assert await bench.post(body, None) == (400, "no_signature")
    assert await bench.post(body, signed(body, "whsec_" + "other")) == (400, "wrong_signature")
    answers = [await bench.post(body, signed(body, "whsec_" + "other")) for _ in range(FORGERIES)]
    assert answers[-1] == (429, "wrong_signature")
    assert (bench.shop.asked, bench.log.published) == ([], [])
    assert await bench.deliver() == (200, "published")
    assert "not for a log" not in caplog.text
    assert SECRET not in caplog.text


async def test_what_does_not_concern_us_is_acknowledged(bench: Bench) -> None:
    """Other events, events of the other mode and objects that are none of ours are answered 200 and counted as such; a body that is none, 400."""
    assert await bench.deliver(type="charge.refunded") == (200, "ignored")
    assert await bench.deliver(livemode=True) == (200, "live")
    bench.shop.news_ = News({}, ())
    assert await bench.deliver() == (200, "not_ours")
    assert await bench.post(b"{}", signed(b"{}")) == (400, "no_event")
    assert bench.log.published == []
    async with aiohttp.ClientSession() as session, session.get(f"{bench.url}/metrics") as answer:
        text = await answer.text()
    for word in ("ignored", "live", "not_ours", "no_event"):
        assert f'tidemark_webhook_deliveries_total{{outcome="{word}"}} 1.0' in text


async def test_a_body_too_large_is_refused(bench: Bench) -> None:
    """What is larger than any event of Stripe's is turned away with 413."""
    body = b"x" * (MOST_BYTES + 1)
    assert (await bench.post(body, "t=1,v1=a"))[0] == 413
    assert bench.shop.asked == []


def test_the_addresses_are_the_documented_ones() -> None:
    """POST /stripe, and /live, /ready and /metrics for whoever watches."""
    app = application(Receiver(Shop(), Log(), secrets=(), now_s=lambda: 0.0, horizon_s=0, live=False))
    found = {(route.method, route.resource.canonical) for route in app.router.routes() if isinstance(route.resource, web.PlainResource)}
    assert {("POST", "/stripe"), ("GET", "/live"), ("GET", "/ready"), ("GET", "/metrics")} <= found
