"""Handlers of test clocks."""

from __future__ import annotations

from collections.abc import Iterator

from infra.sandbox import events, test_clocks, timetable
from infra.sandbox.call import Call, Json
from infra.sandbox.ids import new_id
from infra.sandbox.paging import listed
from infra.sandbox.store import Store


def _put(call: Call, body: Json, event: str) -> None:
    """Writes a clock and says what has happened to it."""
    call.store.put(body)
    events.emit(call.store, f"{test_clocks.KIND}.{event}", lambda version: test_clocks.shaped(body, version), call.now_s)


def create_clock(call: Call) -> Json:
    """POST /v1/test_helpers/test_clocks"""
    body = test_clocks.opened(new_id("clock"), call.now, call.params)
    _put(call, body, "created")
    return test_clocks.shaped(body, call.version)


def retrieve_clock(call: Call) -> Json:
    """GET /v1/test_helpers/test_clocks/{id}"""
    return test_clocks.shaped(call.addressed(test_clocks.KIND, "test_clock"), call.version)


def list_clocks(call: Call) -> Json:
    """GET /v1/test_helpers/test_clocks"""
    return listed(call, test_clocks.KIND, lambda body: test_clocks.shaped(body, call.version))


def advance_clock(call: Call) -> Json:
    """POST /v1/test_helpers/test_clocks/{id}/advance: what the time in between does happens after this call"""
    body = call.addressed(test_clocks.KIND, "test_clock")
    running = (each for each in _subscriptions(call.store, body["id"]) if each.get("status") not in {"canceled", "incomplete_expired"})
    body = test_clocks.advancing(body, call.params["frozen_time"], [(each["_schedule"][2], each["_schedule"][3]) for each in running])
    _put(call, body, "advancing")
    timetable.plan(call.store, body["id"], clock=timetable.OWN, at_s=call.now_s + call.knobs.clock_advance_s, rank=timetable.SUBSCRIPTIONS)
    return test_clocks.shaped(body, call.version)


def delete_clock(call: Call) -> Json:
    """DELETE /v1/test_helpers/test_clocks/{id}: its customers go with it, and everything of theirs"""
    body = call.addressed(test_clocks.KIND, "test_clock")
    for customer in list(customers(call.store, body["id"])):
        for kind in ("subscription", "invoice", "invoiceitem", "credit_note"):
            for each in list(call.store.scan(kind, parent=customer["id"])):
                _forget(call.store, each["id"], with_items=kind == "subscription")
        call.store.delete(customer["id"])
    _forget(call.store, body["id"], with_items=False)
    events.emit(call.store, f"{test_clocks.KIND}.deleted", lambda version: test_clocks.shaped(body, version), call.now_s)
    return {"id": body["id"], "object": test_clocks.KIND, "deleted": True}


def _forget(store: Store, object_id: str, *, with_items: bool) -> None:
    if with_items:
        for item in list(store.scan("subscription_item", parent=object_id)):
            store.clear_cells(item["id"])
            store.delete(item["id"])
    timetable.plan(store, object_id, clock=timetable.OWN, at_s=None, rank=0)
    store.delete(object_id)


def customers(store: Store, clock_id: str) -> Iterator[Json]:
    """The customers on a clock, in order of creation."""
    return store.scan("customer", parent=clock_id, newest_first=False)


def _subscriptions(store: Store, clock_id: str) -> Iterator[Json]:
    for customer in customers(store, clock_id):
        yield from store.scan("subscription", parent=customer["id"])
