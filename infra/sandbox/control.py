"""What Stripe does not have: the URLs under `/_sandbox/` that set the clock and the faults and show what stands.

They need the same key as the API.
- GET clock: {"now", "offset_s"}; POST clock: {"now": seconds} or {"advance_s": seconds}
- GET faults: the plan in force; POST faults: {"seed": 1, "rates": {"lost": 0.05}, "only": "usage_records"}, and {} ends all faults
- GET calls: counters by endpoint and status
- GET cells, or cells?subscription_item=si_...: every usage cell
- GET events, or events?type=v1.billing.meter.no_meter_found: every event, oldest first
- GET webhooks: every delivery with its state; POST webhooks: {"roll": "we_...", "expires_s": 86400} gives the endpoint a new secret
- GET rules: the rules with their sources
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infra.sandbox import events, form, webhook_deliveries, webhook_endpoints, webhook_targets
from infra.sandbox.calls import Calls
from infra.sandbox.engine import Engine, Request
from infra.sandbox.errors import ApiError
from infra.sandbox.faults import Plan
from infra.sandbox.rules import rules_table
from infra.sandbox.store import Store
from topics.errors import TidemarkError, UsageError

FAR_FUTURE_S = 32_503_680_000
"""The year 3000: far enough for any test, and years of monthly periods stay countable."""
_PLAN = "faults"


class ClockChange(BaseModel):
    """Body of POST /_sandbox/clock: exactly one of the two, in seconds."""

    model_config = ConfigDict(extra="forbid")

    now: float | None = Field(default=None, ge=0, le=FAR_FUTURE_S)
    advance_s: float | None = Field(default=None, ge=-FAR_FUTURE_S, le=FAR_FUTURE_S)

    @model_validator(mode="after")
    def _one(self) -> ClockChange:
        if (self.now is None) == (self.advance_s is None):
            raise ValueError("give exactly one of now and advance_s")
        return self


class FaultsChange(BaseModel):
    """Body of POST /_sandbox/faults; without rates there are no faults."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    rates: dict[str, float] = Field(default_factory=dict)
    only: str | None = None


class Roll(BaseModel):
    """Body of POST /_sandbox/webhooks: at Stripe a secret is rolled by a click, the old one works on for up to 24 hours."""

    model_config = ConfigDict(extra="forbid")

    roll: str
    expires_s: float = Field(default=86_400, ge=0, le=86_400)


def kept_plan(store: Store) -> Plan:
    """The fault plan of the last run, drawing anew: the same seed after a restart must not hit the same retries for ever."""
    kept = store.fact(_PLAN)
    if kept is None:
        return Plan()
    plan = Plan(kept["seed"], kept["rates"], kept["only"], kept["epoch"] + 1)
    keep_plan(store, plan)
    return plan


def keep_plan(store: Store, plan: Plan) -> None:
    """Writes the plan, so that a restart goes on with it."""
    with store.transaction():
        store.set_fact(_PLAN, {"seed": plan.seed, "rates": dict(plan.rates), "only": plan.only, "epoch": plan.epoch})


class Control:
    """Answers the control URLs over one engine."""

    def __init__(self, engine: Engine, calls: Calls) -> None:
        self._engine = engine
        self._calls = calls
        self._urls: dict[tuple[str, str], Callable[[Request], dict[str, Any]]] = {
            ("GET", "/_sandbox/clock"): lambda _: self._clock(),
            ("POST", "/_sandbox/clock"): self._set_clock,
            ("GET", "/_sandbox/faults"): lambda _: self._faults(),
            ("POST", "/_sandbox/faults"): self._set_faults,
            ("GET", "/_sandbox/calls"): lambda _: self._calls.view(),
            ("GET", "/_sandbox/cells"): self._cells,
            ("GET", "/_sandbox/events"): self._events,
            ("GET", "/_sandbox/webhooks"): lambda _: {"data": webhook_deliveries.shown(self._engine.store)},
            ("POST", "/_sandbox/webhooks"): self._roll,
            ("GET", "/_sandbox/rules"): lambda _: {"rules": [rule.as_dict() for rule in rules_table(self._engine.knobs)]},
        }

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Status and JSON body."""
        try:
            self._engine.check_key(request.headers.get("authorization", ""))
            handler = self._urls.get((request.method, request.path))
            if handler is None:
                known = ", ".join(f"{method} {path}" for method, path in self._urls)
                return 404, _told(f"the sandbox has no {request.method} {request.path}; it has {known}")
            return 200, json.dumps(handler(request)).encode()
        except ApiError as error:
            return error.status, error.body()
        except ValidationError as error:
            return 400, _told("; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()))
        except TidemarkError as error:
            return 400, _told(str(error))

    def _clock(self) -> dict[str, Any]:
        return {"now": self._engine.clock.now_s(), "offset_s": self._engine.clock.offset_s}

    def _set_clock(self, request: Request) -> dict[str, Any]:
        change = ClockChange.model_validate_json(request.body or b"{}")
        clock = self._engine.clock
        self._engine.keep()  # what has happened until now waits, and is kept, from now on and not from the instant to come
        target_s = change.now if change.now is not None else clock.now_s() + (change.advance_s or 0.0)
        if not 0 <= target_s <= FAR_FUTURE_S:
            raise UsageError("the clock must stay between 1970 and the year 3000")
        clock.set(target_s)
        self._engine.keep()
        return self._clock()

    def _faults(self) -> dict[str, Any]:
        plan = self._engine.plan
        return {"seed": plan.seed, "rates": dict(plan.rates), "only": plan.only}

    def _set_faults(self, request: Request) -> dict[str, Any]:
        change = FaultsChange.model_validate_json(request.body or b"{}")
        self._engine.plan = Plan(change.seed, change.rates, change.only)
        keep_plan(self._engine.store, self._engine.plan)
        return self._faults()

    def _cells(self, request: Request) -> dict[str, Any]:
        wanted = form.decode(request.query).get("subscription_item")
        store = self._engine.store
        items = [wanted] if isinstance(wanted, str) else store.items_with_cells()
        cells = [(item, second, quantity) for item in items for second, quantity in store.cells(item)]
        return {"data": [{"subscription_item": item, "timestamp": second, "quantity": quantity} for item, second, quantity in cells]}

    def _roll(self, request: Request) -> dict[str, Any]:
        change = Roll.model_validate_json(request.body or b"{}")
        store, now_s = self._engine.store, self._engine.clock.now_s()
        if webhook_targets.target(store, change.roll) is None:
            raise UsageError(f"there is no webhook endpoint or event destination {change.roll[:80]}")
        secret = webhook_endpoints.new_secret()
        with store.transaction():
            store.put(webhook_targets.rolled(store.any(change.roll) or {}, secret, now_s, change.expires_s))
        return {"secret": secret}

    def _events(self, request: Request) -> dict[str, Any]:
        wanted = form.decode(request.query).get("type")
        return {"data": [body for body in events.kept(self._engine.store) if wanted is None or body["type"] == wanted]}


def _told(sentence: str) -> bytes:
    return json.dumps({"error": {"type": "sandbox_error", "message": sentence}}).encode()
