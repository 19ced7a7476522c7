"""How much a metered item bills for a stretch of time: usage records by the price's aggregate, or the events of its meter.

An item counts from `_usage_from` on, the second at which it got its price in mid-period, if it did.
"""

from __future__ import annotations

from infra.sandbox import meter_usage, usage
from infra.sandbox.knobs import Knobs
from infra.sandbox.periods import Period
from infra.sandbox.resources import Json
from infra.sandbox.store import Store
from topics.quantity import ONE


def recorded(store: Store, knobs: Knobs, item: Json, aggregate: str, period: Period) -> int:
    """Units of the usage records of a period; only `sum` moves late ones to the next period, because only `sum` has a grace."""
    first, last = usage.bounds(period, knobs)
    since = item.get("_usage_from")
    if since is not None and since < period.end:
        first = max(first, since)
    if aggregate == "sum":
        return store.sum_cells(item["id"], first, last) + carried(store, item["id"], period.start) - carried(store, item["id"], period.end)
    if aggregate == "last_ever":
        newest = store.last_cell(item["id"], last)
        return usage.aggregated(aggregate, [] if newest is None else [newest])
    return usage.aggregated(aggregate, store.cells(item["id"], first, last))


def billed(store: Store, knobs: Knobs, item: Json, price: Json, customer_id: str, period: Period) -> int:
    """What a metered item bills for a period, in 10⁻¹² units; never negative."""
    recurring = price["recurring"]
    if recurring["meter"] is None:
        return recorded(store, knobs, item, recurring["aggregate_usage"], period) * ONE
    since = item.get("_usage_from")
    start = period.start if since is None else min(max(period.start, since), period.end)
    return max(0, meter_usage.total_scaled(store, recurring["meter"], customer_id, start, period.end))


def carry(store: Store, item_id: str, into_s: int, quantity: int) -> None:
    """Moves usage that came in the grace, after its own period's invoice was finalised, into the period that begins at `into_s`."""
    store.run(
        "INSERT INTO carried (item, into_s, quantity) VALUES (?, ?, ?) "
        "ON CONFLICT (item, into_s) DO UPDATE SET quantity = quantity + excluded.quantity",
        (item_id, into_s, quantity),
    )


def carried(store: Store, item_id: str, into_s: int) -> int:
    """What was moved into the period that begins at `into_s`."""
    row = store.run("SELECT quantity FROM carried WHERE item = ? AND into_s = ?", (item_id, into_s)).fetchone()
    return 0 if row is None else int(row[0])
