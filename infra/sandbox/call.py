"""What a handler is given: the validated call, the instant, the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.sandbox import errors
from infra.sandbox.knobs import Knobs
from infra.sandbox.moment import Moment, clock_of
from infra.sandbox.store import Store

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One validated call. `now_s` is the sandbox's clock, the same for everything that the call does."""

    url: str
    object_id: str
    params: Json
    version: str
    now_s: float
    store: Store
    knobs: Knobs
    request: str = ""
    """The Idempotency-Key, or where there is none the request id: what Stripe names a request by afterwards."""

    @property
    def now(self) -> int:
        """The second, as Stripe stamps objects."""
        return int(self.now_s)

    def the(self, kind: str, object_id: str, *, param: str, in_url: bool = False) -> Json:
        """The object with this id, or Stripe's refusal."""
        body = self.store.get(kind, object_id)
        if body is None:
            raise errors.no_such(kind, object_id, param=param, in_url=in_url)
        return body

    def addressed(self, kind: str, param: str = "id") -> Json:
        """The object that the URL names, or 404."""
        return self.the(kind, self.object_id, param=param, in_url=True)


def now_of(call: Call, customer_id: str) -> float:
    """The instant for one customer: the frozen time of the test clock that it is on, else the sandbox's clock."""
    customer = call.store.get("customer", customer_id)
    clock_id = None if customer is None else customer["test_clock"]
    clock = None if clock_id is None else call.store.get("test_helpers.test_clock", clock_id)
    return call.now_s if clock is None else float(clock["frozen_time"])


def moment_of(call: Call, customer_id: str) -> Moment:
    """The instant of a call in the life of one customer's objects."""
    clock = clock_of(call.store.get("customer", customer_id))
    return Moment(call.store, call.knobs, now_of(call, customer_id), clock, call.now_s)
