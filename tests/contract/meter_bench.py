"""Steps that the tests of the sandbox's meters share."""

from __future__ import annotations

from typing import Any

from infra.sandbox.knobs import Knobs
from tests.contract.sandbox_driver import Driver, Reply

DAY_S = 86_400
HOUR_S = 3600
URL = "/v1/billing/meters"


def new_customer(sandbox: Driver) -> str:
    """The id of a new customer."""
    return str(sandbox.made("/v1/customers", {})["id"])


def tuned(**knobs: Any) -> Knobs:
    """Knobs whose rate limits are out of the way."""
    return Knobs(**{"calls_per_second": 1e9, "meter_calls_per_second": 1e9, **knobs})


def hour_of(sandbox: Driver) -> int:
    """The start of the UTC hour before the last one: a whole hour that is past."""
    return sandbox.now // HOUR_S * HOUR_S - 2 * HOUR_S


def summaries(sandbox: Driver, meter: str, customer: str, start_s: int, end_s: int, **more: object) -> Reply:
    """The event summaries of a range."""
    return sandbox.get(f"{URL}/{meter}/event_summaries", {"customer": customer, "start_time": start_s, "end_time": end_s, **more})


def total(sandbox: Driver, meter: str, customer: str, start_s: int, end_s: int) -> Any:
    """The value of the one summary of a range."""
    (summary,) = summaries(sandbox, meter, customer, start_s, end_s).json["data"]
    return summary["aggregated_value"]


def cancel(sandbox: Driver, identifier: str, event_name: str = "calls") -> Reply:
    """Asks for the cancellation of one event."""
    return sandbox.post("/v1/billing/meter_event_adjustments", {"event_name": event_name, "type": "cancel", "cancel[identifier]": identifier})
