"""The URLs of events and of who is told of them."""

from __future__ import annotations

from infra.sandbox import event_calls, event_destinations, specs, specs_events, webhook_endpoints
from infra.sandbox.endpoint import Endpoint, Key, crud

V2 = "v2/core/"
"""Collections of API v2 under `core`, as the table of routes names them."""

EVENTS: dict[Key, Endpoint] = {
    **crud(
        "events",
        [
            ("GET", "list", specs_events.EVENT_LIST, event_calls.list_events),
            ("GET", "retrieve", specs.RETRIEVE, event_calls.retrieve_event),
        ],
    ),
    **crud(
        "webhook_endpoints",
        [
            ("POST", "create", specs_events.ENDPOINT_CREATE, webhook_endpoints.create_endpoint),
            ("GET", "list", specs_events.ENDPOINT_LIST, webhook_endpoints.list_endpoints),
            ("GET", "retrieve", specs.RETRIEVE, webhook_endpoints.retrieve_endpoint),
            ("POST", "update", specs_events.ENDPOINT_UPDATE, webhook_endpoints.update_endpoint),
            ("DELETE", "delete", specs.NOTHING, webhook_endpoints.delete_endpoint),
        ],
    ),
    **crud(
        "events",
        [
            ("GET", "list", specs_events.THIN_LIST, event_calls.list_thin_events),
            ("GET", "retrieve", specs.NOTHING, event_calls.retrieve_thin_event),
        ],
        under=V2,
    ),
    **crud(
        "event_destinations",
        [
            ("POST", "create", specs_events.DESTINATION_CREATE, event_destinations.create_destination),
            ("GET", "list", specs_events.DESTINATION_LIST, event_destinations.list_destinations),
            ("GET", "retrieve", specs_events.DESTINATION_GET, event_destinations.retrieve_destination),
            ("POST", "update", specs_events.DESTINATION_UPDATE, event_destinations.update_destination),
            ("DELETE", "delete", specs.NOTHING, event_destinations.delete_destination),
        ],
        under=V2,
    ),
    ("POST", V2 + "event_destinations", 3, "disable"): Endpoint(
        "POST", "event_destinations", "disable", specs_events.DESTINATION_GET, event_destinations.disable_destination
    ),
    ("POST", V2 + "event_destinations", 3, "enable"): Endpoint(
        "POST", "event_destinations", "enable", specs_events.DESTINATION_GET, event_destinations.enable_destination
    ),
}
