"""A sandbox for tests: inside the test's event loop, on a free port, with its own key and directory."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from infra.sandbox.faults import Plan
from infra.sandbox.knobs import Knobs
from infra.sandbox.serve import listening

LEGACY_VERSION = "2025-02-24.acacia"
"""The last API version with usage records."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox: `url` is the `api` base address for Stripe's client, `key` its only API key."""

    url: str
    key: str

    async def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET (or, with a body, POST) of a control URL such as `clock`, `faults`, `calls`, `cells?subscription_item=si_...`."""
        return await self.call("GET" if body is None else "POST", f"/_sandbox/{path}", json=body)

    async def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Any URL; the answer's JSON. Raises aiohttp.ClientResponseError for an error status."""
        headers = {"Authorization": f"Bearer {self.key}", "Stripe-Version": LEGACY_VERSION, **kwargs.pop("headers", {})}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.url + path, raise_for_status=True, **kwargs) as response,
        ):
            return await response.json()

    async def metered_item(self, *, backdated_s: int = 86_400, aggregate: str = "sum", **subscription: str) -> tuple[str, str, str]:
        """(customer, subscription, item): a customer subscribed to a new monthly metered price, since `backdated_s` seconds ago."""
        now = int((await self.control("clock"))["now"])
        customer = await self.call("POST", "/v1/customers", data={"name": "test"})
        price = await self.call(
            "POST",
            "/v1/prices",
            data={
                "currency": "usd",
                "unit_amount": "1",
                "product_data[name]": "usage",
                "recurring[interval]": "month",
                "recurring[usage_type]": "metered",
                "recurring[aggregate_usage]": aggregate,
            },
        )
        data = {"customer": customer["id"], "items[0][price]": price["id"], "backdate_start_date": str(now - backdated_s), **subscription}
        made = await self.call("POST", "/v1/subscriptions", data=data)
        return customer["id"], made["id"], made["items"]["data"][0]["id"]

    async def cells(self, item: str) -> dict[int, int]:
        """Quantity by second of one item."""
        return {cell["timestamp"]: cell["quantity"] for cell in (await self.control(f"cells?subscription_item={item}"))["data"]}


@asynccontextmanager
async def sandbox_server(directory: Path | str, *, seed: int = 0, rates: dict[str, float] | None = None, **knobs: Any) -> AsyncIterator[Sandbox]:
    """A sandbox with its state in `directory`; opened again on the same directory it continues. `knobs` are fields of `Knobs`;
    the rate limits are out of the way unless `calls_per_second` or `meter_calls_per_second` is given."""
    settings = Knobs(**{"calls_per_second": 1e6, "meter_calls_per_second": 1e6, **knobs})
    key = "sk_test_" + secrets.token_hex(12)
    plan = None if rates is None else Plan(seed, rates)
    async with listening("127.0.0.1", 0, Path(directory), api_key=key, knobs=settings, plan=plan) as url:
        yield Sandbox(url, key)
