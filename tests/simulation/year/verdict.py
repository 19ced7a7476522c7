"""What must be true at a year's end: in each customer's billing periods, what Stripe bills and what is listed as an adjustment are all the usage.

The account of what was used is the plan itself: events by the second in which they happened, added up. One sentence a fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from infra.sandbox import billed_usage
from infra.sandbox.periods import Period
from tests.simulation.year.application import Account
from tests.simulation.year.living import Year
from tests.simulation.year.shop import MODERN
from topics.quantity import ONE, parse_total
from topics.receipt import CellReceipt

UNWANTED: Final = ("idempotency_error", "timestamp")
"""Kinds of error that no call of the product may ever get."""


def owed(kind: str, units: int) -> int:
    """Cents for so many units under the prices of `subscriber.py`, each by hand; halves round up."""
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
    """One billing period of a subscription, `[start_s, end_s)`, or the part of it that a line bills."""

    start_s: int
    end_s: int


def judge(year: Year) -> list[str]:
    """Every fault."""
    faults = [f"{count} calls were answered {kind} {status}" for (kind, status), count in year.shop.statuses.items() if kind.startswith(UNWANTED)]
    faults += [f"partition {each.partition}: residual {each.core.counters.residual}" for each in year.counting if each.core.counters.residual]
    open_ = _open(year)
    for account in year.accounts.values():
        found = [*_of(year, account, open_[account.subscriber.name]), *_money(year, account)]
        faults += [f"{account.subscriber.name} ({account.customer}): {fault}" for fault in found]
    return faults


def _of(year: Year, account: Account, open_: dict[int, int]) -> Iterator[str]:
    """`open_`: what is listed as not billed, by the second from which on it was used."""
    billed = billed_by_span(year, account)
    together = _together(billed, account)
    sums: dict[Span | None, list[int]] = defaultdict(lambda: [0, 0, 0])
    for span, units in billed.items():
        sums[together[span]][0] += units
    for second, units in open_.items():
        sums[_holding(together, second)][1] += units
    for one in year.plan.used:
        if one.customer == account.subscriber.number and one.sent_at_s < year.plan.until_s:
            sums[_holding(together, one.occurred_at_s)][2] += one.quantity
    for whole, (stands, listed, used) in sums.items():
        if stands + listed != used:
            yield f"{whole}: {stands} billed and {listed} listed, {used} were used"


def _together(billed: dict[Span, int], account: Account) -> dict[Span, Span]:
    """Each span with the one that stands for it. A window across a change of plan in mid hour is reported as one: both sides are judged as one."""
    found = {span: span for span in billed}
    for changed_s in account.changed:
        before, after = (_smallest(billed, second) for second in (changed_s - 1, changed_s))
        if changed_s % 3600 and before is not None and after is not None:
            found = {span: found[before] if whole == found[after] else whole for span, whole in found.items()}
    return found


def _smallest(spans: dict[Span, Any], second: int) -> Span | None:
    """Of a period and a part of it that was billed by itself, the part."""
    holding = [span for span in spans if span.start_s <= second < span.end_s]
    return min(holding, key=lambda span: span.end_s - span.start_s, default=None)


def _holding(together: dict[Span, Span], second: int) -> Span | None:
    span = _smallest(together, second)
    return None if span is None else together[span]


def _money(year: Year, account: Account) -> Iterator[str]:
    """Each price's amount on an invoice is what its units cost; a graduated price has a line for each tier, and a trial is free."""
    for invoice, lines in invoices_of(year, account):
        sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        for line in lines:
            is_free = line["description"].startswith("Trial")
            charge = sums[line["price"]["id"], line["type"], str(line["period"]), line["price"]["metadata"]["kind"], "free" if is_free else ""]
            charge[0] += line["quantity"]
            charge[1] += line["amount"]
        for (*_, kind, free), (units, cents) in sums.items():
            if cents != (0 if free else owed(kind, units)):
                yield f"invoice {invoice['id']}: {units} units at price {kind} are {cents}, not {owed(kind, units)}"


def invoices_of(year: Year, account: Account) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each invoice of a customer with its lines of usage."""
    for invoice in year.shop.pages("/v1/invoices", {"customer": account.customer}):
        # Only a pause keeps a draft for longer than an hour.
        assert invoice["status"] in {"paid", "draft", "void", "uncollectible"}, invoice["status"]
        lines = invoice["lines"]["data"]
        assert not invoice["lines"]["has_more"]
        yield invoice, [line for line in lines if line["price"]["recurring"]["usage_type"] == "metered"]


def billed_by_span(year: Year, account: Account) -> dict[Span, int]:
    """Units by what bills them: what invoices say, and what waits for the next one; of the period that runs, what Stripe holds."""
    billed: dict[Span, int] = defaultdict(int)
    for invoice, lines in invoices_of(year, account):
        # The first one shows what begins, with nothing on it.
        for line in lines if invoice["billing_reason"] != "subscription_create" else ():
            billed[Span(line["period"]["start"], line["period"]["end"])] += line["quantity"]
    for item in year.shop.store.scan("invoiceitem", parent=account.customer, ref="pending"):
        if item["_price"]["recurring"]["usage_type"] == "metered":
            billed[Span(item["period"]["start"], item["period"]["end"])] += item["_quantity"] // ONE
    if year.shop.call("GET", f"/v1/subscriptions/{account.subscription}")["status"] != "canceled":
        shown = year.shop.call("GET", f"/v1/subscription_items/{account.item}", {}, MODERN)
        span = Span(shown["current_period_start"], shown["current_period_end"])
        billed[span] += running(year, account, span)
    return billed


def running(year: Year, account: Account, span: Span) -> int:
    """Units that Stripe would bill for the period that runs, if it ended as things are."""
    store, knobs = year.shop.store, year.shop.knobs
    item = store.get("subscription_item", account.item) or {}
    price = store.get("price", item["price"]) or {}
    return billed_usage.billed(store, knobs, item, price, account.customer, Period(0, *span)) // ONE


def _open(year: Year) -> dict[str, dict[int, int]]:
    """By customer and second: units that were used and are not billed, as the receipts list them."""
    found: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for delivering in year.delivering:
        for receipt in delivering.last():
            if isinstance(receipt, CellReceipt):
                standing = 0 if receipt.standing is None else int(receipt.standing.units)
                # A usage record's second is one after its period's start where it would be the start itself.
                second = receipt.timestamp_s - (receipt.timestamp_s == receipt.period_start_s + 1)
                found[receipt.customer][second] += parse_total(receipt.quantity) // ONE - standing
            elif receipt.state == "parked":
                found[receipt.customer][receipt.start_s] += parse_total(receipt.quantity) // ONE
    return found
