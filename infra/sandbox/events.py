"""What Stripe says has happened: snapshot events of API v1, and thin events, whose webhook body leaves out their data.

Source: https://docs.stripe.com/api/events/object and https://docs.stripe.com/api/v2/core/events/object
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from infra.sandbox.ids import new_id
from infra.sandbox.resources import Json
from infra.sandbox.store import Store


def emit(store: Store, event_type: str, data_object: Json, now_s: float) -> Json:
    """Keeps a snapshot event about an object as it now is; within the transaction of what happened."""
    body = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": None,
        "created": int(now_s),
        "data": {"object": data_object},
        "livemode": False,
        "pending_webhooks": 0,
        "request": None,
        "type": event_type,
    }
    return _kept(store, body)


def emit_thin(store: Store, event_type: str, related_object: Json | None, data: Json, now_s: float) -> Json:
    """Keeps a thin event; `data` is for those who fetch it."""
    created = datetime.fromtimestamp(int(now_s * 1000) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {
        "id": new_id("evt_test"),
        "object": "v2.core.event",
        "created": created,
        "data": data,
        "livemode": False,
        "reason": None,
        "related_object": related_object,
        "type": event_type,
    }
    return _kept(store, body)


def _kept(store: Store, body: Json) -> Json:
    store.run("INSERT INTO events (id, type, body) VALUES (?, ?, ?)", (body["id"], body["type"], json.dumps(body, separators=(",", ":"))))
    return body


def kept(store: Store) -> Iterator[Json]:
    """Every event, oldest first."""
    for (text,) in store.run("SELECT body FROM events ORDER BY seq"):
        yield json.loads(text)
