"""The parameters of the meter endpoints, as in Stripe's OpenAPI description (2026-09-30)."""

from __future__ import annotations

from infra.sandbox.params import Enum, Hash, Metadata, Param, Spec, String, Timestamp
from infra.sandbox.specs import EXPAND, ID, PAGE

NAME = String(100)
"""Event names, identifiers and keys of payloads."""
WINDOWS = ("hour", "day")
PAYLOAD = Metadata(longest_key=100, longest_value=100, most=50)
"""Flat text by key. That a value has at most 100 characters stands with the answer in Stripe's description; the number of keys is ours."""

METER_CREATE: Spec = {
    "default_aggregation": Param(Hash({"formula": Param(Enum(("sum", "count", "last")), required=True)}), required=True),
    "display_name": Param(String(250), required=True),
    "event_name": Param(NAME, required=True),
    "customer_mapping": Param(Hash({"event_payload_key": Param(NAME, required=True), "type": Param(Enum(("by_id",)), required=True)})),
    "event_time_window": Param(Enum(WINDOWS)),
    "value_settings": Param(Hash({"event_payload_key": Param(NAME, required=True)})),
    **EXPAND,
}
METER_UPDATE: Spec = {"display_name": Param(String(250)), **EXPAND}
METER_LIST: Spec = {"status": Param(Enum(("active", "inactive"))), **PAGE}

EVENT_CREATE: Spec = {
    "event_name": Param(NAME, required=True),
    "payload": Param(PAYLOAD, required=True),
    "identifier": Param(NAME),
    "timestamp": Param(Timestamp()),
    **EXPAND,
}
ADJUSTMENT_CREATE: Spec = {
    "event_name": Param(NAME, required=True),
    "type": Param(Enum(("cancel",)), required=True),
    "cancel": Param(Hash({"identifier": Param(NAME)})),
    **EXPAND,
}
SUMMARY_LIST: Spec = {
    "customer": Param(ID, required=True),
    "start_time": Param(Timestamp(), required=True),
    "end_time": Param(Timestamp(), required=True),
    "value_grouping_window": Param(Enum(WINDOWS)),
    **PAGE,
}
