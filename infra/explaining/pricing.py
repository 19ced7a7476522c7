"""The price of a line or item, read from Stripe, and what units come to at it. What cannot be read is a sentence, not an error: the events stand."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from topics.errors import TidemarkError
from topics.quantity import ONE

if TYPE_CHECKING:
    from sinks.clickhouse.line import LineWindows
    from sinks.stripe.invoice_line import InvoiceLine, Pages
    from sinks.stripe.line_money import LineMoney
    from sinks.stripe.objects import Price


def price_of(access: Pages, name: str) -> Price | None:
    """A price with its tiers; None where Stripe does not show it."""
    from sinks.stripe.objects import Price, read

    if not name:
        return None
    try:
        return read(access.get(f"/v1/prices/{name}", expand=["tiers"]), Price)
    except TidemarkError:
        return None


def trial_of(access: Pages, line: InvoiceLine) -> int | None:
    """Until when the line's subscription costs nothing; asked for only where a line of units comes to nothing."""
    if line.amount or not line.units or not line.subscription:
        return None
    try:
        found: Any = access.get(f"/v1/subscriptions/{line.subscription}").get("trial_end")
    except TidemarkError:
        return None
    return found if isinstance(found, int) else None


def money_of(access: Pages, line: InvoiceLine, windows: LineWindows) -> LineMoney:
    """What the line's units come to. Parts of a unit, which a line of before basil does not show, are what the provider answered for."""
    from sinks.stripe.line_money import line_money

    scaled = windows.units_scaled if windows.units == line.units else line.units * ONE
    return line_money(line, price_of(access, line.price), Fraction(scaled, ONE), trial_until_s=trial_of(access, line))
