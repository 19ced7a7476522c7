"""What Stripe holds: usage record summaries of every item, asked over plain HTTP as any bookkeeper could, not through the product's client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra.demo.books import Books, books
from infra.demo.compare import SUMMARY_LANES, Units
from topics.quantity import ONE

if TYPE_CHECKING:
    from infra.settings import Settings


async def stripe_units(settings: Settings, items: Mapping[str, Mapping[str, str]]) -> Units:
    """Units by (customer, meter) over all periods; `items` by customer and meter. Raises TidemarkError where Stripe does not answer with 200."""
    lanes = asyncio.Semaphore(SUMMARY_LANES)
    async with books(settings) as account:

        async def one(customer: str, meter: str, item: str) -> tuple[tuple[str, str], int]:
            async with lanes:
                return (customer, meter), await _total(account, item) * ONE

        found = await asyncio.gather(*(one(customer, *each) for customer, of in items.items() for each in of.items()))
    return {at: units for at, units in found if units}


async def _total(account: Books, item: str) -> int:
    total, after = 0, dict[str, str]()
    while True:
        page = await account.get(f"/v1/subscription_items/{item}/usage_record_summaries", limit=100, **after)
        total += sum(int(row["total_usage"]) for row in page["data"])
        if not page["has_more"]:
            return total
        after = {"starting_after": page["data"][-1]["id"]}
