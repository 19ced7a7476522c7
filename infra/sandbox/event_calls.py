"""Handlers of events: what happened in the last 30 days, snapshots under /v1/events, thin ones with their data under /v2/core/events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from infra.sandbox import errors, shapes, spans, webhook_deliveries
from infra.sandbox.call import Call, Json
from infra.sandbox.paging import cursor, cut
from infra.sandbox.store import Store

KIND = "event"
THIN = "v2.core.event"


def retrieve_event(call: Call) -> Json:
    """GET /v1/events/{id}"""
    return _shown(call, _the(call, thin=False))


def list_events(call: Call) -> Json:
    """GET /v1/events: newest first, by `type` (which may end in `.*`) or `types`, by `created`, by whether all webhooks arrived"""
    params = call.params
    if "type" in params and "types" in params:
        raise errors.refused("You may pass either `type` or `types`, but not both.", rule="events.list", param="types")
    at, backwards = cursor(call)
    place = None
    if at is not None:
        place = _place(call.store, at)
        if place is None:
            raise errors.no_such(KIND, at, param="ending_before" if backwards else "starting_after", in_url=False)
    rows = (_shown(call, body) for body in _rows(call.store, thin=False, after=place, newest_first=not backwards) if _wanted(body, params))
    asked = params.get("delivery_success")
    data, has_more = cut((row for row in rows if asked is None or asked == _arrived(call.store, row["id"])), call, backwards=backwards)
    return shapes.page(call.url, data, has_more=has_more)


def retrieve_thin_event(call: Call) -> Json:
    """GET /v2/core/events/{id}: with its data"""
    return _the(call, thin=True)


def list_thin_events(call: Call) -> Json:
    """GET /v2/core/events: newest first, by `object_id`, `types` and `created`; `page` is the last event of the page before"""
    params = call.params
    place = None if "page" not in params else _place(call.store, params["page"])
    if "page" in params and place is None:
        raise errors.no_such(THIN, params["page"], param="page", in_url=False)
    rows = _rows(call.store, thin=True, after=place, newest_first=True)
    data, has_more = cut((body for body in rows if _wanted_thin(body, params)), call, backwards=False)
    following = f"{call.url}?limit={params.get('limit', 10)}&page={data[-1]['id']}" if has_more else None
    return {"data": data, "next_page_url": following, "previous_page_url": None}


def _the(call: Call, *, thin: bool) -> Json:
    row = call.store.run("SELECT body, shapes FROM happened WHERE id = ? AND thin = ?", (call.object_id, thin)).fetchone()
    if row is None:
        raise errors.no_such(THIN if thin else KIND, call.object_id, param="id", in_url=True)
    return dict(json.loads(row[0]))


def _shown(call: Call, body: Json) -> Json:
    return {**body, "pending_webhooks": webhook_deliveries.pending(call.store, body["id"])}


def _arrived(store: Store, event: str) -> bool:
    return store.run("SELECT 1 FROM deliveries WHERE event = ? AND state <> 'delivered' LIMIT 1", (event,)).fetchone() is None


def _place(store: Store, event: str) -> int | None:
    row = store.run("SELECT seq FROM happened WHERE id = ?", (event,)).fetchone()
    return None if row is None else int(row[0])


def _rows(store: Store, *, thin: bool, after: int | None, newest_first: bool) -> Iterator[Json]:
    if newest_first:
        rows = store.run("SELECT body FROM happened WHERE thin = ? AND seq < ? ORDER BY seq DESC", (thin, 2**62 if after is None else after))
    else:
        rows = store.run("SELECT body FROM happened WHERE thin = ? AND seq > ? ORDER BY seq", (thin, -1 if after is None else after))
    for (text,) in rows:
        yield json.loads(text)


def _wanted(body: Json, params: dict[str, Any]) -> bool:
    if "type" in params and not fnmatchcase(body["type"], params["type"].replace("[", "[[]").replace("?", "[?]")):
        return False
    if "types" in params and body["type"] not in params["types"]:
        return False
    least_ms, most_ms = params.get("created", spans.EVER)
    return bool(least_ms <= body["created"] * 1000 <= most_ms)


def _wanted_thin(body: Json, params: dict[str, Any]) -> bool:
    about = (body["related_object"] or {}).get("id")
    least_ms, most_ms = params.get("created", spans.EVER)
    at = least_ms <= spans.instant_ms(body["created"], "created") <= most_ms
    return at and params.get("object_id") in {None, about} and ("types" not in params or body["type"] in params["types"])
