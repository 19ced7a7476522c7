"""Prorations: what a part of a period costs or gives back, by the second, as invoice items that wait for the next invoice.

Source: https://docs.stripe.com/billing/subscriptions/prorations
"""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

from infra.sandbox import invoice_item_bodies, invoicing, pricing
from infra.sandbox.ids import new_id
from infra.sandbox.moment import Moment
from infra.sandbox.periods import Period
from infra.sandbox.resources import Json
from topics.quantity import ONE


def add_licensed(moment: Moment, subscription: Json, item: Json, price: Json, sign: int, part: Period, whole: Period) -> None:
    """Charges (sign 1) or gives back (sign -1) a licensed item's quantity for a part of a period."""
    share = Fraction(part.end - part.start, whole.end - whole.start)
    charges = pricing.charges(price, item["quantity"] * ONE, tier_lines=False, flat_at_zero=moment.knobs.tier_flat_at_zero)
    exact = sum((Fraction(each.amount) for each in charges), Fraction()) * share
    name = price["nickname"] or price["product"]
    day = datetime.fromtimestamp(part.start, UTC).strftime("%d %b %Y")
    words = f"Remaining time on {item['quantity']} × {name} after {day}" if sign > 0 else f"Unused time on {item['quantity']} × {name} after {day}"
    _add(moment, subscription, item, price, sign * pricing.rounded(exact), item["quantity"] * ONE, part, words, proration=True)


def add_usage(moment: Moment, subscription: Json, item: Json, price: Json, quantity: int, part: Period) -> None:
    """Charges what was used of a metered price until it was taken off (flexible billing mode)."""
    for charge in pricing.charges(price, quantity, tier_lines=False, flat_at_zero=False):
        words = f"Usage of {price['nickname'] or price['product']}"
        _add(moment, subscription, item, price, charge.amount, charge.quantity, part, words, proration=False)


def _add(
    moment: Moment, subscription: Json, item: Json, price: Json, amount: int, quantity: int, part: Period, words: str, *, proration: bool
) -> None:
    customer = moment.store.get("customer", subscription["customer"]) or {}
    unit = price["unit_amount_decimal"]
    body = invoice_item_bodies.opened(
        new_id("ii"), moment.now, customer, currency=price["currency"], amount=amount, quantity=quantity, unit_amount_decimal=unit,
        period=(part.start, part.end), price=price, item=item, subscription=subscription["id"], proration=proration, description=words,
    )  # fmt: skip
    moment.store.put(body, parent=customer["id"], ref=invoicing.PENDING)
