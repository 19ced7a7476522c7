"""Usage records that stand and that no invoice bills, because the plan changed in mid-period (H32). Pure.

In classic billing mode what was recorded before an item's price was switched is billed by nobody, and an item is deleted only with its records.
Whether Stripe keeps them after all, no page says of usage records, so the final invoice is believed: where it lacks just what had been recorded
before the change, that does not stand. https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sinks.cell_state import CellState
from sinks.cells import Place
from topics.invoices import InvoiceRecord

ChangeOf = Callable[[Place], "int | None"]


def unbilled(cells: Iterable[CellState], final_of: Callable[[str], Sequence[InvoiceRecord]], change_of: ChangeOf) -> list[CellState]:
    """Cells of one customer that stand at their item and are on no invoice. `change_of`: when a cell's plan changed after it."""
    by_item: dict[tuple[str, str], list[CellState]] = {}
    for cell in cells:
        if cell.place.target is None and cell.place.subscription:
            by_item.setdefault((cell.place.subscription, cell.place.item), []).append(cell)
    found: list[CellState] = []
    for (subscription, item), of_item in by_item.items():
        if any(change_of(cell.place) is not None for cell in of_item):
            for said in final_of(subscription):
                found += _left_out(said, item, of_item, change_of)
    return found


def _left_out(said: InvoiceRecord, item: str, cells: Iterable[CellState], change_of: ChangeOf) -> list[CellState]:
    """Of an item's cells in an invoice's period those from before a change in it, if the invoice lacks just them."""
    here = [cell for cell in cells if said.period_start_s <= cell.place.timestamp_s < said.period_end_s]
    if any(cell.open_intent is not None or cell.pending is not None for cell in here):
        return []
    before = [cell for cell in here if (at_s := change_of(cell.place)) is not None and at_s < said.period_end_s]
    on_it = sum(line.units for line in said.billed if line.item == item)
    return before if sum(map(_standing, here)) - on_it == sum(map(_standing, before)) > 0 else []


def _standing(cell: CellState) -> int:
    standing = None if cell.receipt is None or cell.is_unbilled else cell.receipt.standing
    return 0 if standing is None else int(standing.units)
