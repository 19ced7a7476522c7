"""Handlers of meter events and their cancellation. A 200 says that an event was received, not that it counts (`meter_judging`)."""

from __future__ import annotations

import json
import os

from infra.sandbox import errors, meter_judging, versions
from infra.sandbox.call import Call, Json, now_of
from infra.sandbox.errors import ApiError
from infra.sandbox.meter_judging import Refused
from infra.sandbox.meters import KIND, active_meter
from infra.sandbox.store import Store


def lock_of(store: Store, params: Json) -> str | None:
    """What one meter event at a time may hold: its meter and customer; nothing where the payload names none."""
    meter = active_meter(store, params["event_name"])
    named = None if meter is None else params["payload"].get(meter["customer_mapping"]["event_payload_key"])
    return None if meter is None or not named else f"{meter['id']}/{named}"


def create_event(call: Call) -> Json:
    """POST /v1/billing/meter_events"""
    params, knobs = call.params, call.knobs
    name, payload = params["event_name"], params["payload"]
    meter = active_meter(call.store, name)
    if meter is None:
        if knobs.meter_sync_checks:
            raise errors.refused(f'No active meter found for event name "{name}".', rule="meter_events.no_meter")
        meter = next(iter(call.store.scan(KIND, ref=name)), None)
    identifier = params.get("identifier") or os.urandom(16).hex()
    _refuse_taken(call, name, identifier)
    now_s = call.now_s if meter is None else now_of(call, payload.get(meter["customer_mapping"]["event_payload_key"], ""))
    second = params.get("timestamp", int(now_s))
    doom = _doom(call, second, now_s)
    if doom is not None and knobs.meter_sync_checks:
        raise errors.refused(doom.message, rule="meter_events.timestamp", param="timestamp")
    _refuse_digits(call, meter, payload)
    call.store.run(
        "INSERT INTO meter_events (identifier, event_name, request, payload, second, received_s, due_s, meter, code, message) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            identifier,
            name,
            call.request,
            json.dumps(payload, separators=(",", ":")),
            second,
            call.now_s,
            call.now_s + knobs.meter_delay_s,
            None if meter is None else meter["id"],
            None if doom is None else doom.code,
            None if doom is None else doom.message,
        ),
    )
    meter_judging.settle(call.store, knobs, call.now_s)
    return {
        "object": "billing.meter_event",
        "created": call.now,
        "event_name": name,
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": second,
    }


def _refuse_taken(call: Call, name: str, identifier: str) -> None:
    """An identifier is taken for a day from the receipt of its event, whatever became of the event."""
    row = call.store.run(
        "SELECT 1 FROM meter_events WHERE identifier = ? AND received_s > ? AND (? OR event_name = ?) LIMIT 1",
        (identifier, call.now_s - call.knobs.meter_identifier_s, not call.knobs.meter_identifier_by_name, name),
    ).fetchone()
    if row is not None:
        raise errors.refused(f"An event already exists with identifier {identifier}.", rule="meter_events.identifier")


def _doom(call: Call, second: int, now_s: float) -> Refused | None:
    """Why a timestamp does not count, or None; both ends of the range count."""
    if second < int(now_s) - call.knobs.meter_past_s:
        return Refused("timestamp_too_far_in_past", meter_judging.TOO_OLD)
    if second > int(now_s) + call.knobs.meter_future_s:
        return Refused("timestamp_in_future", meter_judging.IN_FUTURE)
    return None


def _refuse_digits(call: Call, meter: Json | None, payload: dict[str, str]) -> None:
    """From 2026-04-22.dahlia on a value with too many digits is refused in the call; before, it is reported afterwards."""
    if meter is None or not versions.is_dahlia(call.version) or meter["default_aggregation"]["formula"] == "count":
        return
    verdict = meter_judging.judged_value(meter, payload, call.knobs)
    if isinstance(verdict, Refused) and verdict.code == "meter_event_value_too_many_digits":
        raise errors.refused(verdict.message, rule="meter_events.digits", param="payload", code=verdict.code)


def create_adjustment(call: Call) -> Json:
    """POST /v1/billing/meter_event_adjustments: cancels one event, within a day of its receipt"""
    params = call.params
    identifier = params.get("cancel", {}).get("identifier")
    if identifier is None:
        raise errors.missing("cancel[identifier]")
    row = call.store.run(
        "SELECT seq, received_s, cancel_due_s FROM meter_events WHERE identifier = ? AND event_name = ? ORDER BY seq DESC LIMIT 1",
        (identifier, params["event_name"]),
    ).fetchone()
    if row is None:
        raise _no_event(identifier)
    seq, received_s, due_s = row
    if call.now_s > received_s + call.knobs.meter_cancel_s:
        message = f"The event with identifier {identifier} was received more than 24 hours ago and can no longer be canceled."
        raise errors.refused(message, rule="meter_adjustments.age", param="cancel[identifier]")
    if due_s is None:
        due_s = call.now_s + call.knobs.meter_delay_s
        call.store.run("UPDATE meter_events SET cancel_due_s = ? WHERE seq = ?", (due_s, seq))
    meter_judging.settle(call.store, call.knobs, call.now_s)
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": params["event_name"],
        "livemode": False,
        "status": "complete" if due_s <= call.now_s else "pending",
        "type": "cancel",
    }


def _no_event(identifier: str) -> ApiError:
    message = f"No event found with identifier {identifier}."
    return errors.refused(message, rule="meter_adjustments.unknown", param="cancel[identifier]")
