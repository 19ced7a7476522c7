"""What Stripe says has happened: snapshot events of API v1, and thin events, whose webhook body leaves out their data.

An event is kept in the transaction of what happened, together with what is to be sent to whom, so neither is lost by a kill.
Source: https://docs.stripe.com/api/events/object and https://docs.stripe.com/api/v2/core/events/object
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from infra.sandbox import webhook_deliveries
from infra.sandbox.ids import new_id
from infra.sandbox.knobs import NEWEST_VERSION, Knobs
from infra.sandbox.resources import Json
from infra.sandbox.store import Store
from infra.sandbox.webhook_targets import targets

Shape = Callable[[str], Json]
"""An object as it now is, in the shape of an API version."""
_VERSION = "account_version"
PRUNE_AT_ONCE = 2000


def emit(store: Store, event_type: str, data_object: Json | Shape, now_s: float) -> Json:
    """Keeps a snapshot event about an object as it now is; within the transaction of what happened.

    `data_object` is the object, or what gives it for an API version where versions differ in it. `now_s` is the instant in the life of the
    object (of a customer on a test clock: the clock's).
    """
    wanting = [each for each in targets(store) if not each.thin and each.wants(event_type)]
    version = account_version(store)
    shape: Shape = data_object if callable(data_object) else lambda _: data_object
    about = shape(version)
    body: Json = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": version,
        "created": int(now_s),
        "data": {"object": about},
        "livemode": False,
        "request": {"id": None, "idempotency_key": None},
        "type": event_type,
    }
    others = {each.version for each in wanting if each.version is not None} - {version} if callable(data_object) else set()
    _keep(store, body, thin=False, about=about.get("id"), shapes={each: shape(each) for each in sorted(others)})
    webhook_deliveries.plan(store, body["id"], wanting)
    return body


def emit_thin(store: Store, event_type: str, related_object: Json | None, data: Json, now_s: float) -> Json:
    """Keeps a thin event; `data` is for those who fetch it."""
    created = datetime.fromtimestamp(int(now_s * 1000) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body: Json = {
        "id": new_id("evt_test"),
        "object": "v2.core.event",
        "context": None,
        "created": created,
        "data": data,
        "livemode": False,
        "reason": None,
        "related_object": related_object,
        "type": event_type,
    }
    _keep(store, body, thin=True, about=None if related_object is None else related_object["id"], shapes={})
    webhook_deliveries.plan(store, body["id"], [each for each in targets(store) if each.thin and each.wants(event_type)])
    return body


def account_version(store: Store) -> str:
    """The API version in which events without another one are shown."""
    return str(store.fact(_VERSION) or NEWEST_VERSION)


def set_account_version(store: Store, version: str) -> None:
    """Makes it this version; within a transaction."""
    if store.fact(_VERSION) != version:
        store.set_fact(_VERSION, version)


def _keep(store: Store, body: Json, *, thin: bool, about: str | None, shapes: dict[str, Json]) -> None:
    store.run(
        "INSERT INTO happened (id, type, thin, about, body, shapes) VALUES (?, ?, ?, ?, ?, ?)",
        (body["id"], body["type"], thin, about, _text(body), _text(shapes)),
    )


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def kept(store: Store) -> Iterator[Json]:
    """Every event, oldest first."""
    for (text,) in store.run("SELECT body FROM happened ORDER BY seq"):
        yield json.loads(text)


def shaped(body: Json, shapes: Json, version: str | None) -> Json:
    """A snapshot event in an API version: None, or one that nobody wanted when it happened, is the account's version."""
    if version is None or (version not in shapes and version != body["api_version"]):
        return body
    data = {**body["data"], "object": shapes.get(version, body["data"]["object"])}
    return {**body, "api_version": version, "data": data}


def notification(body: Json) -> Json:
    """What a thin event's webhook carries: all but its data (https://docs.stripe.com/event-destinations#thin-payload)."""
    return {name: value for name, value in body.items() if name != "data"}


def settle(store: Store, knobs: Knobs, now_s: float) -> None:
    """Begins the 30 days of what is new and forgets what has had them, some at once; within a transaction. What is still to be sent is kept
    longer: where the clock is moved on by a month nothing of the month before may be lost.
    """
    store.run("UPDATE happened SET kept_s = ? WHERE kept_s IS NULL", (now_s,))
    waiting = "SELECT 1 FROM deliveries WHERE event = happened.id AND state = 'pending'"
    query = f"SELECT id FROM happened WHERE kept_s < ? AND NOT EXISTS ({waiting}) LIMIT ?"  # noqa: S608  nothing from outside
    for (event,) in store.run(query, (now_s - knobs.events_kept_s, PRUNE_AT_ONCE)).fetchall():
        store.run("DELETE FROM deliveries WHERE event = ?", (event,))
        store.run("DELETE FROM happened WHERE id = ?", (event,))
