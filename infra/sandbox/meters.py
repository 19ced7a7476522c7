"""Handlers of meters."""

from __future__ import annotations

from infra.sandbox import errors, events, meter_judging
from infra.sandbox.call import Call, Json
from infra.sandbox.ids import new_id
from infra.sandbox.paging import listed
from infra.sandbox.store import Store

KIND = "billing.meter"
CUSTOMER_KEY = "stripe_customer_id"
VALUE_KEY = "value"


def active_meter(store: Store, event_name: str) -> Json | None:
    """The meter that counts events of this name."""
    return next((body for body in store.scan(KIND, ref=event_name) if body["status"] == "active"), None)


def _free_name(call: Call, event_name: str, meter_id: str | None = None) -> None:
    """Refuses an event name that another meter has: an active one, or by the knob any."""
    for other in call.store.scan(KIND, ref=event_name):
        if other["id"] != meter_id and (other["status"] == "active" or call.knobs.meter_name_kept):
            message = f"A meter with the event name `{event_name}` already exists: `{other['id']}`."
            raise errors.refused(message, rule="meters.event_name", param="event_name")


def _put(call: Call, body: Json, happened: str) -> Json:
    """Keeps the meter and the event that says what happened to it."""
    call.store.put(body, ref=body["event_name"])
    events.emit(call.store, f"billing.meter.{happened}", body, call.now_s)
    return body


def create_meter(call: Call) -> Json:
    """POST /v1/billing/meters"""
    params = call.params
    _free_name(call, params["event_name"])
    body = {
        "id": new_id("mtr_test"),
        "object": KIND,
        "created": call.now,
        "customer_mapping": params.get("customer_mapping", {"event_payload_key": CUSTOMER_KEY, "type": "by_id"}),
        "default_aggregation": params["default_aggregation"],
        "display_name": params["display_name"],
        "event_name": params["event_name"],
        "event_time_window": params.get("event_time_window"),
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": call.now,
        "value_settings": params.get("value_settings", {"event_payload_key": VALUE_KEY}),
    }
    return _put(call, body, "created")


def retrieve_meter(call: Call) -> Json:
    """GET /v1/billing/meters/{id}"""
    return call.addressed(KIND)


def update_meter(call: Call) -> Json:
    """POST /v1/billing/meters/{id}: only the name that people read"""
    body = call.addressed(KIND)
    return _put(call, {**body, "display_name": call.params.get("display_name", body["display_name"]), "updated": call.now}, "updated")


def list_meters(call: Call) -> Json:
    """GET /v1/billing/meters"""
    status = call.params.get("status")
    return listed(call, KIND, lambda body: body, keep=lambda body: status is None or body["status"] == status)


def _turned(call: Call, status: str, deactivated_at: int | None) -> Json:
    body = call.addressed(KIND)
    if body["status"] == status:
        raise errors.refused(f"The meter `{body['id']}` is already {status}.", rule="meters.status")
    if status == "active":
        _free_name(call, body["event_name"], body["id"])
    # What was received before belongs to the meter as it was: it is judged before the meter changes.
    meter_judging.settle(call.store, call.knobs, call.now_s)
    body = {**body, "status": status, "status_transitions": {"deactivated_at": deactivated_at}, "updated": call.now}
    return _put(call, body, "reactivated" if status == "active" else "deactivated")


def deactivate_meter(call: Call) -> Json:
    """POST /v1/billing/meters/{id}/deactivate: takes no more events and no more prices; prices on it stay"""
    return _turned(call, "inactive", call.now)


def reactivate_meter(call: Call) -> Json:
    """POST /v1/billing/meters/{id}/reactivate"""
    return _turned(call, "active", None)
