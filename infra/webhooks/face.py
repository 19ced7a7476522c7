"""The receiver's HTTP: POST /stripe for Stripe (through a proxy that ends HTTPS), and /live, /ready, /status, /metrics for its keepers."""

from __future__ import annotations

import time
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily

from infra.webhooks.receiver import LARGEST_BYTES, Receiver
from infra.webhooks.signature import HEADER

PATH: Final = "/stripe"
METRIC: Final = "tidemark_webhooks_total"


class _Counts:
    """Outcomes as Prometheus reads them."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def collect(self) -> list[CounterMetricFamily]:
        """What prometheus_client asks of a collector."""
        family = CounterMetricFamily(METRIC.removesuffix("_total"), "Webhooks by what came of them.", labels=["outcome"])
        for outcome, count in sorted(self._receiver.counts.items()):
            family.add_metric([outcome], count)
        return [family]


def routes(receiver: Receiver, name: str = "webhooks") -> web.Application:
    """The application; bodies above LARGEST_BYTES are not read to their end."""
    registry = CollectorRegistry()
    registry.register(_Counts(receiver))

    async def take(request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            reply = receiver.refused(413, "too_large", "too large")
        else:
            reply = await receiver.take(body, request.headers.get(HEADER), time.time())
        return web.Response(status=reply.status, text=(reply.sentence or reply.outcome) + "\n")

    async def status(_request: web.Request) -> web.Response:
        alarms = [] if receiver.trouble is None else [receiver.trouble]
        shown = {"kind": "webhooks", "name": name, "counts": dict(sorted(receiver.counts.items())), "alarms": alarms}
        return web.Response(body=msgspec.json.encode(shown), content_type="application/json")

    async def live(_request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_request: web.Request) -> web.Response:
        return web.Response(text="ready\n") if receiver.runner is not None else web.Response(status=503, text="Kafka was not reached yet\n")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application(client_max_size=LARGEST_BYTES)
    own = [web.get("/live", live), web.get("/ready", ready), web.get("/status", status), web.get("/metrics", metrics)]
    app.add_routes([web.post(PATH, take), *own])
    return app
