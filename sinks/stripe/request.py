"""The exact bytes of a usage record and of a meter event. Pure: the path and body that an intent stores and an idempotency key names.

POST /v1/subscription_items/{item}/usage_records, form-encoded `quantity`, `timestamp`, `action=set` (API 2025-02-24.acacia, the last version
family with usage records: changelog 2025-03-31.basil removed them). `increment` would count a retry twice after 24 hours; `set` cannot.

POST /v1/billing/meter_events, form-encoded `event_name`, `payload[…]`, `identifier`, `timestamp` (API 2026-10-28.endive). Values are plain
decimals: Stripe does not say what it makes of an exponent.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote_plus

from sinks.outcomes import Wanted, WantedEvent
from topics.receipt import CellReceipt, MeterTarget

API_VERSION: Final = "2025-02-24.acacia"
METER_EVENTS_PATH: Final = "/v1/billing/meter_events"
METERS_PATH: Final = "/v1/billing/meters"
MODERN_VERSION: Final = "2026-10-28.endive"
"""For everything that is no usage record: the version that the pinned official client is made for."""


def usage_record_path(item: str) -> str:
    """Where the item's usage records are posted."""
    return f"/v1/subscription_items/{item}/usage_records"


def summaries_path(item: str) -> str:
    """Where the item's totals per billing period are read."""
    return f"/v1/subscription_items/{item}/usage_record_summaries"


def usage_record_body(units: int, timestamp_s: int) -> str:
    """The form body, in the order that the client writes parameters."""
    return f"quantity={units}&timestamp={timestamp_s}&action=set"


def body_parameters(body: str) -> dict[str, str]:
    """The parameters of a stored body, in its order: what the client is given so that it writes the same bytes again."""
    return dict(parse_qsl(body, keep_blank_values=True, strict_parsing=True))


def version_of(path: str) -> str:
    """The API version that a stored request belongs to."""
    return API_VERSION if path.endswith("/usage_records") else MODERN_VERSION


def meter_event_body(target: MeterTarget, value: str, identifier: str, timestamp_s: int) -> str:
    """The form body, in the order and with the escapes that the client writes."""
    pairs = (
        ("event_name", target.event_name),
        (f"payload[{target.value_key}]", value),
        (f"payload[{target.customer_key}]", target.customer),
        ("identifier", identifier),
        ("timestamp", str(timestamp_s)),
    )
    return "&".join(f"{quote_plus(name, safe='[]')}={quote_plus(text)}" for name, text in pairs)


def event_summaries_path(meter: str) -> str:
    """Where a customer's usage of a meter is read."""
    return f"/v1/billing/meters/{meter}/event_summaries"


def wanted_of(intent: CellReceipt) -> Wanted | WantedEvent:
    """What the answer to an intent's request must repeat."""
    said = body_parameters(intent.body)
    if intent.meter_target is None:
        return Wanted(intent.item, intent.timestamp_s, int(said["quantity"]))
    payload = {name[len("payload[") : -1]: value for name, value in said.items() if name.startswith("payload[")}
    return WantedEvent(said["event_name"], said["identifier"], int(said["timestamp"]), payload)
