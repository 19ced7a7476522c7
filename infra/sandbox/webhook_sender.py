"""Posts the webhooks that are due, several at once, and writes down what came of each. It never waits for a receiver: `look` begins posts
and returns.

Numbered side effects of one delivery: 1. the post, 2. the record of its answer. A kill between the two sends it once more: receivers must
bear copies from Stripe too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time

import aiohttp

from infra.sandbox import events, webhook_deliveries, webhook_targets, webhook_urls
from infra.sandbox.engine import Engine
from infra.sandbox.webhook_deliveries import Delivery
from infra.sandbox.webhook_signing import HEADER, signed
from infra.sandbox.webhook_targets import Target

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Posts under way at most. A receiver that hangs holds up only what is sent at the same time."""
STRANGER = "whsec_of_somebody_else"
"""What a forged post is signed with (knob webhook_forged)."""


class Sender:
    """Posts what is due whenever it is told to look: by the housekeeping, and by itself after each post, so that a backlog drains."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def look(self) -> None:
        """Begins what is due, as far as there is room; an indexed look at an empty set otherwise."""
        room = AT_ONCE - len(self._under_way)
        if room <= 0 or self._closed:
            return
        for delivery in webhook_deliveries.due(self._engine.store, self._engine.clock.now_s(), room, self._under_way):
            self._under_way[delivery.seq] = asyncio.create_task(self._deliver(delivery))

    async def close(self) -> None:
        """Gives up what is under way; the next run sends it again."""
        self._closed = True
        left = list(self._under_way.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except Exception:  # a mistake of ours: it stays pending and is tried at the next look of the housekeeping, not at once
            log.exception("the sandbox failed to send a webhook")
            self._under_way.pop(delivery.seq, None)
        else:
            self._under_way.pop(delivery.seq, None)
            self.look()

    async def _attempt(self, delivery: Delivery) -> None:
        store, knobs = self._engine.store, self._engine.knobs
        target = webhook_targets.target(store, delivery.target)
        open_ = target is not None and target.enabled and webhook_urls.allowed(target.url, knobs)
        body = self._body(delivery, target) if target is not None and open_ else None
        if target is None or body is None:
            with store.transaction():
                webhook_deliveries.gone(store, delivery)
            return
        secrets = [STRANGER] if webhook_deliveries.forged(knobs, delivery) else target.signing(self._engine.clock.now_s())
        delivered, answer = await self._post(target, body, signed(body, secrets, int(time.time())))
        with store.transaction():
            webhook_deliveries.answered(store, knobs, delivery, delivered=delivered, answer=answer, now_s=self._engine.clock.now_s())

    def _body(self, delivery: Delivery, target: Target) -> bytes | None:
        row = self._engine.store.run("SELECT body, shapes, thin FROM happened WHERE id = ?", (delivery.event,)).fetchone()
        if row is None:
            return None
        body = json.loads(row[0])
        if row[2]:
            shown = events.notification(body)
        else:
            waiting = webhook_deliveries.pending(self._engine.store, delivery.event)
            shown = {**events.shaped(body, json.loads(row[1]), target.version), "pending_webhooks": waiting}
        return json.dumps(shown, indent=2).encode()

    async def _post(self, target: Target, body: bytes, signature: str) -> tuple[bool, str]:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._engine.knobs.webhook_timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0 (the Tidemark sandbox)", HEADER: signature}
        try:
            async with self._session.post(target.url, data=body, headers=headers, allow_redirects=False) as response:
                return 200 <= response.status < 300, str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.info("webhook to %s not answered: %s", target.id, type(error).__name__)
            return False, type(error).__name__
