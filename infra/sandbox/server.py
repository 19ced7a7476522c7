"""The HTTP face: reads a request, hands it to the engine, answers, and plays the faults that live on the wire."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from infra.sandbox import errors
from infra.sandbox.calls import Calls
from infra.sandbox.control import Control
from infra.sandbox.engine import Admitted, Answer, Engine, Request


class Face:
    """One handler for every URL: no routing layer of the HTTP library, because it costs more than the call itself."""

    def __init__(self, engine: Engine, calls: Calls) -> None:
        self._engine = engine
        self._calls = calls
        self._control = Control(engine, calls)

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answers one HTTP request."""
        path, _, query = _latin(http.raw_path).partition("?")
        if path == "/healthz":
            return web.Response(body=b'{"status":"ok"}', content_type="application/json")
        headers = {_latin(name).lower(): _latin(value) for name, value in http.headers.items()}
        try:
            body = await http.read()
        except web.RequestPayloadError:
            refusal = errors.bad_form("the body is not encoded as its headers say")
            return web.Response(status=refusal.status, body=refusal.body(), content_type="application/json")
        request = Request(http.method, path, query, headers, body, time.monotonic())
        if path.startswith("/_sandbox/"):
            status, body = self._control.answer(request)
            return web.Response(status=status, body=body, content_type="application/json")
        return await self._api(http, request)

    async def _api(self, http: web.BaseRequest, request: Request) -> web.StreamResponse:
        outcome = self._engine.admit(request)
        if isinstance(outcome, Admitted):
            try:
                await self._wait(http, outcome)
            except asyncio.CancelledError:
                self._engine.abandon(outcome)
                raise
            outcome = self._engine.execute(outcome)
        self._calls.count(outcome)
        if outcome.fault in {"lost", "cut"}:
            return await _broken(http, outcome)
        return web.Response(status=outcome.status, body=outcome.body, headers=outcome.headers)

    async def _wait(self, http: web.BaseRequest, admitted: Admitted) -> None:
        """The faults before the effect: while they last, the key is in use."""
        if admitted.fault == "delay":
            await asyncio.sleep(self._engine.knobs.delay_ms / 1000)
        elif admitted.fault == "hold":
            _abort(http)
            await asyncio.sleep(self._engine.knobs.hold_ms / 1000)


def _latin(text: str) -> str:
    """Bytes that are no UTF-8 as the letters that HTTP once gave them, instead of surrogates that nothing can write."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _abort(http: web.BaseRequest) -> None:
    if http.transport is not None:
        http.transport.abort()


async def _broken(http: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """The effect stands, but the caller does not learn it: the connection breaks before the answer (`lost`) or in its middle (`cut`)."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if answer.fault == "cut" and http.transport is not None and not http.transport.is_closing():
        response.content_length = len(answer.body)
        await response.prepare(http)
        await response.write(answer.body[: len(answer.body) // 2])
        http.transport.close()  # unlike abort() it sends what was written
    else:
        _abort(http)
    return response
