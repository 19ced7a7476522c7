"""From the bytes on `usage.events` to an event, or to the first reason why it is none (SURFACES lists the order).

CloudEvents 1.0, JSON format §2, structured mode. The fast decoder reads typed fields; whatever it refuses is read again slowly to name the fault.
"""

from __future__ import annotations

import json
from typing import Final, Literal, NamedTuple

import msgspec

from topics.batch import Headers
from topics.origin import MAX_REPLAY_BYTES, ORIGIN_HEADERS, REPLAY
from topics.quantity import Digits

MAX_EVENT_BYTES: Final = 256 * 1024
"""Key + value + headers. Four times a generous event; the rejected copy with our headers still fits its topic twice over."""
MAX_DEPTH: Final = 64
"""Deeper JSON has no use here and costs a recursive reader its stack."""
CONTROL_PREFIX: Final = "tidemark."

Reason = Literal[
    "too_large", "not_json", "not_cloudevents", "missing_field", "bad_control", "key_mismatch", "routing_loop", "bad_time",
    "future", "too_late", "no_meter", "bad_quantity", "out_of_range", "negative",
]  # fmt: skip



class Event(msgspec.Struct, gc=False):
    """One CloudEvent as it was sent; `time` None means "when it was received"; `data` keeps numbers as int or Digits."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str | None = None
    data: object = None


class Rejection(NamedTuple):
    """Why a record is not counted: a reason of SURFACES, a sentence for a person, and the event where one could be read."""

    reason: Reason
    sentence: str
    event: Event | None = None


_fast = msgspec.json.Decoder(Event, float_hook=Digits).decode


def size_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Key + value + headers, as `too_large` counts them; without what our own re-sending adds to an event that was small enough."""
    counted = (header for header in headers if len(header[1] or b"") > _OURS.get(header[0], -1))
    return len(key or b"") + len(value or b"") + sum(len(name.encode()) + len(data or b"") for name, data in counted)


_OURS: Final = dict.fromkeys(ORIGIN_HEADERS, 20) | {REPLAY: MAX_REPLAY_BYTES}
"""Headers of ours, and up to how many bytes of each are not counted."""


def parse_event(value: bytes | None) -> Event | Rejection:
    """The event in `value`, or the first of not_json, not_cloudevents, missing_field."""
    if not value:
        return Rejection("not_json", "the record's value is empty")
    if not value.isascii() and not _is_utf8(value):
        return Rejection("not_json", "the value is not valid UTF-8")
    if len(value) > 2 * MAX_DEPTH and value.count(b"{") + value.count(b"[") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        return Rejection("not_json", f"the JSON is nested deeper than {MAX_DEPTH}")
    try:
        event = _fast(value)
    except msgspec.ValidationError:
        return _parse_slowly(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection("not_json", f"the value is no JSON: {error}")
    if event.specversion != "1.0":
        return Rejection("not_cloudevents", f"specversion is {event.specversion[:20]!r}, not '1.0'")
    if not (event.id and event.source and event.type and event.subject):
        empty = next(name for name in ("id", "source", "type", "subject") if not getattr(event, name))
        return Rejection("missing_field", f"{empty} is empty", event)
    return event


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def depth(value: bytes) -> int:
    """How deep brackets nest outside strings."""
    deepest = level = 0
    in_string = escaped = False
    for byte in value:
        if in_string:
            in_string = escaped or byte != 0x22
            escaped = byte == 0x5C and not escaped
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


def _int(digits: str) -> int | Digits:
    # Python refuses to read integers of more than 4300 digits; 60 are far beyond any quantity.
    return int(digits) if len(digits) < 60 else Digits(digits)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _parse_slowly(value: bytes) -> Event | Rejection:
    """A JSON text whose fields are not of the types that the fast decoder wants: say which."""
    try:
        document = json.loads(value, parse_int=_int, parse_float=Digits, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError) as error:
        return Rejection("not_json", f"the value is no JSON: {error}")
    if not isinstance(document, dict):
        return Rejection("not_cloudevents", "the value is no JSON object")
    # type() and not isinstance: the digits of a number are kept as text, and a number is no id.
    if type(document.get("specversion")) is not str or document["specversion"] != "1.0":
        return Rejection("not_cloudevents", f"specversion is {str(document.get('specversion'))[:20]!r}, not '1.0'")
    for name in ("id", "source", "type", "subject"):
        if type(document.get(name)) is not str or not document[name]:
            return Rejection("missing_field", f"{name} is missing or no non-empty string")
    time = document.get("time")
    if time is not None and type(time) is not str:
        time = "(no string)"
    return Event("1.0", document["id"], document["source"], document["type"], document["subject"], time, document.get("data"))
