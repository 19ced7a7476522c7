"""The naive account of a partition's log: what each record means and what each window holds. It shares no code with the product."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from tests.core.meterlog import Stored


class Naive:
    """One partition with plain meters (no history, no cuts): verdicts by offset and sums by (customer, meter, start)."""

    def __init__(self, meters: list[dict[str, Any]], *, dedup_ms: int, horizon_ms: int, future_ms: int, at_home: set[str]) -> None:
        self.meters = meters
        self.dedup_ms, self.horizon_ms, self.future_ms = dedup_ms, horizon_ms, future_ms
        self.at_home = at_home
        self.verdicts: dict[int, str] = {}
        self.sums: dict[tuple[str, str, int], Fraction] = defaultdict(Fraction)
        self.events: Counter[tuple[str, str, int]] = Counter()
        self.through: dict[tuple[str, str, int], int] = {}
        self.seen: dict[tuple[str, str, str], int] = {}
        self.now = 0
        self.final = -(10**18)

    def take(self, record: Stored) -> None:
        """Judge one record and count it."""
        self.now = max(self.now, record.timestamp_ms)
        self.final = max(self.final, self.now - self.horizon_ms)
        self.verdicts[record.offset] = self._verdict(record)

    def _verdict(self, record: Stored) -> str:
        try:
            event = json.loads((record.value or b"").decode(), parse_constant=_refuse, parse_float=str)
        except ValueError:
            return "not_json"
        if _depth(event) > 64:
            return "not_json"
        if not isinstance(event, dict) or event.get("specversion") != "1.0":
            return "not_cloudevents"
        if not all(isinstance(event.get(name), str) and event[name] for name in ("id", "source", "type", "subject")):
            return "missing_field"
        if event["type"].startswith("tidemark."):
            return "control"
        if record.key != event["subject"].encode():
            return "key_mismatch"
        if event["subject"] not in self.at_home:
            return "rerouted"
        return self._counted(event, record)

    def _counted(self, event: dict[str, Any], record: Stored) -> str:
        received = next((int(data) for name, data in record.headers if name == "tidemark-received-at"), record.timestamp_ms)
        at = _ms(event["time"]) if event.get("time") is not None else Fraction(received)
        if at is None:
            return "bad_time"
        if at > self.now + self.future_ms:
            return "future"
        if at < self.final:
            return "too_late"
        data = event.get("data")
        chosen = [m for m in self.meters if m["type"] == event["type"] and _matches(m.get("where", {}), data)]
        if not chosen:
            return "no_meter"
        amounts = [_amount(m, data) for m in chosen]
        for fault in ("missing_field", "bad_quantity", "out_of_range", "negative"):
            if fault in amounts:
                return fault
        identity = (event["subject"], event["source"], event["id"])
        first = self.seen.get(identity)
        if first is not None and (first // 3_600_000 + 1) * 3_600_000 + self.dedup_ms > self.now:
            return "duplicate"
        self.seen[identity] = self.now
        for meter, amount in zip(chosen, amounts, strict=True):
            start = int(at // 1000) // meter["window_s"] * meter["window_s"]
            key = (event["subject"], meter["slug"], start)
            assert isinstance(amount, Fraction)
            self.sums[key] += amount
            self.events[key] += 1
            self.through[key] = record.offset
        return "counted"


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _refuse(name: str) -> object:
    raise ValueError(name)


def _ms(text: str) -> Fraction | None:
    if len(text) < 20 or text[10] not in "Tt ":
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return Fraction((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds, 1000)


def _matches(where: dict[str, Any], data: Any) -> bool:
    return not where or (isinstance(data, dict) and all(name in data and data[name] == value for name, value in where.items()))


def _amount(meter: dict[str, Any], data: Any) -> Fraction | str:
    if meter["value"] == "count":
        return Fraction(1)
    if not isinstance(data, dict) or meter["value"] not in data:
        return "missing_field"
    value = data[meter["value"]]
    if isinstance(value, bool) or not isinstance(value, int | str):
        return "bad_quantity"
    try:
        number = Decimal(value)
        exact = Fraction(number)
    except (InvalidOperation, ValueError, OverflowError):
        return "bad_quantity"
    if isinstance(value, str) and (value != value.strip() or "_" in value or value.startswith("+")):
        return "bad_quantity"
    if abs(exact) > 10**18 or (exact * 10**12).denominator != 1:
        return "out_of_range"
    if exact < 0 and not meter.get("allow_negative"):
        return "negative"
    return exact
