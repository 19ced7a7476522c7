"""What must be true at a year's end: in each customer's billing periods, what Stripe bills and what is listed as an adjustment are all the usage.

The account of what was used is the plan itself: events by the second in which they happened, added up. One sentence a fault.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, NamedTuple

from infra.sandbox.meter_usage import metered_total
from sinks.stripe.request import summaries_path
from tests.simulation.year.living import Year
from tests.simulation.year.shop import MODERN
from topics.quantity import ONE, parse_total
from topics.receipt import CellReceipt

UNWANTED: Final = ("idempotency_error", "timestamp")
"""Kinds of error that no call of the product may ever get."""


def owed(kind: str, units: int) -> int:
    """Cents for so many units under the prices of `plan.py`, each by hand; halves round up."""
    if kind == "unit":
        return 3 * units
    if kind == "decimal":
        return (units * 125 + 500) // 1000
    if kind == "graduated":
        first, second, third = min(units, 20), min(max(units - 20, 0), 80), max(units - 100, 0)
        return 10 * first + 5 * second + (100 if second else 0) + third
    if kind == "volume":
        return units * (7 if units <= 50 else 2)
    return 250 * -(-units // 25)


class Span(NamedTuple):
    """One billing period of a subscription, `[start_s, end_s)`."""

    start_s: int
    end_s: int


def judge(year: Year) -> list[str]:
    """Every fault."""
    faults = [f"{count} calls were answered {kind} {status}" for (kind, status), count in year.shop.statuses.items() if kind.startswith(UNWANTED)]
    faults += [f"partition {each.partition}: residual {each.core.counters.residual}" for each in year.counting if each.core.counters.residual]
    open_ = _open(year)
    for subscriber in year.plan.subscribers:
        subscription = year.subscriptions.get(subscriber.number)
        if subscription is not None:
            faults += [f"{subscriber.name} ({subscription}): {fault}" for fault in _of(year, subscriber.number, subscription, open_[subscriber.name])]
    return faults


def _of(year: Year, number: int, subscription: str, open_: dict[int, int]) -> list[str]:
    """`open_`: what is listed as not billed, by the second from which on it was used."""
    faults = []
    billed = billed_by_period(year, subscription)
    used: dict[Span | None, int] = defaultdict(int)
    for one in year.plan.used:
        if one.customer == number and one.sent_at_s < year.plan.until_s:
            used[_holding(billed, one.occurred_at_s)] += one.quantity
    listed: dict[Span | None, int] = defaultdict(int)
    for second, units in open_.items():
        listed[_holding(billed, second)] += units
    for span in sorted(billed.keys() | used.keys() | listed.keys(), key=str):
        stands = billed[span] if span is not None else 0
        if stands + listed[span] != used[span]:
            faults.append(f"{span}: {stands} billed and {listed[span]} listed, {used[span]} were used")
    return faults + _money(year, number, subscription)


def _money(year: Year, number: int, subscription: str) -> list[str]:
    """Each invoice's amount is what its units cost; a graduated price has a line for each tier."""
    kind, faults = year.plan.subscribers[number].price, []
    for invoice in year.shop.pages("/v1/invoices", {"subscription": subscription}):
        lines = invoice["lines"]["data"]
        units, cents = sum(line["quantity"] for line in lines), sum(line["amount"] for line in lines)
        if cents != owed(kind, units):
            faults.append(f"invoice {invoice['id']}: {units} units at price {kind} are {cents}, not {owed(kind, units)}")
    return faults


def billed_by_period(year: Year, subscription: str) -> dict[Span, int]:
    """Units of each period of a subscription: what its final invoices say; of the period that runs, what Stripe holds."""
    billed: dict[Span, int] = defaultdict(int)
    for invoice in year.shop.pages("/v1/invoices", {"subscription": subscription}):
        # A draft is the invoice of a period that ended within the last hour.
        assert invoice["status"] in {"paid", "draft"}, invoice["status"]
        for line in invoice["lines"]["data"]:
            billed[Span(line["period"]["start"], line["period"]["end"])] += line["quantity"]
    if year.shop.call("GET", f"/v1/subscriptions/{subscription}")["status"] != "canceled":
        for item in year.shop.pages("/v1/subscription_items", {"subscription": subscription}, MODERN):
            period = Span(item["current_period_start"], item["current_period_end"])
            billed[period] += running(year, subscription, item, period)
    return billed


def running(year: Year, subscription: str, item: dict[str, Any], period: Span) -> int:
    """Units that Stripe holds for the period that runs."""
    meter = item["price"]["recurring"]["meter"]
    if meter is None:
        newest = next(iter(year.shop.pages(summaries_path(item["id"]))))
        assert (newest["period"]["start"], newest["period"]["end"]) == period
        return int(newest["total_usage"])
    customer = year.shop.call("GET", f"/v1/subscriptions/{subscription}", {}, MODERN)["customer"]
    return int(metered_total(year.shop.store, meter, customer, *period))


def _holding(billed: dict[Span, int], second: int) -> Span | None:
    return next((span for span in billed if span.start_s <= second < span.end_s), None)


def _open(year: Year) -> dict[str, dict[int, int]]:
    """By customer and second: units that were used and are not billed, as the receipts list them."""
    found: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for delivering in year.delivering:
        for receipt in delivering.last():
            if isinstance(receipt, CellReceipt):
                standing = 0 if receipt.standing is None else int(receipt.standing.units)
                # A usage record's second is one after its period's start where it would be the start itself.
                second = receipt.timestamp_s - (receipt.meter_target is None)
                found[receipt.customer][second] += parse_total(receipt.quantity) // ONE - standing
            elif receipt.state == "parked":
                found[receipt.customer][receipt.start_s] += parse_total(receipt.quantity) // ONE
    return found
