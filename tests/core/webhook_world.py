"""A Stripe of a few dictionaries for the receiver's tests: objects change, each change is an event whose payload says what the object was then."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sinks.stripe.access import Eras
from sinks.stripe.refusal import StripeRefusal
from sinks.stripe.suitability import Terms

Json = dict[str, Any]
DAY_S = 86_400
START_S = 1_700_000_000
TERMS = (Terms("calls", price="price_1"), Terms("calls_new", price="price_2"))


def price(name: str = "price_1") -> Json:
    """A legacy metered price."""
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "metered", "aggregate_usage": "sum", "meter": None}
    return {"id": name, "object": "price", "active": True, "currency": "usd", "recurring": recurring, "metadata": {}}


@dataclass
class World:
    """`objects` by path; `calls` counts what is asked; `events` are bodies in the order in which they happened."""

    objects: dict[str, Json] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    down: bool = False

    @property
    def eras(self) -> Eras:
        """The same dictionaries under both versions."""
        return Eras(self, self)

    def get(self, path: str, **_: Any) -> Json:
        """One object, or 404."""
        self._ask(path)
        if path not in self.objects:
            raise StripeRefusal(404, "resource_missing", f"No such object: {path}")
        return copy.deepcopy(self.objects[path])

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> Json:
        """The receiver never writes."""
        raise AssertionError(f"POST {path}")

    def pages(self, path: str, **parameters: Any) -> Iterator[Json]:
        """The subscriptions of a customer, as listed by default or canceled ones."""
        self._ask(path)
        for name, body in sorted(self.objects.items()):
            if name.startswith(path + "/") and body.get("customer") == parameters.get("customer"):
                canceled = body["status"] == "canceled"
                if canceled == (parameters.get("status") == "canceled"):
                    yield copy.deepcopy(body)

    def _ask(self, path: str) -> None:
        self.calls.append(path)
        if self.down:
            raise StripeRefusal(503, "", "unavailable")

    def happen(self, event_type: str, body: Json) -> bytes:
        """An event about an object as it is now."""
        created = START_S + len(self.events)
        event = {"id": f"evt_{len(self.events)}", "object": "event", "type": event_type, "created": created, "livemode": False}
        self.events.append(json.dumps({**event, "data": {"object": body}}).encode())
        return self.events[-1]

    def customer(self, name: str = "cus_1", **more: Any) -> Json:
        """A customer that events call acme."""
        body = {"id": name, "object": "customer", "metadata": {"tidemark_customer": "acme"}, **more}
        self.objects[f"/v1/customers/{name}"] = body
        return body

    def subscribe(
        self, name: str = "sub_1", *, customer: str = "cus_1", item: str = "si_1", of: str = "price_1", event: str = "created", **more: Any
    ) -> bytes:
        """A subscription made, or changed as `event` says."""
        row = {"id": item, "price": price(of), "subscription": name}
        body = {
            "id": name,
            "object": "subscription",
            "customer": customer,
            "status": "active",
            "billing_cycle_anchor": START_S,
            "start_date": START_S,
            "current_period_start": START_S,
            "current_period_end": START_S + 30 * DAY_S,
            "items": {"data": [row], "has_more": False},
            **more,
        }
        self.objects[f"/v1/subscriptions/{name}"] = body
        return self.happen(f"customer.subscription.{event}", body)

    def invoice(self, status: str, event: str, *, name: str = "in_1", at_s: int = 0, **more: Any) -> bytes:
        """An invoice of the first period, in a status."""
        end_s = START_S + 30 * DAY_S
        line = {"id": "il_1", "subscription_item": "si_1", "price": price(), "period": {"start": START_S, "end": end_s}}
        times = {"open": "finalized_at", "paid": "paid_at", "void": "voided_at"}
        held = self.objects.get(f"/v1/invoices/{name}", {}).get("status_transitions", {})
        body = {
            "id": name,
            "object": "invoice",
            "created": end_s,
            "status": status,
            "customer": "cus_1",
            "subscription": "sub_1",
            "currency": "usd",
            "amount_due": 500,
            "status_transitions": held if status == "draft" else {**held, times[status]: end_s + at_s},
            "lines": {"data": [line], "has_more": False},
            **more,
        }
        self.objects[f"/v1/invoices/{name}"] = body
        return self.happen(f"invoice.{event}", body)
