"""Finding the line of an invoice by what is printed on it: an amount, units, about when. Pure but for the reading it is given.

Amounts and units are compared exactly, with lines as Stripe shows them and with the tiers of one price together. Nothing is chosen by a guess: what
does not match is listed by how near it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sinks.stripe.costs import places
from sinks.stripe.invoice_line import InvoiceLine, Pages, lines_of, whole
from topics.errors import UsageError

NEAREST: Final = 5
"""How many lines are shown where none matches."""


class Asked(NamedTuple):
    """What is known of the line: `amount` as printed, `units`, and a stretch of time `[from_s, to_s)` that its period or its invoice touches."""

    amount: str = ""
    units: int | None = None
    around: tuple[int, int] | None = None
    currency: str = ""

    def minor(self, currency: str) -> int | None:
        """The amount in the smallest unit of a currency; None where it has more places than that."""
        return None if not self.amount else minor_units(self.amount, currency)


class Found(NamedTuple):
    """Lines that match in all that was asked; where there is none, those that come nearest, with how far off each is."""

    matches: tuple[InvoiceLine, ...]
    nearest: tuple[tuple[InvoiceLine, str], ...] = ()
    looked_at: int = 0


def minor_units(text: str, currency: str) -> int | None:
    """`42.12`, `4,212.00`, `-3` in the currency's smallest unit. Raises UsageError where it is no amount, None where it has too many places."""
    plain = text.strip().replace(",", "").replace(" ", "").replace("_", "")
    sign, digits = (-1, plain[1:]) if plain[:1] in {"-", "−"} else (1, plain)
    head, _, tail = digits.partition(".")
    if not (head or tail) or not (head + tail).isascii() or not (head + tail).isdigit():
        raise UsageError(f"--amount {text!r} is no amount; write it as on the invoice: 42.12")
    tail = tail.rstrip("0")
    if len(tail) > places(currency):
        return None
    return sign * int((head or "0") + tail.ljust(places(currency), "0"))


def find_amount(access: Pages, customers: Iterable[str], asked: Asked) -> Found:
    """Looks through all invoices of these Stripe customers, newest first."""
    lines = list(_lines(access, customers))
    matches = [line for line in lines if _matches(line, asked)]
    if matches:
        return Found(tuple(_once(matches)), looked_at=len(lines))
    near = sorted(_once(lines), key=lambda line: _distance(line, asked))[:NEAREST]
    return Found((), tuple((line, _off(line, asked)) for line in near), len(lines))


def _lines(access: Pages, customers: Iterable[str]) -> Iterator[InvoiceLine]:
    """Each price of each invoice as one line, and then the tiers of those that have several."""
    for customer in customers:
        for invoice in access.pages("/v1/invoices", customer=customer):
            for line in whole(lines_of(access, invoice)):
                tiers = line.parts if len(line.parts) > 1 else ()
                yield from (line, *(line._replace(id=part.id, units=part.units, amount=part.amount) for part in tiers))


def _once(lines: Iterable[InvoiceLine]) -> list[InvoiceLine]:
    """A price of an invoice once, whether it or one of its tiers was found."""
    return list({(line.invoice, line.item, line.price, line.start_s): line for line in reversed(list(lines))}.values())[::-1]


def _matches(line: InvoiceLine, asked: Asked) -> bool:
    amount = asked.minor(line.currency)
    return (
        (not asked.amount or amount == line.amount)
        and (asked.units is None or asked.units == line.units)
        and (not asked.currency or asked.currency.lower() == line.currency)
        and (asked.around is None or _touches(line, asked.around))
    )


def _touches(line: InvoiceLine, around: tuple[int, int]) -> bool:
    """Whether the line's period, or the making of its invoice, lies in a stretch of time."""
    return (line.start_s < around[1] and around[0] < line.end_s) or around[0] <= line.created_s < around[1]


def _distance(line: InvoiceLine, asked: Asked) -> tuple[bool, int, int, int]:
    """What is nearer is smaller; last come lines in whose currency there is no such amount."""
    amount = asked.minor(line.currency)
    away_s = 0
    if asked.around is not None and not _touches(line, asked.around):
        away_s = min(abs(line.start_s - asked.around[1]), abs(asked.around[0] - line.end_s))
    units = 0 if asked.units is None else abs(line.units - asked.units)
    return bool(asked.amount) and amount is None, 0 if amount is None else abs(line.amount - amount), units, away_s


def _off(line: InvoiceLine, asked: Asked) -> str:
    """What does not match, in a few words."""
    amount = asked.minor(line.currency)
    said = []
    if asked.amount and amount != line.amount:
        said.append("another amount")
    if asked.units is not None and asked.units != line.units:
        said.append("other units")
    if asked.currency and asked.currency.lower() != line.currency:
        said.append("another currency")
    if asked.around is not None and not _touches(line, asked.around):
        said.append("another time")
    return ", ".join(said)
