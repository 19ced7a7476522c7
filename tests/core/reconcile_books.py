"""Books of one customer's meter for the pure tests of reconcile: windows, cells with their histories, totals, each in a line."""

from __future__ import annotations

from typing import Any

import msgspec

from infra.reconciling.books import Books, BucketSaid, CellBook, Emitted, LineSaid, SummarySaid, Total, WindowBook
from sinks.stripe.objects import Price
from topics.adjustments import Adjustment
from topics.bindings import Item, ItemVersion
from topics.quantity import ONE, format_scaled
from topics.receipt import CellReceipt, MeterTarget, Standing, WindowPart
from topics.windows import Window, window_key

HOUR_S = 3600
P = 1_700_000_000 // HOUR_S * HOUR_S
"""When the first billing period begins."""
LONG_S = 30 * 86_400
EDGE = P + LONG_S
NOW_MS = (EDGE + 10 * 86_400) * 1000
ITEM = "si_1"
PRICE = Price("price_1", unit_amount=2)


def window(hour: int) -> Window:
    """The window that begins so many hours after P."""
    return Window("acme", "calls", P + hour * HOUR_S, P + (hour + 1) * HOUR_S)


def total(units: int, events: int = 1) -> Total:
    """Whole units as a total; its hash is a function of it."""
    return Total(units * ONE, events, f"{units * 1000 + events:064x}")


def book(hour: int, *units: int, counted: int | None = None, recount: int | None = None, **more: Any) -> WindowBook:
    """A window whose revisions said `units` one after the other; its events give `counted` now, and those of the newest revision `recount`."""
    emitted = [Emitted((0, 10 * (at + 1)), total(each), NOW_MS - 10_000_000, total(each)) for at, each in enumerate(units)]
    if recount is not None:
        emitted[-1] = emitted[-1]._replace(recount=total(recount))
    newest = (0, 10 * len(units)) if units else (0, 5)
    now = counted if counted is not None else units[-1] if units else 0
    return WindowBook(window=window(hour), counted=total(now), newest_event=newest, revisions=tuple(emitted), **more)


def receipt(hour: int, units: int, revision: int = 1, **more: Any) -> CellReceipt:
    """A delivered revision of a window's cell."""
    second = max(P + hour * HOUR_S, P + 1)
    start_s, end_s = (P, EDGE) if hour * HOUR_S < LONG_S else (EDGE, EDGE + LONG_S)
    part = WindowPart(window=window_key(window(hour)), generation=0, through_offset=10 * revision, quantity=str(units))
    standing = Standing(revision=revision, attempt=1, units=str(units), quantity=str(units), at_ms=NOW_MS - 9_000_000)
    fields: dict[str, Any] = {
        "provider": "stripe", "account": "default", "cell": f"{ITEM}|{second}", "customer": "acme", "meter": "calls", "item": ITEM,
        "subscription": "sub_1", "timestamp_s": second, "period_start_s": start_s, "period_end_s": end_s, "windows": (part,),
        "revision": revision, "attempt": 1, "quantity": str(units), "units": str(units), "state": "delivered", "intent_at_ms": NOW_MS - 9_000_000,
        "standing": standing, "price": PRICE.id,
    }  # fmt: skip
    return CellReceipt(**fields | more)


def cell(hour: int, *units: int, moving: bool = False, **more: Any) -> CellBook:
    """A cell that was delivered with `units` one after the other; `more` changes the newest record."""
    history = [receipt(hour, each, at + 1) for at, each in enumerate(units)]
    history[-1] = msgspec.structs.replace(history[-1], **more)
    return CellBook(history=tuple(history), is_moving=moving)


def metered(hour: int, *units: int, aggregation: str = "hour", **more: Any) -> CellBook:
    """The same of a meter's cell."""
    target = MeterTarget(aggregation=aggregation, event_name="calls", customer="cus_1")  # type: ignore[arg-type]
    found = cell(hour, *units, **more)
    return CellBook(history=tuple(msgspec.structs.replace(each, meter_target=target) for each in found.history), is_moving=found.is_moving)


def adjusted(hour: int, wanted: int, standing: int, *, settled: int = 0, **more: Any) -> CellBook:
    """A final cell: so much is wanted of it, so much stands, so much was settled."""
    known: dict[str, Any] = {"id": "adj_1", "cause": "after_finalization", "since_ms": NOW_MS - 1000}
    said = Adjustment(**known | {"units": str(wanted - standing - settled), "standing": str(standing), "settled": str(settled)} | more)
    stands = Standing(revision=1, attempt=1, units=str(standing), quantity=str(standing), at_ms=NOW_MS - 9_000_000)
    outcome = "open" if said.is_open else "settled"
    after = receipt(hour, wanted, 2, state="adjustment", standing=stands, adjustment=said, outcome=outcome)
    return CellBook(history=(receipt(hour, standing), after))


def summary(units: int, second: bool = False) -> SummarySaid:
    """What the provider holds of the first (or second) period."""
    return SummarySaid(ITEM, EDGE if second else P, EDGE + LONG_S if second else EDGE, units)


def bucket(hour: int, units: int) -> BucketSaid:
    """What the meter holds of an hour."""
    return BucketSaid("calls", P + hour * HOUR_S, P + (hour + 1) * HOUR_S, units * ONE)


def line(units: int, amount: int | None = None, second: bool = False, **more: Any) -> LineSaid:
    """A paid invoice's line of the first (or second) period."""
    start_s, end_s = (EDGE, EDGE + LONG_S) if second else (P, EDGE)
    cost = 2 * units if amount is None else amount
    return LineSaid("in_1", "paid", "il_1", ITEM, PRICE.id, start_s, end_s, units * ONE, cost, "usd")._replace(**more)


def version(**more: Any) -> ItemVersion:
    """The item in force."""
    item = Item(meter="calls", item=ITEM, subscription="sub_1", price=PRICE.id, period_anchor_s=P, **more)
    return ItemVersion(customer="acme", meter="calls", item=item, valid_from_s=P, offset=1, digest="d")


def books(**more: Any) -> Books:
    """Books with the item in force and its price known; windows are made of the cells where they are not given."""
    cells = more.get("cells", ())
    made = [] if "windows" in more else [_window_of(each) for each in cells]
    fields: dict[str, Any] = {"customer": "acme", "meter": "calls", "now_ms": NOW_MS, "versions": (version(),), "prices": {PRICE.id: PRICE}}
    return Books(**fields | {"windows": tuple(made)} | more)


def _window_of(each: CellBook) -> WindowBook:
    hour = (each.newest.timestamp_s - P) // HOUR_S
    return book(hour, *(int(one.units) for one in each.history))


def said(value: int) -> str:
    """An exact decimal string."""
    return format_scaled(value)
