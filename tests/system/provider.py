"""The sandbox as Stripe's official client sees it: subscriptions to bill, and what stands on their items."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import stripe

ACACIA = "2025-02-24.acacia"
"""The last API version that has usage records."""


class Subscribed(NamedTuple):
    """One customer's subscription: its items by meter, and when the sandbox says that its current period began and its cycle is anchored."""

    items: dict[str, str]
    period_start_s: int
    anchor_s: int


class Provider:
    """One sandbox, by its address and key."""

    def __init__(self, api_base: str, api_key: str) -> None:
        self.api_base = api_base
        self._key = api_key
        self._client = stripe.StripeClient(api_key, stripe_version=ACACIA, base_addresses={"api": api_base}, max_network_retries=3)

    def post(self, path: str, **parameters: Any) -> dict[str, Any]:
        """POST by the official client."""
        found: dict[str, Any] = self._client.raw_request("post", path, **parameters).data
        return found

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET by the official client."""
        found: dict[str, Any] = self._client.raw_request("get", path, **parameters).data
        return found

    def cancel(self, subscription: str) -> dict[str, Any]:
        """Ends a subscription now, and bills now what was used."""
        found: dict[str, Any] = self._client.raw_request("delete", f"/v1/subscriptions/{subscription}", invoice_now=True).data
        return found

    def told(self, of: str | None = None) -> list[dict[str, Any]]:
        """The webhooks that there are, by state and answer; `of` names an object: only of events about it."""
        events = {row["id"] for row in self.get("/v1/events", limit=100)["data"] if of in {None, row["data"]["object"]["id"]}}
        return [row for row in self.control("webhooks")["data"] if row["event"] in events]

    def subscribe(self, customer: str, meters: tuple[str, ...], since_s: int, anchor_s: int | None = None) -> Subscribed:
        """A customer with one monthly metered price for each meter, subscribed since an instant in the past."""
        prices = [self._price(meter) for meter in meters]
        made = self.post("/v1/customers", name=customer)
        anchored = {} if anchor_s is None else {"billing_cycle_anchor": anchor_s, "proration_behavior": "none"}
        items = [{"price": price} for price in prices]
        found = self.post("/v1/subscriptions", customer=made["id"], items=items, backdate_start_date=since_s, **anchored)
        by_price = {item["price"]["id"]: item["id"] for item in found["items"]["data"]}
        by_meter = {meter: by_price[price] for meter, price in zip(meters, prices, strict=True)}
        return Subscribed(by_meter, found["current_period_start"], found["billing_cycle_anchor"])

    def _price(self, meter: str) -> str:
        recurring = {"interval": "month", "usage_type": "metered", "aggregate_usage": "sum"}
        made = self.post("/v1/prices", currency="usd", unit_amount=1, product_data={"name": meter}, recurring=recurring)
        return str(made["id"])

    def usage(self, item: str) -> int:
        """What the current period of an item adds up to, by Stripe's own summary."""
        page = self.get(f"/v1/subscription_items/{item}/usage_record_summaries", limit=100)
        return int(page["data"][0]["total_usage"])

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What Stripe does not have: `cells`, `calls`, `faults`."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api_base}/_sandbox/{path}", data, {"Authorization": f"Bearer {self._key}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    @contextmanager
    def sound(self) -> Iterator[None]:
        """No faults for the block, where a test itself is Stripe's client: a 500 stands for its key, and the official client does not try another."""
        plan = self.control("faults")
        self.control("faults", {})
        try:
            yield
        finally:
            self.control("faults", plan)

    def cells(self, item: str) -> dict[int, int]:
        """Second → quantity of everything that stands on an item."""
        return {cell["timestamp"]: cell["quantity"] for cell in self.control(f"cells?subscription_item={item}")["data"]}
