"""A receiver of webhooks for tests: keeps what came, answers what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

PATIENCE_S = 30.0
"""After it a wait is given up: no test measures by it."""


@dataclass
class Listener:
    """`url` is where it listens; `posts` has (body, signature header) of everything; `answers` the next statuses, then 200; while `silent`
    it keeps what comes and does not answer."""

    url: str = ""
    posts: list[tuple[bytes, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    silent: bool = False
    judge: Callable[[bytes, str], int] | None = None
    """Gives the status for a post instead."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Keeps one post."""
        post = await request.read(), request.headers["Stripe-Signature"]
        self.posts.append(post)
        while self.silent:
            await asyncio.sleep(0.02)
        if self.judge is not None:
            return web.Response(status=self.judge(*post))
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def heard(self, count: int) -> list[tuple[bytes, str]]:
        """The posts, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.posts) < count:
                await asyncio.sleep(0.02)
        return self.posts


@asynccontextmanager
async def listener(*answers: int) -> AsyncIterator[Listener]:
    """A listener on a free port."""
    kept = Listener(answers=list(answers))
    runner = web.ServerRunner(web.Server(kept.handle, access_log=None, handler_cancellation=True), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        kept.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield kept
    finally:
        await runner.cleanup()
