"""What must be true of an account once it is repaired, counted from the log and Stripe's own state, without the product's books or finders.

For each customer, meter and billing period: what the log says was used (first copies only, corrections included) is what Stripe holds and what
settled adjustments list. What no usage record can say (less than nothing, where another second of the period holds more than a cell has left) is
parked for a person, in `coverage` and `deliveries`: as much may stand too much as is parked.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from fractions import Fraction
from typing import Any

from infra.sandbox import billed_usage
from infra.sandbox.periods import Period
from tests.drift.plan import EDGE_S, SORT_OF, START_S
from tests.drift.world import World
from topics.quantity import ONE

WEEK_S = EDGE_S - START_S
ROUNDED_UNITS = 2
"""What stands and what is due are each rounded to whole units."""
Key = tuple[str, str, int]
"""(customer, meter, start of the period)."""


def wrong_in(world: World) -> list[str]:
    """Every difference."""
    used, stands, listed, parked = _used(world), _stands(world), _listed(world), _parked(world)
    faults = []
    for key in sorted(used.keys() | stands.keys() | listed.keys()):
        sort = SORT_OF[key[1]]
        owed = used.get(key, Fraction(0)) * Fraction(sort.scale)
        held = stands.get(key, Fraction(0)) + listed.get(key, Fraction(0))
        whole = Fraction(int(owed)) if sort.fractions == "ledger" else owed
        if key in parked and abs(held - whole - parked[key]) < ROUNDED_UNITS:
            continue
        if held != whole:
            parts = f"{float(stands.get(key, 0))} at Stripe and {float(listed.get(key, 0))} settled"
            faults.append(f"{key}: {float(owed)} units were used, {parts}")
    return faults


def _period(second: int) -> int:
    return EDGE_S if second >= EDGE_S else START_S


def _used(world: World) -> dict[Key, Fraction]:
    """By the log's own bytes: of every id the first event that counts."""
    found: dict[Key, Fraction] = defaultdict(Fraction)
    seen: set[tuple[str, str]] = set()
    for meter in world.counting:
        for record in meter.log.records:
            event = json.loads(record.value or b"{}")
            kind = event["type"]
            if not kind.startswith("used.") or event["data"]["n"] == "none" or (event["subject"], event["id"]) in seen:
                continue
            seen.add((event["subject"], event["id"]))
            second = int(datetime.fromisoformat(event["time"]).timestamp())
            found[event["subject"], kind.removeprefix("used."), _period(second)] += Fraction(event["data"]["n"])
    return found


def _stands(world: World) -> dict[Key, Fraction]:
    """What Stripe bills, or will: of the first period its invoice, of the second what it holds."""
    found: dict[Key, Fraction] = defaultdict(Fraction)
    of_item = {item.item: (customer, meter) for (customer, meter), item in world.items.items()}
    void = {invoice["subscription"] for invoice in _invoices(world) if invoice["status"] == "void"}
    for line in _lines(world):
        if (key := of_item.get(line["subscription_item"])) and SORT_OF[key[1]].fractions != "exact":
            found[(*key, START_S)] += Fraction(line["quantity"])
    for name, (owner, meter) in of_item.items():
        store = world.shop.store
        item = store.get("subscription_item", name) or {}
        price = store.get("price", item["price"]) or {}
        # A line shows whole units in this version; what is billed is exact, and nothing is taken once it is final.
        for start_s in (EDGE_S,) if SORT_OF[meter].fractions != "exact" or item["subscription"] in void else (START_S, EDGE_S):
            period = Period(0, start_s, start_s + WEEK_S)
            units = billed_usage.billed(store, world.shop.knobs, item, price, world.customers[owner], period)
            found[owner, meter, start_s] += Fraction(units, ONE)
    return found


def _lines(world: World) -> list[dict[str, Any]]:
    """Lines of all invoices that somebody owes, but a subscription's first one, which shows the period that begins."""
    billing = (invoice for invoice in _invoices(world) if invoice["billing_reason"] != "subscription_create" and invoice["status"] != "void")
    return [line for invoice in billing for line in invoice["lines"]["data"]]


def _invoices(world: World) -> list[dict[str, Any]]:
    return [row for customer in world.customers.values() for row in world.shop.pages("/v1/invoices", {"customer": customer})]


def _listed(world: World) -> dict[Key, Fraction]:
    """What adjustments say was settled elsewhere."""
    found: dict[Key, Fraction] = defaultdict(Fraction)
    for report in world.delivering:
        for cell in report.cells():
            if cell.adjustment is not None:
                found[cell.customer, cell.meter, cell.period_start_s] += Fraction(cell.adjustment.settled)
    return found


def _parked(world: World) -> dict[Key, Fraction]:
    """Units that stand too much where the right number would be negative, of cells that say so."""
    found: dict[Key, Fraction] = defaultdict(Fraction)
    for report in world.delivering:
        for cell in report.cells():
            if (cell.state, cell.reason) == ("parked", "negative") and cell.standing is not None:
                due = Fraction(cell.quantity) * Fraction(cell.scale)
                found[cell.customer, cell.meter, cell.period_start_s] += Fraction(cell.standing.units) - due
    return found
