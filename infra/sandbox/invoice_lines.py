"""The lines of an invoice: what each is for, and what it comes to. Usage is counted when it is looked at, until the invoice is final.

A stored line is a plan: `_kind` is `usage` (a metered item over a period), `licensed` (a quantity for a period) or `item` (an invoice item).
A computed line has amount and quantity too; several can come of one plan, one for each tier.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Literal

from infra.sandbox import billed_usage, pricing
from infra.sandbox.ids import new_id
from infra.sandbox.knobs import Knobs
from infra.sandbox.periods import Period
from infra.sandbox.resources import Json
from infra.sandbox.store import Store
from topics import quantity as exact
from topics.quantity import ONE

Kind = Literal["usage", "licensed", "item"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `quantity` in 10⁻¹² units; `start`, `end` its service period; `share` of a full interval that a licensed one pays;
    `price` and `item` are the objects as they stood when the line was planned; `free` costs nothing (a trial)."""

    id: str
    kind: Kind
    start: int
    end: int
    currency: str
    quantity: int = 0
    amount: int = 0
    description: str | None = None
    price: Json | None = None
    subscription: str | None = None
    item: Json | None = None
    invoice_item: str | None = None
    proration: bool = False
    free: bool = False
    index: int = 0
    share: tuple[int, int] = (1, 1)
    unit_amount_decimal: str | None = None
    tier: int | None = None
    metadata: dict[str, str] | None = None

    def as_json(self) -> Json:
        """For the store; not a deep copy, because the store writes it down at once."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = tuple(each.name for each in fields(Line))


def from_json(body: Json) -> Line:
    """What `as_json` wrote."""
    return Line(**{**body, "share": tuple(body["share"])})


def usage_line(subscription: Json, item: Json, price: Json, period: Period, *, free: bool = False) -> Line:
    """The plan of a metered item's line for a period."""
    return Line(
        new_id("il"), "usage", period.start, period.end, price["currency"],
        price=price, subscription=subscription["id"], item=item, free=free, index=period.index, metadata=subscription["metadata"],
    )  # fmt: skip


def licensed_line(subscription: Json, item: Json, price: Json, period: Period, *, free: bool = False, share: Fraction = Fraction(1)) -> Line:
    """The plan of a licensed item's line for a period, of which it pays a share."""
    return Line(
        new_id("il"), "licensed", period.start, period.end, price["currency"], quantity=item["quantity"] * ONE,
        price=price, subscription=subscription["id"], item=item, free=free, index=period.index,
        share=(share.numerator, share.denominator), metadata=subscription["metadata"],
    )  # fmt: skip


def item_line(body: Json) -> Line:
    """The line of an invoice item."""
    return Line(
        new_id("il"), "item", body["period"]["start"], body["period"]["end"], body["currency"], quantity=body["_quantity"],
        amount=body["amount"], description=body["description"], price=body["_price"], subscription=body["subscription"],
        item=body["_item"], invoice_item=body["id"], proration=body["proration"], unit_amount_decimal=body["_unit_amount_decimal"],
        metadata=body["metadata"],
    )  # fmt: skip


def computed(store: Store, knobs: Knobs, customer_id: str, lines: Iterable[Line]) -> list[Line]:
    """The lines with what they come to now."""
    return [line for plan in lines for line in _computed(store, knobs, customer_id, plan)]


def _computed(store: Store, knobs: Knobs, customer_id: str, plan: Line) -> list[Line]:
    if plan.kind == "item" or plan.price is None or plan.item is None:
        return [plan]
    quantity = plan.quantity
    if plan.kind == "usage":
        quantity = billed_usage.billed(store, knobs, plan.item, plan.price, customer_id, Period(plan.index, plan.start, plan.end))
    return priced(plan, plan.price, quantity, knobs)


def priced(plan: Line, price: Json, quantity: int, knobs: Knobs) -> list[Line]:
    """The lines of a plan for a quantity: one for each charge, with ids that stay while the invoice is a draft."""
    found = pricing.charges(price, quantity, tier_lines=knobs.tier_lines, flat_at_zero=knobs.tier_flat_at_zero)
    whole = plan.share == (1, 1)
    if not whole:
        total = pricing.rounded(sum(each.amount for each in found) * Fraction(*plan.share))
        found = [pricing.Charge(quantity, total, found[0].unit_amount_decimal if len(found) == 1 else None)]
    lines = []
    for n, charge in enumerate(found):
        line_id = plan.id if n == 0 else "il_1" + hashlib.sha256(f"{plan.id}/{n}".encode()).hexdigest()[:23]
        lines.append(
            replace(
                plan,
                id=line_id,
                quantity=charge.quantity,
                amount=0 if plan.free else charge.amount,
                unit_amount_decimal=charge.unit_amount_decimal,
                tier=charge.tier if len(found) > 1 else None,
                description=plan.description or _described(price, charge, free=plan.free),
            )
        )
    return lines


def _described(price: Json, charge: pricing.Charge, *, free: bool) -> str:
    name = price["nickname"] or price["product"]
    if free:
        return f"Trial period for {name}"
    tier = "" if charge.tier is None else f" (Tier {charge.tier})"
    return f"{exact.format_scaled(charge.quantity)} × {name}{tier}"
