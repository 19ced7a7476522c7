"""What one record says, read from its bytes alone: an event, or the first reason why it is none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_BYTES = 262_144
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
INSTANT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")


class Stored(NamedTuple):
    """One record of `usage.events` as a consumer gets it; `timestamp_ms` is its LogAppendTime."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def header_number(self, name: str) -> int | None:
        """The last header of that name as a number."""
        found = dict(self.headers).get(name)
        return int(found) if found is not None and found.isdigit() else None


class Number(NamedTuple):
    """The digits of a JSON number, unread."""

    digits: str


@dataclass(frozen=True)
class Meter:
    """One meter: `value` None counts events; `where` are members of `data` that must be equal; `window_s` its grid.

    `later` are grids that hold from an instant on: (from second, window in seconds), in order.
    """

    slug: str
    event_type: str
    value: str | None = None
    where: tuple[tuple[str, object], ...] = ()
    window_s: int = 3600
    allow_negative: bool = False
    later: tuple[tuple[int, int], ...] = ()

    def window_at(self, instant_s: int) -> int:
        """The grid at an instant, in seconds."""
        return [self.window_s, *(window_s for from_s, window_s in self.later if from_s <= instant_s)][-1]

    def takes(self, event: dict[str, Any]) -> bool:
        """Whether the meter wants this event."""
        if event["type"] != self.event_type:
            return False
        data = event.get("data")
        return not self.where or (isinstance(data, dict) and all(name in data and data[name] == wanted for name, wanted in self.where))


def event_of(record: Stored) -> dict[str, Any] | str:
    """The event of a record, or why it has none."""
    size = len(record.key or b"") + len(record.value or b"")
    size += sum(len(name.encode()) + len(data or b"") for name, data in record.headers)
    if size > MOST_BYTES:
        return "too_large"
    try:
        document = json.loads((record.value or b"").decode("utf-8"), parse_constant=_refused, parse_float=Number, parse_int=_integer)
    except (ValueError, RecursionError):
        return "not_json"
    if _depth(document) > 64:
        return "not_json"
    if not isinstance(document, dict) or document.get("specversion") != "1.0":
        return "not_cloudevents"
    for name in ("id", "source", "type", "subject"):
        if not isinstance(document.get(name), str) or document[name] == "":
            return "missing_field"
    return document


def _refused(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int | Number:
    return int(digits) if len(digits) < 30 else Number(digits)


def _depth(value: object) -> int:
    """How deep arrays and objects nest, without recursion."""
    deepest, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        deepest += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return deepest


def instant_us(text: object) -> int | None:
    """Microseconds of an RFC 3339 instant (further digits are cut off); None where it is none."""
    match = INSTANT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        naive = datetime.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    if int(clock[6:]) > 59:
        return None
    shift = timedelta()
    if zone not in "Zz":
        shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6])) * (-1 if zone[0] == "-" else 1)
    whole_s = (naive - EPOCH) // timedelta(seconds=1) - shift // timedelta(seconds=1)
    return whole_s * 1_000_000 + int(((fraction or ".")[1:] + "000000")[:6])


def quantity_of(event: dict[str, Any], meter: Meter) -> Fraction | str:
    """What the event adds to the meter, or why it cannot."""
    if meter.value is None:
        return Fraction(1)
    data = event.get("data")
    if not isinstance(data, dict) or meter.value not in data:
        return "missing_field"
    value = data[meter.value]
    if isinstance(value, Number):
        text = value.digits
    elif isinstance(value, str | int) and not isinstance(value, bool):
        text = str(value)
    else:
        return "bad_quantity"
    if NUMBER.fullmatch(text) is None:
        return "bad_quantity"
    exact = Decimal(text)
    if not exact.is_zero() and not -13 < exact.adjusted() <= 18:
        return "out_of_range"
    number = Fraction(exact)
    if abs(number) > 10**18 or (number * 10**12).denominator != 1:
        return "out_of_range"
    if number < 0 and not meter.allow_negative:
        return "negative"
    return number


def plain(number: Fraction) -> str:
    """A number as decimal text without exponent or trailing zeros."""
    whole, rest = divmod(abs(number), 1)
    text = str(whole)
    if rest:
        text += "." + f"{int(rest * 10**12):012d}".rstrip("0")
    return "-" + text if number < 0 else text
