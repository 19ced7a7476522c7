"""What must be true at a year's end: in each customer's billing periods, what Stripe bills and what is listed as an adjustment are all the usage.

The account of what was used is the plan itself: events by the second in which they happened, added up. One sentence a fault.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from sinks.stripe.request import summaries_path
from tests.simulation.year.living import Year
from topics.quantity import ONE, parse_total
from topics.receipt import CellReceipt

UNWANTED: Final = ("idempotency_error",)
"""Kinds of error that no call of the product may ever get."""


class Span(NamedTuple):
    """One billing period of a subscription, `[start_s, end_s)`."""

    start_s: int
    end_s: int


def judge(year: Year) -> list[str]:
    """Every fault."""
    faults = [f"{count} calls were answered {kind} {status}" for (kind, status), count in year.shop.statuses.items() if kind in UNWANTED]
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
        for item in year.shop.pages("/v1/subscription_items", {"subscription": subscription}):
            newest = next(iter(year.shop.pages(summaries_path(item["id"]))))
            billed[Span(newest["period"]["start"], newest["period"]["end"])] += newest["total_usage"]
    return billed


def _holding(billed: dict[Span, int], second: int) -> Span | None:
    return next((span for span in billed if span.start_s <= second < span.end_s), None)


def _open(year: Year) -> dict[str, dict[int, int]]:
    """By customer and second: units that were used and are not billed, as the receipts list them."""
    found: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for delivering in year.delivering:
        for receipt in delivering.last():
            if isinstance(receipt, CellReceipt):
                standing = 0 if receipt.standing is None else int(receipt.standing.units)
                found[receipt.customer][receipt.timestamp_s - 1] += parse_total(receipt.quantity) // ONE - standing
            elif receipt.state == "parked":
                found[receipt.customer][receipt.start_s] += parse_total(receipt.quantity) // ONE
    return found
