"""Stripe in this process: the sandbox's own engine on a clock that is a number, with its faults, and no socket in between."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlencode

from infra.sandbox import engine, ids
from infra.sandbox.clock import Clock
from infra.sandbox.engine import Admitted, Answer, Engine, Request
from infra.sandbox.faults import Plan
from infra.sandbox.knobs import Knobs
from infra.sandbox.limiter import Limiter
from infra.sandbox.store import Store
from sinks.outcomes import Answer as Heard

KEY: Final = "sk_test_year"
LEGACY: Final = "2025-02-24.acacia"
MODERN: Final = "2026-10-28.endive"
QUIET: Final = Plan()


class NumberClock(Clock):
    """The sandbox's clock, as a number that the year moves."""

    def __init__(self, store: Store, at_s: float) -> None:
        super().__init__(store)
        self.at_s = at_s

    def now_s(self) -> float:
        """The instant."""
        return self.at_s

    def set(self, now_s: float) -> None:
        """It is later now."""
        self.at_s = now_s


class Refused(AssertionError):
    """Stripe refused what only this simulation asks for."""

    def __init__(self, sentence: str, status: int, code: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


class Shop:
    """One account. `call` is what the simulation itself asks, without faults; `heard` is a call of the product's, with them."""

    def __init__(self, directory: Path, at_s: float, seed: int, rates: dict[str, float], **knobs: Any) -> None:
        # Ids are drawn by the seed too: it is one history.
        drawn = SimpleNamespace(urandom=random.Random(seed).randbytes)
        self._patches = [patch.object(module, "os", drawn) for module in (ids, engine)]
        for each in self._patches:
            each.start()
        self.store = Store(directory)
        self.clock = NumberClock(self.store, at_s)
        self.knobs = Knobs(**{"calls_per_second": 1e9, "meter_calls_per_second": 1e9, **knobs})
        self.faults = Plan(seed, rates)
        self.engine = Engine(self.store, self.clock, self.knobs, KEY, QUIET, Limiter(self.knobs))
        self.held: list[Admitted] = []
        self.is_down = False
        self.stands_still = False
        self.statuses: dict[tuple[str, int], int] = {}

    def move_to(self, at_s: float) -> None:
        """Time passes: what hung lands, what is due happens; nothing of it while everything stands still."""
        if self.stands_still:
            self.clock.at_s = at_s
            return
        held, self.held = self.held, []
        for admitted in held:
            self.engine.execute(admitted)
        self.clock.at_s = at_s
        self.engine.keep()

    def call(self, method: str, path: str, params: dict[str, Any] | None = None, version: str = LEGACY) -> dict[str, Any]:
        """A call of the simulation's own; raises Refused."""
        answer = self._executed(_request(method, path, params or {}, None, version, self.clock.at_s))
        body: dict[str, Any] = json.loads(answer.body)
        if answer.status >= 400:
            raise Refused(f"{method} {path}: {body}", answer.status, str(body["error"].get("code") or ""))
        return body

    def pages(self, path: str, params: dict[str, Any] | None = None, version: str = LEGACY) -> Iterator[dict[str, Any]]:
        """All rows of a list."""
        after: dict[str, Any] = {}
        while True:
            page = self.call("GET", path, {**(params or {}), "limit": 100, **after}, version)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    def heard(self, method: str, path: str, body: str, key: str | None, version: str) -> Heard:
        """What the product hears of a call of its own."""
        if self.is_down:
            return Heard(None, sent=False, error="connection refused")
        self.engine.plan = self.faults
        try:
            answer = self._faulted(_request(method, path, body, key, version, self.clock.at_s))
        finally:
            self.engine.plan = QUIET
        if answer is None or answer.fault in {"lost", "cut"}:
            return Heard(None, error="the connection broke")
        kind = kind_of(answer)
        self.statuses[kind, answer.status] = self.statuses.get((kind, answer.status), 0) + 1
        return Heard(answer.status, answer.body.decode(), {name.lower(): value for name, value in answer.headers.items()})

    def _faulted(self, request: Request) -> Answer | None:
        admitted = self.engine.admit(request)
        if isinstance(admitted, Admitted):
            if admitted.fault == "hold":
                self.held.append(admitted)
                return None
            return self.engine.execute(admitted)
        return admitted

    def _executed(self, request: Request) -> Answer:
        admitted = self.engine.admit(request)
        return self.engine.execute(admitted) if isinstance(admitted, Admitted) else admitted

    def close(self) -> None:
        """Close the store; ids are drawn as always again."""
        for each in self._patches:
            each.stop()
        self.store.close()


class Access:
    """`sinks.stripe.access.Access` over the shop, without faults: it is the command line's."""

    def __init__(self, shop: Shop, version: str = LEGACY) -> None:
        self._shop = shop
        self._version = version

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET."""
        return self._shop.call("GET", path, parameters, self._version)

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST."""
        return self._shop.call("POST", path, parameters, self._version)

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """All rows."""
        return self._shop.pages(path, parameters, self._version)


def kind_of(answer: Answer) -> str:
    """The kind of a refusal; a timestamp's, a period's and an identifier's have names of their own."""
    if answer.status != 400:
        return answer.error or ""
    error: dict[str, str] = json.loads(answer.body)["error"]
    if error.get("param") == "timestamp" or error.get("code", "").startswith("timestamp_"):
        return "timestamp"
    return "identifier_taken" if "already exists with identifier" in error["message"] else f"{error['type']} ({error['message'][:60]})"


def _request(method: str, path: str, params: dict[str, Any] | str, key: str | None, version: str, at_s: float) -> Request:
    form = params if isinstance(params, str) else urlencode(list(_flat(params)))
    headers = {"authorization": f"Bearer {KEY}", "stripe-version": version, "content-type": "application/x-www-form-urlencoded"}
    if key is not None:
        headers["idempotency-key"] = key
    if method == "POST":
        return Request(method, path, "", headers, form.encode(), at_s)
    return Request(method, path, form, headers, b"", at_s)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Stripe's form: `a[b][0]=c`."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}[{key}]" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _flat(each, f"{name}[{number}]")
    elif value is not None:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


Call = Callable[..., dict[str, Any]]
