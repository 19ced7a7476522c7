"""Law 16 in money: every adjustment of the receipts as a row, with what it would come to on an invoice. Pure.

What an adjustment costs depends on what its period holds already (tiers, packages, fractions of a cent), so those of one item and period are
priced one after the other in the order in which they are listed: each as the next units on the same line. Their amounts then add up to what the
period's line would have come to with all of them on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from sinks.adjustments import is_open
from sinks.stripe.costs import more
from topics.adjustments import Adjustment
from topics.receipt import CellReceipt, receipt_key
from topics.windows import parse_window_key

if TYPE_CHECKING:
    from sinks.stripe.objects import Price

Priced = tuple[str, str]
"""(item, price id): whose price it is; the id is empty where the binding does not say it."""
Line = tuple[str, str, str, str, str, int]
"""What bills together: provider, account, customer, item, price, start of the period."""


class Listed(NamedTuple):
    """One cell's adjustment. `amount` is in the currency's smallest unit, None where the price cannot be read; `maybe` may stand beside it.

    `key` is its receipt's key; `start_s`, `end_s` are the ends of its windows.
    """

    id: str
    key: str
    customer: str
    meter: str
    item: str
    cell: str
    start_s: int
    end_s: int
    period_start_s: int
    period_end_s: int
    is_open: bool
    said: Adjustment
    maybe: tuple[str, ...]
    amount: int | None
    currency: str


def priced_by(receipt: CellReceipt) -> Priced:
    """Whose price says what the cell costs."""
    return receipt.item, receipt.price


def line_of(receipt: CellReceipt) -> Line:
    """What the cell's units are billed together with."""
    return (receipt.provider, receipt.account, receipt.customer, *priced_by(receipt), receipt.period_start_s)


def billed_by_line(receipts: Iterable[CellReceipt]) -> dict[Line, Fraction]:
    """The units that each line bills: what stands in its cells, what was settled beside them, what was carried into it from an earlier period."""
    found: dict[Line, Fraction] = defaultdict(Fraction)
    for receipt in receipts:
        line, said = line_of(receipt), receipt.adjustment
        found[line] += Fraction(0) if receipt.standing is None else Fraction(receipt.standing.units)
        if said is None:
            continue
        found[line] += Fraction(said.settled)
        for part in said.carried:
            found[line] -= Fraction(part.units)
            found[(*line[:5], part.period_start_s)] += Fraction(part.units)
    return found


def listed(receipts: Iterable[CellReceipt], prices: Mapping[Priced, Price]) -> list[Listed]:
    """Every adjustment of the newest receipts, the oldest first, open and settled ones."""
    receipts = list(receipts)
    billed = billed_by_line(receipts)
    rows = list[Listed]()
    adjusted = [(receipt, receipt.adjustment) for receipt in receipts if receipt.adjustment is not None]
    for receipt, said in sorted(adjusted, key=lambda pair: (pair[1].since_ms, pair[1].id)):
        line, units = line_of(receipt), Fraction(said.units)
        price = prices.get(priced_by(receipt))
        amount = None if price is None else more(price, billed[line], units)
        billed[line] += units
        rows.append(_row(receipt, said, amount, "" if price is None else price.currency))
    return rows


def _row(receipt: CellReceipt, said: Adjustment, amount: int | None, currency: str) -> Listed:
    windows = [parse_window_key(part.window) for part in receipt.windows]
    return Listed(
        id=said.id,
        key=receipt_key(receipt).decode(),
        customer=receipt.customer,
        meter=receipt.meter,
        item=receipt.item,
        cell=receipt.cell,
        start_s=min(window.start_s for window in windows),
        end_s=max(window.end_s for window in windows),
        period_start_s=receipt.period_start_s,
        period_end_s=receipt.period_end_s,
        is_open=is_open(receipt),
        said=said,
        maybe=receipt.maybe,
        amount=amount,
        currency=currency,
    )


def totals(rows: Iterable[Listed]) -> dict[str, int]:
    """What the open adjustments come to, by currency, in smallest units; those without a price are in none."""
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.is_open and row.amount is not None:
            found[row.currency] += row.amount
    return dict(sorted(found.items()))
