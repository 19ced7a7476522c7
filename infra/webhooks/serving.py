"""The receiver as an HTTP server: POST /stripe, and /live, /ready and /metrics beside it."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily

from infra.webhooks.receiver import MOST_BYTES, Receiver
from infra.webhooks.signature import secrets_of
from topics.errors import ConfigurationFault, Fault, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

    from infra.settings import Settings

log = logging.getLogger(__name__)


class _Deliveries:
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a collector."""
        found = CounterMetricFamily("tidemark_webhook_deliveries_total", "Deliveries of the provider's, by what became of them.", labels=["outcome"])
        for word, count in sorted(self._receiver.counts.items()):
            found.add_metric([word], count)
        yield found


def application(receiver: Receiver) -> web.Application:
    """The server's addresses."""
    registry = CollectorRegistry()
    registry.register(_Deliveries(receiver))

    async def stripe(request: web.Request) -> web.Response:
        reply = await receiver.handle(await request.read(), request.headers.get("Stripe-Signature"))
        return web.Response(status=reply.status, text=f"{reply.word}\n")

    async def live(_request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application(client_max_size=MOST_BYTES)
    app.add_routes([web.post("/stripe", stripe), web.get("/live", live), web.get("/ready", live), web.get("/metrics", metrics)])
    return app


def serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Receive until SIGTERM or SIGINT; `ready` is told the address once it listens. Raises ConfigurationFault without a secret."""
    asyncio.run(_serve(settings, host, port, ready))


async def _serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    from infra import topics_admin
    from infra.settings_stripe import has_live_key, terms_of
    from infra.stripe_catalog import access
    from infra.webhooks.fresh import Fresh
    from infra.webhooks.publishing import KafkaPublisher
    from topics.catalog import EVENTS

    secret = settings.stripe.webhook_secret
    secrets = secrets_of(None if secret is None else secret.get_secret_value())
    if not secrets:
        remedy = "Set it in the environment: the endpoint's signing secret (whsec_…); several with commas while one is rolled."
        raise ConfigurationFault([Fault("STRIPE_WEBHOOK_SECRET", "it is not set", remedy)])
    partitions = await topics_admin.partition_count(settings.kafka.bootstrap, EVENTS)
    names = {customer.stripe_customer: customer.id for customer in settings.customers if customer.stripe_customer}
    with access(settings) as eras:
        receiver = Receiver(
            Fresh(eras, terms_of(settings), names),
            KafkaPublisher(settings.kafka.bootstrap, partitions),
            secrets=secrets,
            now_s=time.time,
            horizon_s=settings.timing.horizon_ms // 1000,
            live=has_live_key(settings.stripe),
        )
        await _listen(receiver, host, port, ready)


async def _listen(receiver: Receiver, host: str, port: int, ready: Callable[[str], None]) -> None:
    runner = web.AppRunner(application(receiver), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        ready(f"http://{host}:{runner.addresses[0][1]}/stripe")
        await stop.wait()
    finally:
        await runner.cleanup()
