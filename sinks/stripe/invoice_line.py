"""One line of an invoice as Stripe shows it, in the shapes of both API eras; and finding a line by its id.

Until 2025-03-31 a line names its item in `subscription_item` and its price in `price.id`; since then in `parent.subscription_item_details` and
`pricing.price_details` (Stripe, changelog basil, "Invoice line items").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from topics.errors import TidemarkError


class Pages(Protocol):
    """`sinks.stripe.client.StripeAccess` as this file uses it."""

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET; the decoded object."""
        ...

    def pages(self, path: str, **parameters: Any) -> Iterable[dict[str, Any]]:
        """All rows of a list."""
        ...


class LinePart(NamedTuple):
    """One line as Stripe shows it. `discounted` is what coupons take off it, `taxed` what is added as tax, `taxed_within` what of it is tax."""

    id: str
    units: int
    amount: int
    description: str = ""
    discounted: int = 0
    taxed: int = 0
    taxed_within: int = 0


class InvoiceLine(NamedTuple):
    """A line of usage: `[start_s, end_s)` is its service period, `units` what it bills, `amount` money in the currency's minor unit.

    Where a price has graduated tiers Stripe shows a line for each: they are one line here, under the id that was asked for, and its `parts`.
    `number` is the invoice's as printed on it, `created_s` when the invoice was made.
    """

    invoice: str
    status: str
    id: str
    item: str
    price: str
    start_s: int
    end_s: int
    units: int
    amount: int
    currency: str
    subscription: str = ""
    number: str = ""
    created_s: int = 0
    customer: str = ""
    proration: bool = False
    parts: tuple[LinePart, ...] = ()


class _Period(msgspec.Struct):
    start: int
    end: int


class _Discount(msgspec.Struct):
    amount: int = 0


class _Tax(msgspec.Struct):
    """Before basil `inclusive` says whether the amount holds it, from then on `tax_behavior`."""

    amount: int = 0
    inclusive: bool | None = None
    tax_behavior: str | None = None

    @property
    def is_within(self) -> bool:
        return bool(self.inclusive) or self.tax_behavior == "inclusive"


class _Line(msgspec.Struct):
    id: str
    amount: int
    currency: str
    period: _Period
    quantity: int | None = None
    description: str | None = None
    discount_amounts: tuple[_Discount, ...] | None = None
    tax_amounts: tuple[_Tax, ...] | None = None
    taxes: tuple[_Tax, ...] | None = None
    proration: bool | None = None


def line_of(row: Mapping[str, Any], invoice: Mapping[str, Any]) -> InvoiceLine | None:
    """The line; None where it bills no subscription item (a single item, a credit). Raises TidemarkError where it is not as documented."""
    item = _at(row, "parent", "subscription_item_details", "subscription_item") or row.get("subscription_item")
    price = _at(row, "pricing", "price_details", "price") or _at(row, "price", "id")
    if not isinstance(item, str) or not isinstance(price, str):
        return None
    try:
        line = msgspec.convert(row, _Line)
    except msgspec.ValidationError as error:
        raise TidemarkError(f"line {row.get('id')} of invoice {invoice.get('id')} is not as Stripe documents it: {error}") from None
    status, units = str(invoice.get("status")), line.quantity or 0
    subscription = _at(row, "parent", "subscription_item_details", "subscription") or row.get("subscription") or invoice.get("subscription")
    created, customer = invoice.get("created"), invoice.get("customer")
    return InvoiceLine(
        invoice=str(invoice.get("id")),
        status=status,
        id=line.id,
        item=item,
        price=price,
        start_s=line.period.start,
        end_s=line.period.end,
        units=units,
        amount=line.amount,
        currency=line.currency,
        subscription=subscription if isinstance(subscription, str) else "",
        number=str(invoice.get("number") or ""),
        created_s=created if isinstance(created, int) else 0,
        customer=customer if isinstance(customer, str) else "",
        proration=bool(line.proration or _at(row, "parent", "subscription_item_details", "proration")),
        parts=(_part(line, units),),
    )


def subscription_of(invoice: Mapping[str, Any]) -> str:
    """The subscription that made the invoice, in the shapes of both eras; "" where none did."""
    found = _at(invoice, "parent", "subscription_details", "subscription") or invoice.get("subscription")
    return found if isinstance(found, str) else ""


def _part(line: _Line, units: int) -> LinePart:
    taxes = line.taxes or line.tax_amounts or ()
    return LinePart(
        id=line.id,
        units=units,
        amount=line.amount,
        description=line.description or "",
        discounted=sum(each.amount for each in line.discount_amounts or ()),
        taxed=sum(each.amount for each in taxes if not each.is_within),
        taxed_within=sum(each.amount for each in taxes if each.is_within),
    )


def lines_of(access: Pages, invoice: Mapping[str, Any]) -> list[InvoiceLine]:
    """All usage lines of an invoice; a list of lines shows its first ten only."""
    shown = invoice.get("lines") or {}
    rows = access.pages(f"/v1/invoices/{invoice['id']}/lines") if shown.get("has_more") else shown.get("data", [])
    return [line for row in rows if (line := line_of(row, invoice)) is not None]


def find(access: Pages, name: str) -> InvoiceLine:
    """The line `il_…`, looked for on the newest invoices first; or `in_…`, an invoice with one line that bills something.

    Stripe retrieves no line by its id alone: `in_…/il_…` spares the search. Raises TidemarkError where there is none, or `in_…` has several.
    """
    invoice_id, _, line_id = name.rpartition("/") if "/" in name else ("", "", name)
    if not invoice_id and name.startswith("in_"):
        lines = whole(line for line in lines_of(access, access.get(f"/v1/invoices/{name}")) if line.units)
        if len(lines) == 1:
            return lines[0]
        listed = ", ".join(f"{name}/{line.id}" for line in lines)
        raise TidemarkError(f"invoice {name} has {len(lines)} lines of usage" + (f"; name one: {listed}" if lines else ""))
    invoices = [access.get(f"/v1/invoices/{invoice_id}")] if invoice_id else access.pages("/v1/invoices")
    for invoice in invoices:
        lines = lines_of(access, invoice)
        for line in lines:
            if line.id == line_id:
                return next(each for each in whole(lines) if _bills(each) == _bills(line))._replace(id=line.id)
    raise TidemarkError(f"no invoice has a usage line {line_id}; name it with its invoice: in_…/il_…")


def _bills(line: InvoiceLine) -> tuple[str, str, int, int]:
    """What the lines of one price's tiers have in common."""
    return line.item, line.price, line.start_s, line.end_s


def whole(lines: Iterable[InvoiceLine]) -> list[InvoiceLine]:
    """Lines of one price's tiers as one."""
    found: dict[tuple[str, str, int, int], InvoiceLine] = {}
    for line in lines:
        held = found.get(_bills(line))
        found[_bills(line)] = line if held is None else _together(held, line)
    return list(found.values())


def _together(held: InvoiceLine, line: InvoiceLine) -> InvoiceLine:
    parts = held.parts + line.parts
    return held._replace(units=held.units + line.units, amount=held.amount + line.amount, parts=parts, proration=held.proration or line.proration)


def _at(row: Mapping[str, Any], *names: str) -> Any:
    value: Any = row
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
