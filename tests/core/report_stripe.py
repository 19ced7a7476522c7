"""A Stripe of a hundred lines for the report's simulations: cells with `set`, idempotency keys for 24 hours, a network that delays and loses.

It shares no code with the product or with infra/sandbox: where all three agree, the rules were read alike three times.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from sinks.outcomes import Answer
from sinks.readback import Summary
from tests.core.report_meters import MODERN, FakeMeters
from topics.quantity import ONE

DAY_MS = 86_400_000
PERIOD = Summary(0, 4_000_000_000, 0)
"""One billing period holds everything in these simulations."""


@dataclass
class Saved:
    """What the first request under a key got."""

    print: tuple[str, str]
    status: int
    body: str
    at_ms: int


@dataclass
class FakeStripe:
    """Cells, keys, and faults by chance. `sticky` says which keys get a saved 500."""

    chance: random.Random
    cells: dict[tuple[str, int], int] = field(default_factory=dict)
    keys: dict[str, Saved] = field(default_factory=dict)
    refuse: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    faults: dict[str, float] = field(default_factory=dict)
    sticky: Callable[[str], bool] = field(default=lambda _key: False)
    errors: list[str] = field(default_factory=list)
    posts: int = 0
    reads: int = 0
    is_down: bool = False

    def __post_init__(self) -> None:
        self.meters = FakeMeters(self.chance)

    def post(self, path: str, body: str, key: str, now_ms: int) -> Answer:
        """One request as it reaches Stripe."""
        self.posts += 1
        if self.is_down or self._strikes("503"):
            return Answer(503, "upstream")
        if self._strikes("429"):
            return self._error(429, type="invalid_request_error", code="rate_limit", message="slow down")
        saved = self.keys.get(key)
        if saved is not None and now_ms - saved.at_ms < DAY_MS:
            return self._replay(saved, (path, body), key)
        answer = self._execute(path, body, key, now_ms)
        if answer.status not in {401, 403}:  # refused at the door: nothing was begun, so nothing is saved
            self.keys[key] = Saved((path, body), answer.status or 0, answer.body, now_ms)
        return answer

    def summaries(self, item: str) -> list[Summary]:
        """The item's total of the one period."""
        return [PERIOD._replace(total=sum(units for (owner, _), units in self.cells.items() if owner == item))]

    def event_summaries(self, name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[Summary]:
        """A customer's usage by hours or days."""
        self.reads += 1
        found = self.meters.usage(name, customer, grouping, start_s, end_s)
        return [Summary(start, end, int(value * ONE)) for start, end, value in found]

    def _replay(self, saved: Saved, print_: tuple[str, str], key: str) -> Answer:
        if saved.print != print_:
            self.errors.append(f"{key}: {saved.print} then {print_}")
            return self._error(400, type="idempotency_error", message="Keys for idempotent requests can only be used with the same parameters")
        return Answer(saved.status, saved.body, {"idempotent-replayed": "true"})

    def _meter_event(self, body: str, key: str, now_ms: int) -> Answer:
        fails = self.sticky(key) or self._strikes("500")
        said: tuple[int, dict[str, object]] | None = None
        if not fails or self.chance.random() < 0.5:
            said = self.meters.take(body, key, now_ms)
        if fails or said is None:
            return self._error(500, type="api_error", message="sorry")
        return Answer(said[0], json.dumps(said[1]), {"request-id": f"req_{self.posts}"})

    def _execute(self, path: str, body: str, key: str, now_ms: int) -> Answer:
        if path == MODERN:
            return self._meter_event(body, key, now_ms)
        match = re.fullmatch(r"/v1/subscription_items/([^/]+)/usage_records", path)
        assert match is not None, path
        form = {name: values[0] for name, values in parse_qs(body).items()}
        assert form["action"] == "set"
        item, second, units = match[1], int(form["timestamp"]), int(form["quantity"])
        if item in self.refuse:
            status, error = self.refuse[item]
            return self._error(status, **error)
        fails = self.sticky(key) or self._strikes("500")
        if not fails or self.chance.random() < 0.5:  # a 500 says nothing about its effect
            self.cells[item, second] = units
        if fails:
            return self._error(500, type="api_error", message="sorry")
        record = {"id": "mbur_1", "object": "usage_record", "quantity": units, "subscription_item": item, "timestamp": second}
        return Answer(200, json.dumps(record), {"request-id": f"req_{self.posts}"})

    def _strikes(self, fault: str) -> bool:
        return self.chance.random() < self.faults.get(fault, 0.0)

    @staticmethod
    def _error(status: int, **error: str) -> Answer:
        return Answer(status, json.dumps({"error": error}))
