"""The loop that posts webhooks: what is due goes out, several at once, and what came of it is written down.

Numbered side effects of one delivery: 1. the post, 2. the record of its answer. A kill between the two sends it once more: receivers must
bear copies from Stripe too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress

import aiohttp

from infra.sandbox import events, webhook_deliveries, webhook_targets
from infra.sandbox.engine import Engine
from infra.sandbox.webhook_deliveries import Delivery
from infra.sandbox.webhook_signing import HEADER, signed
from infra.sandbox.webhook_targets import Target

log = logging.getLogger(__name__)

LOOK_S = 0.05
"""How often it looks for what is due: an indexed look at an empty set costs some ten microseconds."""
AT_ONCE = 16
"""Posts under way at most. A receiver that hangs holds up only what is sent at the same time."""


class Sender:
    """Posts what is due until it is cancelled."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._under_way: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For ever; on cancellation what is under way is given up, and sent again by the next run."""
        timeout = aiohttp.ClientTimeout(total=self._engine.knobs.webhook_timeout_s)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            try:
                while True:
                    self._begin(session)
                    await asyncio.sleep(LOOK_S)
            finally:
                left = list(self._under_way.values())
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    def _begin(self, session: aiohttp.ClientSession) -> None:
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return
        for delivery in webhook_deliveries.due(self._engine.store, self._engine.clock.now_s(), room, self._under_way):
            self._under_way[delivery.seq] = asyncio.create_task(self._deliver(session, delivery))

    async def _deliver(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        try:
            store = self._engine.store
            target = webhook_targets.target(store, delivery.target)
            body = None if target is None or not target.enabled else self._body(delivery, target)
            if target is None or body is None:
                with store.transaction():
                    webhook_deliveries.gone(store, delivery)
                return
            delivered, answer = await self._post(session, target, body)
            with store.transaction():
                now_s = self._engine.clock.now_s()
                webhook_deliveries.answered(store, self._engine.knobs, delivery, delivered=delivered, answer=answer, now_s=now_s)
        finally:
            self._under_way.pop(delivery.seq, None)

    def _body(self, delivery: Delivery, target: Target) -> bytes | None:
        row = self._engine.store.run("SELECT body, shapes, thin FROM events WHERE id = ?", (delivery.event,)).fetchone()
        if row is None:
            return None
        body = json.loads(row[0])
        if row[2]:
            shown = events.notification(body)
        else:
            waiting = webhook_deliveries.pending(self._engine.store, delivery.event)
            shown = {**events.shaped(body, json.loads(row[1]), target.version), "pending_webhooks": waiting}
        return json.dumps(shown, indent=2).encode()

    async def _post(self, session: aiohttp.ClientSession, target: Target, body: bytes) -> tuple[bool, str]:
        secrets = target.signing(self._engine.clock.now_s())
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Stripe/1.0 (the Tidemark sandbox)"}
        headers[HEADER] = signed(body, secrets, int(time.time()))
        try:
            async with session.post(target.url, data=body, headers=headers, allow_redirects=False) as response:
                with suppress(aiohttp.ClientError, TimeoutError):
                    await response.read()
                return 200 <= response.status < 300, str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("webhook to %s not answered: %s", target.id, type(error).__name__)
            return False, type(error).__name__
