"""What a delivery comes to, against the sandbox: the object is read as it is now, so any order and any repetition end in the same."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from infra.sandbox.testing import Sandbox, sandbox_server
from infra.webhooks.fresh import Fresh, News
from infra.webhooks.said import Said, said_in
from sinks.stripe.access import Eras
from sinks.stripe.binding import sync
from sinks.stripe.client import StripeAccess
from sinks.stripe.request import API_VERSION, MODERN_VERSION
from sinks.stripe.suitability import Terms
from topics.errors import Unreachable
from topics.invoices import INVOICE_TYPE

TERMS = (Terms("calls"),)
DAY_S = 86_400


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """A sandbox whose product tells webhooks."""
    async with sandbox_server(tmp_path) as made:
        yield made


class Shop:
    """A metered price of ours, and what Stripe said of everything so far."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.eras = Eras(*(StripeAccess(sandbox.url, sandbox.key, version=version) for version in (API_VERSION, MODERN_VERSION)))
        self.fresh = Fresh(self.eras, TERMS, {})

    async def make(self, path: str, **data: str) -> dict[str, Any]:
        """POST."""
        made: dict[str, Any] = await self.sandbox.call("POST", path, data=data)
        return made

    async def subscribe(self) -> tuple[str, str, str]:
        """(our customer's Stripe id, subscription, item)."""
        recurring = {"recurring[interval]": "month", "recurring[usage_type]": "metered", "recurring[aggregate_usage]": "sum"}
        price = await self.make(
            "/v1/prices", currency="usd", unit_amount="3", **{"product_data[name]": "calls", "metadata[tidemark_meter]": "calls"}, **recurring
        )
        customer = await self.make("/v1/customers", **{"metadata[tidemark_customer]": "acme"})
        made = await self.make("/v1/subscriptions", customer=customer["id"], **{"items[0][price]": price["id"]})
        return customer["id"], made["id"], made["items"]["data"][0]["id"]

    async def said(self) -> list[Said]:
        """Every event that concerns us, oldest first, as deliveries say it."""
        rows = (await self.sandbox.call("GET", "/v1/events?limit=100"))["data"]
        found = [said_in(json.dumps(row).encode()) for row in reversed(rows)]
        return [said for said in found if said is not None and said.subject is not None]

    async def news(self, said: Said) -> News:
        """What it comes to now."""
        now_s = int((await self.sandbox.control("clock"))["now"])
        return await asyncio.to_thread(self.fresh.news, said, now_s, now_s - 30 * DAY_S)

    async def synced(self) -> Any:
        """What `stripe sync` finds."""
        now_s = int((await self.sandbox.control("clock"))["now"])
        return await asyncio.to_thread(sync, self.eras, TERMS, ended_after_s=now_s - 30 * DAY_S)

    def close(self) -> None:
        """Close both connections."""
        for access in self.eras:
            access.close()  # type: ignore[attr-defined]


async def test_a_subscription_is_bound_as_sync_would_bind_it(sandbox: Sandbox) -> None:
    """What a delivery about a subscription comes to is what `stripe sync` finds for its customer, also for an old delivery after an end."""
    shop = Shop(sandbox)
    _, subscription, item = await shop.subscribe()
    first = next(said for said in await shop.said() if said.about == subscription)
    news = await shop.news(first)
    assert [each.item for each in news.items["acme"]] == [item]
    assert news.items == (await shop.synced()).items
    await sandbox.call("DELETE", f"/v1/subscriptions/{subscription}")
    again = await shop.news(first)
    assert again.items == (await shop.synced()).items
    assert again.items["acme"][0].ends_at_s is not None
    shop.close()


async def test_any_order_of_deliveries_ends_in_the_same(sandbox: Sandbox) -> None:
    """Shuffled and repeated, the deliveries of a subscription's life and its invoices come to the same records, each time."""
    shop = Shop(sandbox)
    _, subscription, item = await shop.subscribe()
    await shop.make(f"/v1/subscriptions/{subscription}", cancel_at_period_end="true")
    await sandbox.control("clock", {"advance_s": 32 * DAY_S})
    said = await shop.said()
    assert {each.subject for each in said} == {"subscription", "invoice"}

    async def outcome(order: list[Said]) -> Any:
        items: dict[str, Any] = {}
        events: set[bytes] = set()
        notices: set[str] = set()
        for each in order:
            news = await shop.news(each)
            items |= news.items
            # The second in which an invoice was read differs between two looks, and says nothing of it.
            events |= {event.value.split(b'"seen_at_s"')[0].split(b'"data"')[1] for event in news.events}
            notices |= {news.notice.id} if news.notice is not None else set()
        return items, events, notices

    wanted = await outcome(said)
    assert [each.item for each in wanted[0]["acme"]] == [item]
    assert {event.value.count(INVOICE_TYPE.encode()) for each in said for event in (await shop.news(each)).events} == {1}
    assert wanted[1]
    assert len(wanted[2]) >= 2
    for seed in range(3):
        chance = random.Random(seed)
        order = [*said, *chance.choices(said, k=5)]
        chance.shuffle(order)
        assert await outcome(order) == wanted
    shop.close()


async def test_what_is_gone_says_nothing_and_what_is_down_is_raised(sandbox: Sandbox) -> None:
    """An upcoming invoice, or a draft that was deleted, comes to nothing; a Stripe that does not answer is an error, so that it delivers again."""
    shop = Shop(sandbox)
    assert await shop.news(Said("evt_1", "invoice.upcoming", "invoice", "", "cus_1", 0, live=False)) == News({}, ())
    assert await shop.news(Said("evt_1", "invoice.created", "invoice", "in_gone", "cus_1", 0, live=False)) == News({}, ())
    shop.close()
    down = Eras(*(StripeAccess("http://127.0.0.1:9", sandbox.key, version=version) for version in (API_VERSION, MODERN_VERSION)))
    with pytest.raises(Unreachable):
        await asyncio.to_thread(Fresh(down, TERMS, {}).news, Said("evt_1", "invoice.paid", "invoice", "in_1", "cus_1", 0, live=False), 0, 0)
    for access in down:
        access.close()  # type: ignore[attr-defined]
