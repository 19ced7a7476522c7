"""`tidemark explain CUSTOMER --amount 42.12`: the line that has it, found among the customer's invoices, for a person who holds only a PDF."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from infra.explaining.line import LISTED, Explained, taken_apart
from infra.explaining.period import bindings_of
from infra.reading import clickhouse, instant
from infra.stripe_catalog import access
from topics.bindings import Item
from topics.definitions import Definitions
from topics.errors import TidemarkError, UsageError
from topics.instants import US_PER_S, days_of

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.stripe.find_amount import Asked
    from sinks.stripe.invoice_line import InvoiceLine, Pages

DAY_S = 86_400


class Amounts(NamedTuple):
    """The lines that match, taken apart; where there is none, those that come nearest, each with what is different."""

    customer: str
    matches: tuple[Explained, ...]
    nearest: tuple[tuple[InvoiceLine, str], ...]
    looked_at: int

    @property
    def faults(self) -> list[str]:
        """What contradicts in the lines found."""
        return [fault for each in self.matches for fault in each.faults]


def explained_amount(settings: Settings, customer: str, asked: Asked, *, limit: int = LISTED) -> Amounts:
    """Finds it on the invoices of whoever pays for the customer at Stripe. Raises TidemarkError where nobody does."""
    from sinks.stripe.find_amount import find_amount
    from sinks.stripe.invoice_line import find

    archive = clickhouse(settings)
    try:
        with access(settings) as stripe:
            found = find_amount(stripe.old, payers(stripe.old, bindings_of(archive, customer), customer), asked)
            lines = [find(stripe.old, f"{line.invoice}/{line.id}") for line in found.matches]
            ours = tuple(taken_apart(settings, archive, stripe.old, line, limit=limit) for line in lines)
            return Amounts(customer, ours, found.nearest, found.looked_at)
    finally:
        archive.close()


def payers(access: Pages, held: Definitions, customer: str) -> list[str]:
    """The Stripe customers that a customer's items were ever billed to. Raises TidemarkError where there is none."""
    items = items_of(held, customer)
    found = dict.fromkeys(item.stripe_customer for item in items if item.stripe_customer)
    for subscription in dict.fromkeys(item.subscription for item in items if not item.stripe_customer):
        found |= dict.fromkeys(_payer(access, subscription))
    if not found:
        raise TidemarkError(f"nothing says who pays for {customer!r} at Stripe; `tidemark bindings --customer {customer}` shows what is known")
    return list(found)


def _payer(access: Pages, subscription: str) -> list[str]:
    """Who pays for a subscription; nobody where it is not named or gone."""
    if not subscription:
        return []
    try:
        payer = access.get(f"/v1/subscriptions/{subscription}").get("customer")
    except TidemarkError:
        return []
    return [payer] if isinstance(payer, str) else [payer["id"]] if isinstance(payer, dict) else []


def around_of(text: str) -> tuple[int, int]:
    """`[from_s, to_s)` of a year, a month, a day or an instant. Raises UsageError."""
    match = re.fullmatch(r"(\d{4})(?:-(\d\d))?", text, re.ASCII)
    if match is None:
        at_s = instant(text, "--around") // US_PER_S
        return (at_s, at_s + DAY_S) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else (at_s, at_s + 1)
    year, month = int(match[1]), int(match[2] or 1)
    if not 1 <= month <= 12 or not 1970 <= year < 9999:
        raise UsageError(f"--around {text!r} is no month; write 2026-11, 2026-11-03 or an instant")
    months = year * 12 + month - 1 + (1 if match[2] else 12)
    return days_of(year, month, 1) * DAY_S, days_of(months // 12, months % 12 + 1, 1) * DAY_S


def items_of(held: Definitions, customer: str) -> list[Item]:
    """Every item that ever billed the customer."""
    return [version.item for (name, _), versions in held.items.items() if name == customer for version in versions if version.item is not None]
