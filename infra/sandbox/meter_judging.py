"""What becomes of a meter event after its 200: counted, or refused with a code that nobody hears unless he listens to thin events.

Source: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#error-codes
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from infra.sandbox import meter_values
from infra.sandbox.knobs import Knobs
from infra.sandbox.resources import Json
from infra.sandbox.store import Store

TOO_MANY_DIGITS = "The value in the event payload can have at most {most} digits. Received {value}."
"""Stripe's words (changelog 2026-04-22.dahlia); of the others below only the missing customer's are Stripe's too."""
NO_CUSTOMER_DEFINED = "Customer mapping key {key} not found in payload."
CUSTOMER_NOT_FOUND = "Customer {customer} not found."
NO_VALUE = "Value key {key} not found in payload."
INVALID_VALUE = "The value in the event payload is not a number: {value}."
ARCHIVED = "The meter {meter} is inactive."
NO_METER = "No meter found for event name {name}."
TOO_OLD = "The timestamp is too far in the past."
IN_FUTURE = "The timestamp is in the future."


@dataclass(frozen=True, slots=True)
class Counted:
    """The event counts for this customer with this value, in 10⁻¹² units."""

    customer: str
    value: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The event does not count: the code and the sentence of its asynchronous error."""

    code: str
    message: str


def judged(meter: Json | None, event_name: str, payload: dict[str, str], customer: Json | None, knobs: Knobs) -> Counted | Refused:
    """The verdict on a payload; `customer` is the object that the payload names, if it exists."""
    if meter is None:
        return Refused("no_meter", NO_METER.format(name=event_name))
    if meter["status"] != "active":
        return Refused("archived_meter", ARCHIVED.format(meter=meter["id"]))
    key = meter["customer_mapping"]["event_payload_key"]
    if not payload.get(key):
        return Refused("meter_event_no_customer_defined", NO_CUSTOMER_DEFINED.format(key=key))
    if customer is None:
        return Refused("meter_event_customer_not_found", CUSTOMER_NOT_FOUND.format(customer=payload[key]))
    if meter["default_aggregation"]["formula"] == "count":
        return Counted(customer["id"], 0)
    value = judged_value(meter, payload, knobs)
    return value if isinstance(value, Refused) else Counted(customer["id"], value)


def judged_value(meter: Json, payload: dict[str, str], knobs: Knobs) -> int | Refused:
    """The value of a payload in 10⁻¹² units, or what is wrong with it."""
    key = meter["value_settings"]["event_payload_key"]
    text = payload.get(key)
    if not text:
        return Refused(knobs.meter_no_value_code, NO_VALUE.format(key=key))
    if too_long(text, knobs):
        return Refused("meter_event_value_too_many_digits", TOO_MANY_DIGITS.format(most=meter_values.MOST_DIGITS, value=text))
    value = meter_values.value_of(text, exponents=knobs.meter_exponents)
    return Refused("meter_event_invalid_value", INVALID_VALUE.format(value=text)) if value is None else value


def too_long(text: str, knobs: Knobs) -> bool:
    """Whether a text is a number with more digits than Stripe takes."""
    return meter_values.is_number(text, exponents=knobs.meter_exponents) and meter_values.digits(text) > meter_values.MOST_DIGITS


def settle(store: Store, knobs: Knobs, now_s: float) -> None:
    """Judges every event that is due, in order of receipt, then cancels what is due to be canceled; doing it again does nothing.

    An event is judged by the meters and customers that exist when this is called: whoever changes one of them calls it before.
    """
    pending = store.run(
        "SELECT seq, event_name, payload, meter, code, message FROM meter_events INDEXED BY meter_events_unjudged "
        "WHERE state = 'pending' AND due_s <= ? ORDER BY seq",
        (now_s,),
    ).fetchall()
    for seq, event_name, text, meter_id, code, message in pending:
        verdict = Refused(code, message) if code is not None else _verdict(store, knobs, event_name, json.loads(text), meter_id)
        values: tuple[str | None, ...]
        if isinstance(verdict, Counted):
            values = ("counted", verdict.customer, str(verdict.value), None, None)
        else:
            values = ("refused", None, None, verdict.code, verdict.message)
        store.run(
            "UPDATE meter_events SET state = ?, customer = ?, value = ?, code = ?, message = ?, judged_s = due_s WHERE seq = ?", (*values, seq)
        )
    store.run("UPDATE meter_events SET state = 'canceled' WHERE state = 'counted' AND cancel_due_s <= ?", (now_s,))


def _verdict(store: Store, knobs: Knobs, event_name: str, payload: dict[str, str], meter_id: str | None) -> Counted | Refused:
    meter = None if meter_id is None else store.get("billing.meter", meter_id)
    named = None if meter is None else payload.get(meter["customer_mapping"]["event_payload_key"])
    return judged(meter, event_name, payload, None if not named else store.get("customer", named), knobs)
