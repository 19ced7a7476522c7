"""What a difference comes to in money, where the price is known. Pure."""

from __future__ import annotations

from fractions import Fraction

from infra.reconciling.books import Books, CellBook
from sinks.stripe.costs import more
from topics.quantity import ONE


def price_of(books: Books, item: str, cells: tuple[CellBook, ...] = ()) -> str:
    """The price that bills an item's units: what its cells say, else the newest version of the item."""
    said = [cell.newest.price for cell in cells if cell.newest.price]
    of_item = [version.item.price for version in books.versions if version.item is not None and version.item.item == item]
    return next(reversed([*of_item, *said]), "")


def money(books: Books, price: str, expected: int, difference: int) -> tuple[int | None, str]:
    """(amount, currency) by which a period of `expected` units (× 10¹²) would cost more with `difference` on it; None: the price is not known."""
    known = books.prices.get(price)
    if known is None or not difference:
        return (None, "") if known is None else (0, known.currency)
    amount = more(known, Fraction(max(0, expected), ONE), Fraction(difference, ONE))
    return amount, "" if amount is None else known.currency
