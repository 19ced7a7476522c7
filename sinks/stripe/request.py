"""The exact bytes of a usage record. Pure: the path and body that an intent stores and an idempotency key names.

POST /v1/subscription_items/{item}/usage_records, form-encoded `quantity`, `timestamp`, `action=set` (API 2025-02-24.acacia, the last version
family with usage records: changelog 2025-03-31.basil removed them). `increment` would count a retry twice after 24 hours; `set` cannot.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

API_VERSION: Final = "2025-02-24.acacia"
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
