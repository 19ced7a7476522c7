"""The HTTP face of a worker: /status, /live, /ready, /metrics, read-only, on loopback unless the settings say otherwise.

Not Faust's web server: that listens on every interface and shows tables (H36).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from aiohttp import web

from topics.errors import UsageError

log = logging.getLogger(__name__)

SHUTDOWN_S = 1.0
"""How long a request that is under way may take when the worker leaves; scrapes take milliseconds."""


class Face(Protocol):
    """What a worker shows."""

    async def status(self) -> Mapping[str, Any]:
        """The whole of `/status`."""
        ...

    def unready(self) -> str | None:
        """Why this worker does not do its work now, in one sentence; None when it does."""
        ...

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        ...


def routes(face: Face) -> web.Application:
    """The four addresses of `face`."""

    async def status(_request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(await face.status()), content_type="application/json")

    async def live(_request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_request: web.Request) -> web.Response:
        reason = face.unready()
        return web.Response(text="ready\n") if reason is None else web.Response(status=503, text=f"{reason}\n")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=face.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/status", status), web.get("/live", live), web.get("/ready", ready), web.get("/metrics", metrics)])
    return app


class WorkerHttp:
    """The server of one worker. It starts before Kafka is asked for anything, so that waiting can be seen."""

    def __init__(self, face: Face, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._runner = web.AppRunner(routes(face), access_log=None, shutdown_timeout=SHUTDOWN_S)
        self.url = ""

    async def start(self) -> str:
        """Listen; returns the address with the port that was given out for port 0. Raises UsageError for a port that is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise UsageError(f"cannot listen on {self._host}:{self._port}: {error.strerror}; set TIDEMARK_WORKER__HTTP to a free address") from error
        port = self._runner.addresses[0][1]
        self.url = f"http://{self._host}:{port}"
        log.info("status at %s/status", self.url)
        return self.url

    async def stop(self) -> None:
        """Close the address."""
        await self._runner.cleanup()
