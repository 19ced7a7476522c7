"""What Stripe holds: usage record summaries of every item, asked over plain HTTP as any bookkeeper could, not through the product's client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp

from infra.demo.compare import SUMMARY_LANES, Units
from topics.errors import TidemarkError
from topics.quantity import ONE

if TYPE_CHECKING:
    from infra.settings import Settings
    from topics.bindings import Item

API_VERSION = "2025-02-24.acacia"
"""The last one that lists usage record summaries."""


async def stripe_units(settings: Settings, items: Mapping[str, tuple[Item, ...]]) -> Units:
    """Units by (customer, meter) over all periods. Raises TidemarkError where Stripe does not answer with 200."""
    key = settings.stripe.api_key.get_secret_value() if settings.stripe.api_key else ""
    headers = {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}
    lanes = asyncio.Semaphore(SUMMARY_LANES)
    async with aiohttp.ClientSession(settings.stripe.api_base, headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def one(customer: str, item: Item) -> tuple[tuple[str, str], int]:
            async with lanes:
                return (customer, item.meter), await _total(session, item.item) * ONE

        found = await asyncio.gather(*(one(customer, item) for customer, of in items.items() for item in of))
    return {at: units for at, units in found if units}


async def _total(session: aiohttp.ClientSession, item: str) -> int:
    total, after = 0, ""
    while True:
        page = await _page(session, f"/v1/subscription_items/{item}/usage_record_summaries?limit=100{after}")
        total += sum(int(row["total_usage"]) for row in page["data"])
        if not page["has_more"]:
            return total
        after = f"&starting_after={page['data'][-1]['id']}"


async def _page(session: aiohttp.ClientSession, path: str) -> Any:
    for attempt in range(8):
        async with session.get(path) as response:
            if response.status == 200:
                return await response.json()
            if response.status != 429:
                raise TidemarkError(f"Stripe answers {response.status} to {path.partition('?')[0]}")
        await asyncio.sleep(0.1 * 2**attempt)
    raise TidemarkError("Stripe answers 429 for too long")
