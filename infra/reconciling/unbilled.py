"""Periods of ours that are over for the provider and that no invoice bills: its invoice is void, has no line of the item, or the item is gone. Pure.

A line that is not there has no number to compare, so it is looked for from our side: every billing period in which cells of ours stand must be
billed by the invoice that closes it. Uncollectible is no such case: at Stripe such an invoice is still owed, and may be paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from infra.reconciling.books import Books, InvoiceRead
from infra.reconciling.drift import Drift
from infra.reconciling.pots import Pot, Shelf
from infra.reconciling.provider import edited
from topics.instants import format_s
from topics.invoices import FINAL
from topics.quantity import format_scaled

BILLED: Final = frozenset({"open", "paid", "uncollectible"})
"""Final invoices that ask for money; a void one bills nothing."""
LOOKED_AT: Final = BILLED | {"draft"}
"""A line of a draft is on its way to be one."""

_WHY = {
    "void": "invoice {invoice}, which billed it, is void: it is owed by nobody",
    "no line": "invoice {invoice} is final and has no line of it: the line or the item was deleted",
    "deleted": "the item is deleted at Stripe, and its usage with it",
}
_ADVICE = {
    "void": "where nobody is to pay it (a collection that was paused, a courtesy), say so; else bill it anew. Either way --repair lists it as an "
    "adjustment, which the policy (`late`) bills, or a person settles",
    "no line": "look whether an invoice item bills it; else bill it by one, or waive it. Of usage records --repair lists it as an adjustment, which "
    "the policy (`late`) bills, or a person settles",
    "deleted": "put the item back or bind the customer to another one (`tidemark stripe sync`); once its period is over, --repair lists what was "
    "on it as an adjustment, which the policy (`late`) bills, or a person settles",
}


class Nowhere(NamedTuple):
    """A billing period of an item that no invoice bills, the invoice that should have ("": none), and why."""

    item: str
    start_s: int
    end_s: int
    invoice: str
    why: Literal["void", "no line", "deleted"]

    def has(self, pot: Pot) -> bool:
        """True where a total of the provider's holds cells of the period: it may hold them still, and nobody pays them."""
        mine = (self.item, self.start_s, self.end_s)
        cells = (cell.newest for cell in pot.cells)
        is_inside = pot.item == self.item and self.start_s <= pot.start_s < self.end_s
        return is_inside or any((cell.item, cell.period_start_s, cell.period_end_s) == mine for cell in cells)


def nowhere(books: Books) -> list[Nowhere]:
    """Every such period of the books' cells, oldest first. Where the provider was not asked nothing is said."""
    places = {(cell.newest.period_start_s, cell.newest.period_end_s, cell.newest.item, cell.newest.subscription) for cell in books.cells}
    found = (_of(books, *place) for place in sorted(places) if books.from_s <= place[0] and place[1] <= books.to_s)
    return [each for each in found if each is not None]


def _of(books: Books, start_s: int, end_s: int, item: str, subscription: str) -> Nowhere | None:
    if any(line.item == item and line.start_s < end_s and line.end_s > start_s and line.status in LOOKED_AT for line in books.lines):
        return None
    closing = [read for read in books.read if read.status in FINAL and _closes(books, read, start_s, end_s, item, subscription)]
    name = closing[0].invoice if closing else ""
    if closing and all(read.status == "void" for read in closing):
        return Nowhere(item, start_s, end_s, name, "void")
    if item in books.gone:
        return Nowhere(item, start_s, end_s, name, "deleted")
    return Nowhere(item, start_s, end_s, name, "no line") if closing and not _is_taken_off(books, start_s, end_s, item) else None


def _closes(books: Books, read: InvoiceRead, start_s: int, end_s: int, item: str, subscription: str) -> bool:
    """True where the invoice is the one of the period: by its own lines, by what was heard of it, or by the item's total."""
    if read.subscription == subscription and end_s in read.ends:
        return True
    if any((said.invoice, said.subscription, said.period_end_s) == (read.invoice, subscription, end_s) for said in books.invoices):
        return True
    return any((said.invoice, said.item, said.start_s, said.end_s) == (read.invoice, item, start_s, end_s) for said in books.summaries or ())


def _is_taken_off(books: Books, start_s: int, end_s: int, item: str) -> bool:
    """True where the plan changed within the period from a meter's item to another: of what was used by then Stripe makes an invoice item (flexible
    billing mode), which names no item of ours."""
    if all(cell.newest.meter_target is None for cell in books.cells if cell.newest.item == item):
        return False
    others = (each for each in books.versions if each.item is None or each.item.item != item)
    return any(each.changed_at_s is not None and start_s < each.changed_at_s <= end_s for each in others)


def is_told(books: Books, item: str, end_s: int) -> bool:
    """True where a final invoice that names the item is known for the period: the report takes the period as closed by it."""
    of_it = (said for said in books.invoices if said.status in FINAL and (not said.items or item in said.items))
    return any(said.period_end_s == end_s for said in of_it)


def in_nowhere(shelf: Shelf, found: Sequence[Nowhere]) -> Iterator[Drift]:
    """One `provider_edit` a period: somebody voided or deleted what would have billed it."""
    books = shelf.books
    for each in found:
        pot = shelf.pot("line", each.item, (each.start_s, each.end_s), 0, each.invoice)
        if not pot.difference:
            continue
        is_over = each.invoice != "" or books.now_ms >= each.end_s * 1000
        is_metered = any(cell.newest.meter_target is not None for cell in pot.cells)
        yield replace(
            edited(books, pot, pot.difference),
            cells=tuple(cell.newest.cell for cell in pot.cells),
            candidates=(),
            sentence=f"{format_scaled(pot.expected)} units of item {each.item} from {format_s(each.start_s)} to {format_s(each.end_s)} are billed "
            f"nowhere: {_WHY[each.why].format(invoice=each.invoice)}",
            advice=_ADVICE[each.why],
            repair="settle" if is_over and (not is_metered or is_told(books, each.item, each.end_s)) else "review",
        )
