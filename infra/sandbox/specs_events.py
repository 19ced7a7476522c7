"""The parameters of events, webhook endpoints and event destinations, as in the types of the official client."""

from __future__ import annotations

from infra.sandbox.params import Array, Boolean, Enum, Hash, Integer, Metadata, Param, Spec, String
from infra.sandbox.spans import Instants, Seconds
from infra.sandbox.specs import EXPAND, FIRST_METADATA, ID, METADATA, PAGE
from infra.sandbox.webhook_types import EventType

_TYPES = Array(EventType(), 500)
_URL = String(2048)
_INCLUDE: Spec = {"include": Param(Array(String(), 10))}

EVENT_LIST: Spec = {
    "type": Param(String(100)),
    "types": Param(Array(String(100), 20)),
    "created": Param(Seconds()),
    "delivery_success": Param(Boolean()),
    **PAGE,
}
THIN_LIST: Spec = {
    "object_id": Param(ID),
    "types": Param(Array(String(100), 20)),
    "created": Param(Instants()),
    "limit": Param(Integer(1, 100)),
    "page": Param(ID),
}

ENDPOINT_CREATE: Spec = {
    "url": Param(_URL, required=True),
    "enabled_events": Param(_TYPES, required=True),
    "api_version": Param(String(40)),
    "description": Param(String(), unsets=True),
    **FIRST_METADATA,
    **EXPAND,
}
ENDPOINT_UPDATE: Spec = {
    "url": Param(_URL),
    "enabled_events": Param(_TYPES),
    "description": Param(String(), unsets=True),
    "disabled": Param(Boolean()),
    **METADATA,
    **EXPAND,
}
ENDPOINT_LIST: Spec = PAGE

_WEBHOOK = Hash({"url": Param(_URL, required=True)})
DESTINATION_CREATE: Spec = {
    "name": Param(String(), required=True),
    "type": Param(Enum(("webhook_endpoint",)), required=True),
    "event_payload": Param(Enum(("snapshot", "thin")), required=True),
    "enabled_events": Param(_TYPES, required=True),
    "webhook_endpoint": Param(_WEBHOOK, required=True),
    "description": Param(String()),
    "events_from": Param(Array(Enum(("@self",)), 1)),
    "snapshot_api_version": Param(String(40)),
    "metadata": Param(Metadata()),
    **_INCLUDE,
}
DESTINATION_UPDATE: Spec = {
    "name": Param(String()),
    "enabled_events": Param(_TYPES),
    "webhook_endpoint": Param(_WEBHOOK),
    "description": Param(String()),
    **METADATA,
    **_INCLUDE,
}
DESTINATION_GET: Spec = _INCLUDE
DESTINATION_LIST: Spec = {"limit": Param(Integer(1, 100)), **_INCLUDE}
