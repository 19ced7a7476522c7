"""Drives the sandbox's engine without HTTP: the same bytes in, the same status, headers and JSON out, thousands of calls a second."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from infra.sandbox.clock import Clock
from infra.sandbox.engine import Admitted, Answer, Engine, Request
from infra.sandbox.faults import Plan
from infra.sandbox.knobs import Knobs
from infra.sandbox.limiter import Limiter
from infra.sandbox.store import Store
from infra.sandbox.testing import LEGACY_VERSION

KEY = "sk_test_driver"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    json: Any

    @property
    def error(self) -> Any:
        """The error object, or {}."""
        return self.json.get("error", {})


class Driver:
    """One engine on one directory; `with` closes it."""

    def __init__(self, directory: Path, *, knobs: Knobs | None = None, plan: Plan | None = None) -> None:
        self.store = Store(directory)
        knobs = knobs or Knobs(calls_per_second=1e9, meter_calls_per_second=1e9)
        self.engine = Engine(self.store, Clock(self.store), knobs, KEY, plan or Plan(), Limiter(knobs))

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def request(self, method: str, path: str, params: Mapping[str, object] | None = None, *, key: str | None = None, **headers: str) -> Request:
        """A request as the HTTP face would hand it over."""
        form = urlencode(params or {})
        all_headers = {"authorization": f"Bearer {KEY}", "stripe-version": LEGACY_VERSION}
        if method == "POST":
            all_headers["content-type"] = "application/x-www-form-urlencoded"
        if key is not None:
            all_headers["idempotency-key"] = key
        all_headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        posted = form.encode() if method == "POST" else b""
        return Request(method, path, "" if method == "POST" else form, all_headers, posted, time.monotonic())

    def call(self, method: str, path: str, params: Mapping[str, object] | None = None, *, key: str | None = None, **headers: str) -> Reply:
        """Admits and executes at once."""
        return self.finish(self.engine.admit(self.request(method, path, params, key=key, **headers)))

    def finish(self, outcome: Admitted | Answer) -> Reply:
        """Executes what was admitted; gives the answer."""
        answer = self.engine.execute(outcome) if isinstance(outcome, Admitted) else outcome
        return Reply(answer.status, answer.headers, json.loads(answer.body))

    def post(self, path: str, params: Mapping[str, object] | None = None, *, key: str | None = None, **headers: str) -> Reply:
        """POST."""
        return self.call("POST", path, params, key=key, **headers)

    def get(self, path: str, params: Mapping[str, object] | None = None, **headers: str) -> Reply:
        """GET."""
        return self.call("GET", path, params, **headers)

    def made(self, path: str, params: Mapping[str, object]) -> Any:
        """POST that must succeed; the object."""
        reply = self.post(path, params)
        assert reply.status == 200, reply.json
        return reply.json

    @property
    def now(self) -> int:
        """The second on the sandbox's clock."""
        return int(self.engine.clock.now_s())

    def metered_price(self, aggregate: str = "sum", *, interval: str = "month", **more: str) -> str:
        """The id of a new metered price."""
        params = {
            "currency": "usd",
            "unit_amount": "1",
            "product_data[name]": "usage",
            "recurring[interval]": interval,
            "recurring[usage_type]": "metered",
            **more,
        }
        if "recurring[meter]" not in more:
            params["recurring[aggregate_usage]"] = aggregate
        return str(self.made("/v1/prices", params)["id"])

    def meter(self, event_name: str = "calls", **more: str) -> str:
        """The id of a new meter that sums."""
        params = {"display_name": event_name, "event_name": event_name, "default_aggregation[formula]": "sum", **more}
        return str(self.made("/v1/billing/meters", params)["id"])

    def emit(self, customer: str, value: object, *, event_name: str = "calls", key: str | None = None, **more: object) -> Reply:
        """A meter event; a field of `more` that is None is left out."""
        params = {"event_name": event_name, "payload[stripe_customer_id]": customer, "payload[value]": value, **more}
        return self.post("/v1/billing/meter_events", {name: each for name, each in params.items() if each is not None}, key=key)

    def subscribed(self, price: str, *, backdated_s: int = 86_400, **more: object) -> tuple[str, str]:
        """(subscription, item) of a new customer on this price."""
        customer = self.made("/v1/customers", {})["id"]
        params = {"customer": customer, "items[0][price]": price, "backdate_start_date": self.now - backdated_s, **more}
        subscription = self.made("/v1/subscriptions", params)
        return subscription["id"], subscription["items"]["data"][0]["id"]

    def use(self, item: str, *, key: str | None = None, **params: object) -> Reply:
        """A usage record."""
        return self.post(f"/v1/subscription_items/{item}/usage_records", params, key=key)

    def cells(self, item: str) -> dict[int, int]:
        """Quantity by second."""
        return dict(self.store.cells(item))

    def totals(self, item: str, **params: object) -> list[int]:
        """`total_usage` of the listed summaries, newest period first."""
        reply = self.get(f"/v1/subscription_items/{item}/usage_record_summaries", params)
        assert reply.status == 200, reply.json
        return [summary["total_usage"] for summary in reply.json["data"]]
