"""What is asked of a provider to bill an adjustment elsewhere (law 16): a quote, the bill itself, and whether a bill is there. Pure values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from topics.adjustments import Remedy
from topics.receipt import CellReceipt

if TYPE_CHECKING:
    from sinks.stripe.objects import Price

MODE = "usage_records"
"""These calls are rare, and fall under the account's limit like usage records."""


class Quote(NamedTuple):
    """By which price the item's units cost what, who pays, and what lines of `invoice` can give back ("": no credit note is wanted).

    `price`, `subscription` and `payer` are empty where the cell does not know them; `at_s` is its second, by which the lines are found.
    """

    key: bytes
    item: str
    price: str
    subscription: str
    payer: str
    invoice: str
    at_s: int

    @property
    def mode(self) -> str:
        """Whose rate limit it falls under."""
        return MODE


class CreditLine(NamedTuple):
    """A line of an invoice, and how much of it (smallest units) a credit note can give back."""

    id: str
    left: int


class Quoted(NamedTuple):
    """The answer to a quote: `payer` is the provider's customer, `owed` what is still to be paid of the invoice."""

    payer: str
    price: Price
    lines: tuple[CreditLine, ...] = ()
    owed: int = 0


class Bill(NamedTuple):
    """Post a remedy's exact request; the bytes must be on the socket by `not_after_ms`, or not at all."""

    key: bytes
    receipt: CellReceipt
    remedy: Remedy
    not_after_ms: int

    @property
    def mode(self) -> str:
        """Whose rate limit it falls under."""
        return MODE


class LookUp(NamedTuple):
    """Look for what a remedy may have made: among the payer's invoice items, or the invoice's credit notes."""

    key: bytes
    receipt: CellReceipt
    remedy: Remedy

    @property
    def mode(self) -> str:
        """Whose rate limit it falls under."""
        return MODE


RemedyCall = Quote | Bill | LookUp
