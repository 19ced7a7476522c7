"""What the contract tests of Stripe's side share: the sandbox, our client on it, a subscribed item."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from infra.sandbox.testing import Sandbox, sandbox_server
from sinks.outcomes import Answer, Outcome, Wanted, outcome_of
from sinks.stripe.access import Eras
from sinks.stripe.client import StripeAccess
from sinks.stripe.request import MODERN_VERSION, usage_record_body, usage_record_path

T = TypeVar("T")


@dataclass
class Bench:
    """A sandbox, a client, and one metered item."""

    sandbox: Sandbox
    access: StripeAccess
    item: str
    now_s: int
    modern: StripeAccess

    @property
    def eras(self) -> Eras:
        """The account under both API versions, as set-up and sync use it."""
        return Eras(self.access, self.modern)

    async def call(self, do: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """A blocking call in a thread, as the worker makes it: the sandbox runs in this loop."""
        return await asyncio.to_thread(do, *arguments, **named)

    async def answer(self, units: int, key: str, *, second: int = -100, item: str = "", may_send: Callable[[], bool] = lambda: True) -> Answer:
        """Post a usage record `second` seconds from now."""
        path = usage_record_path(item or self.item)
        return await self.call(self.access.report, path, usage_record_body(units, self.now_s + second), key, may_send)

    async def report(self, units: int, key: str, *, second: int = -100, item: str = "") -> Outcome:
        """Post a usage record; its outcome."""
        answer = await self.answer(units, key, second=second, item=item)
        return outcome_of(answer, Wanted(item or self.item, self.now_s + second, units))


@asynccontextmanager
async def bench(directory: Path, **options: Any) -> AsyncIterator[Bench]:
    """A bench on a fresh sandbox; `options` are the sandbox's."""
    async with sandbox_server(directory / "sandbox", **options) as sandbox:
        _, _, item = await sandbox.metered_item()
        access = StripeAccess(sandbox.url, sandbox.key, timeout_s=3.0)
        modern = StripeAccess(sandbox.url, sandbox.key, timeout_s=3.0, version=MODERN_VERSION)
        try:
            yield Bench(sandbox, access, item, int((await sandbox.control("clock"))["now"]), modern)
        finally:
            access.close()
            modern.close()
