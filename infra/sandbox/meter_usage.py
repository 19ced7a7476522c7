"""What a customer used by a meter: the counted meter events of a range, aggregated as the meter says.

Only what was counted by then: call `meter_judging.settle` first where the instant matters. Never negative-clamped: an invoice shows a
negative total as 0, a summary shows it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from infra.sandbox import meter_values
from infra.sandbox.meter_values import Usage
from infra.sandbox.store import Store
from topics import quantity
from topics.errors import UsageError


def metered_total(store: Store, meter_id: str, customer_id: str, start_s: int, end_s: int) -> Decimal:
    """The exact total over [start_s, end_s), by the meter's formula and window; may be negative."""
    return Decimal(quantity.format_scaled(total_scaled(store, meter_id, customer_id, start_s, end_s)))


def total_scaled(store: Store, meter_id: str, customer_id: str, start_s: int, end_s: int) -> int:
    """`metered_total` in 10⁻¹² units."""
    meter = store.get("billing.meter", meter_id)
    if meter is None:
        raise UsageError(f"there is no meter {meter_id}")
    window = meter["event_time_window"]
    first, beyond = meter_values.bounds(window, start_s, end_s)
    received = usages(store, meter_id, customer_id, first, beyond)
    return meter_values.aggregated(meter["default_aggregation"]["formula"], window, received, start_s, end_s)


def usages(store: Store, meter_id: str, customer_id: str, first: int, beyond: int) -> Iterator[Usage]:
    """The counted events with a second in [first, beyond), in order of receipt."""
    rows = store.run(
        "SELECT second, value FROM meter_events "
        "WHERE state = 'counted' AND meter = ? AND customer = ? AND second >= ? AND second < ? ORDER BY seq",
        (meter_id, customer_id, first, beyond),
    )
    for second, value in rows:
        yield Usage(int(second), int(value))
