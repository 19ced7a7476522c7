"""Stripe as a bookkeeper asks it: plain HTTP, not the product's client. Its clocks, subscriptions and invoices, for a demo and its tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from topics.errors import TidemarkError

if TYPE_CHECKING:
    from infra.settings import Settings

API_VERSION: Final = "2025-02-24.acacia"
"""The last one that has usage records, their summaries and upcoming invoices; it has Billing Meters too."""
TRIES: Final = 8
"""Pauses of 0.1, 0.2, … s between them: longer in all than a killed sandbox is away."""
AGAIN: Final = frozenset({0, 409, 429, 500, 503})
Json = dict[str, Any]


class Books:
    """One account."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, **parameters: str | int) -> Json:
        """GET. Raises TidemarkError where Stripe does not answer with 200."""
        return await self._call("GET", path, {"params": {name: str(value) for name, value in parameters.items()}})

    async def post(self, path: str, key: str, parameters: Mapping[str, str | int]) -> Json:
        """POST under an idempotency key, so that an answer that is lost is asked for again."""
        return await self._call("POST", path, {"data": {name: str(value) for name, value in parameters.items()}, "headers": {"Idempotency-Key": key}})

    async def _call(self, method: str, path: str, options: Mapping[str, Any]) -> Json:
        said = "nothing"
        for attempt in range(TRIES):
            status, said = await self._ask(method, path, options)
            if status == 200:
                found: Json = json.loads(said)
                return found
            if status not in AGAIN:
                break
            await asyncio.sleep(0.1 * 2**attempt)
        raise TidemarkError(f"Stripe answers {said[:300]!r} to {method} {path}")

    async def _ask(self, method: str, path: str, options: Mapping[str, Any]) -> tuple[int, str]:
        """Status and text; 0 where there was no answer."""
        try:
            async with self._session.request(method, path, **options) as response:
                return response.status, await response.text()
        except aiohttp.ClientError as error:
            return 0, type(error).__name__


@asynccontextmanager
async def books(settings: Settings) -> AsyncIterator[Books]:
    """The account of the settings."""
    key = settings.stripe.api_key.get_secret_value() if settings.stripe.api_key else ""
    headers = {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}
    async with aiohttp.ClientSession(settings.stripe.api_base, headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield Books(session)
