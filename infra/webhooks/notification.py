"""A verified webhook, read: only names are taken from it (what happened, to which object). What the object is like is asked of Stripe. Pure.

Snapshot events: https://docs.stripe.com/api/events/object · thin events: https://docs.stripe.com/event-destinations#thin-payload
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

_ID: Final = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)
"""Ids go into URLs: nothing but what Stripe's ids are made of may come from a body."""


class Notification(NamedTuple):
    """What a webhook names. `object_id` is empty where the object has none (an invoice to come); `created_s` is the event's own."""

    id: str
    type: str
    created_s: int
    livemode: bool
    thin: bool
    object_id: str = ""
    customer: str = ""
    subscription: str = ""


def read(body: bytes) -> Notification | None:
    """The notification, or None where the bytes are none of Stripe's events."""
    try:
        event = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    kind = _at(event, "type")
    event_id = named(_at(event, "id"))
    if not isinstance(kind, str) or not event_id:
        return None
    live = _at(event, "livemode") is True
    if _at(event, "object") == "v2.core.event":
        return Notification(event_id, kind, 0, live, thin=True, object_id=named(_at(event, "related_object", "id")))
    created = _at(event, "created")
    about = _at(event, "data", "object")
    if _at(event, "object") != "event" or type(created) is not int or not isinstance(about, Mapping):
        return None
    subscription = named(about.get("subscription")) or named(_at(about, "parent", "subscription_details", "subscription"))
    object_id, customer = named(about.get("id")), named(about.get("customer"))
    return Notification(event_id, kind, created, live, thin=False, object_id=object_id, customer=customer, subscription=subscription)


def named(value: object) -> str:
    """An id, or of an expanded object its id; empty where it is none."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if isinstance(value, str) and _ID.fullmatch(value) is not None else ""


def _at(value: Any, *names: str) -> Any:
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
