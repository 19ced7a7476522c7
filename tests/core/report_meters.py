"""Billing Meters of the model Stripe: events with identifiers for a day, counted or refused after the answer, replaced within an hour or added up.

Like `report_stripe.py` it shares no code with the product or the sandbox.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import parse_qsl

DAY_MS = 86_400_000
BUCKETS_S = {"hour": 3600, "day": 86_400}
MODERN = "/v1/billing/meter_events"


@dataclass
class Event:
    """One event that was received."""

    name: str
    customer: str
    second: int
    value: Fraction
    key: str
    at_ms: int
    counts: bool


@dataclass
class FakeMeters:
    """`windows`: how each event name adds up (hour, day, sum). `refuses` says which events are refused after their 200."""

    chance: random.Random
    windows: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    identifiers: dict[str, int] = field(default_factory=dict)
    refuses: Callable[[Event], bool] = field(default=lambda _event: False)
    errors: list[str] = field(default_factory=list)

    def take(self, body: str, key: str, now_ms: int) -> tuple[int, dict[str, object]]:
        """(status, JSON) of one event as it is executed."""
        form = dict(parse_qsl(body, strict_parsing=True))
        name, identifier, second = form["event_name"], form["identifier"], int(form["timestamp"])
        if len(identifier) > 100:
            self.errors.append(f"identifier of {len(identifier)} characters")
        if name not in self.windows:
            return 400, {"error": {"type": "invalid_request_error", "message": f'No active meter found for event name "{name}".'}}
        taken_ms = self.identifiers.get(identifier)
        if taken_ms is not None and now_ms - taken_ms < DAY_MS:
            return 400, {"error": {"type": "invalid_request_error", "message": f"An event already exists with identifier {identifier}."}}
        if not -35 * 86_400 <= second - now_ms // 1000 <= 300:
            return 400, {"error": {"type": "invalid_request_error", "param": "timestamp", "message": "The timestamp is too far in the past."}}
        if taken_ms is not None and self.windows[name] == "sum":  # where it replaces itself that changes nothing
            self.errors.append(f"{identifier[:12]} is sent again after {(now_ms - taken_ms) / 3_600_000:.0f} hours, when it is forgotten")
        self.identifiers[identifier] = now_ms
        event = Event(name, form["payload[stripe_customer_id]"], second, Fraction(form["payload[value]"]), key, now_ms, True)
        event.counts = not self.refuses(event)
        self.events.append(event)
        payload = {key[8:-1]: value for key, value in form.items() if key.startswith("payload[")}
        said = {"object": "billing.meter_event", "event_name": name, "identifier": identifier, "timestamp": second, "payload": payload}
        return 200, {**said, "created": now_ms // 1000, "livemode": False}

    def standing(self, name: str, customer: str) -> list[Event]:
        """The events that count: all, or the one received last of each UTC hour or day."""
        mine = [event for event in self.events if event.counts and (event.name, event.customer) == (name, customer)]
        length_s = BUCKETS_S.get(self.windows.get(name, "sum"))
        return mine if length_s is None else list({event.second // length_s: event for event in mine}.values())

    def usage(self, name: str, customer: str, grouping: str, start_s: int, end_s: int) -> list[tuple[int, int, Fraction]]:
        """(start, end, usage) of the hours or days that hold anything."""
        found: dict[int, Fraction] = {}
        for event in self.standing(name, customer):
            if start_s <= event.second < end_s:
                first = event.second - event.second % BUCKETS_S[grouping]
                found[first] = found.get(first, Fraction(0)) + event.value
        return [(first, first + BUCKETS_S[grouping], value) for first, value in sorted(found.items(), reverse=True)]
