"""Restatements of cells: what the report is told that stands, so that it sets the cell again by its own path. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from infra.reconciling.books import Books
from infra.reconciling.drift import Drift
from infra.reconciling.steps import WHO, Restate
from infra.reconciling.unbilled import is_told
from sinks.adjustments import finality_of, is_being_billed
from sinks.cell_state import CellState
from sinks.cells import Unplaced, cell_of
from sinks.finality import Invoices
from sinks.units import minus, plus
from topics.invoices import Invoice
from topics.quantity import format_scaled, parse_total
from topics.receipt import CellReceipt, cell_key, receipt_key
from topics.restating import RestateRecord
from topics.windows import Window


class Cells:
    """The cells of one set of books by name, and whether they still take something."""

    def __init__(self, books: Books, reason: str, read_at_ms: int) -> None:
        self._books = books
        self._reason = reason
        self._read_at_ms = read_at_ms
        self._receipts = {cell.newest.cell: cell.newest for cell in books.cells if not cell.is_moving}
        self._histories = {cell.newest.cell: cell.history for cell in books.cells}
        self._invoices: dict[str, Invoices] = {}
        self.any_final = False
        """Whether a step was made for a cell that takes no more."""

    def named(self, names: Iterable[str]) -> list[CellReceipt]:
        """The cells of these names that are at rest: of one whose call is under way nothing can be said."""
        return [self._receipts[name] for name in names if name in self._receipts and self._receipts[name].state != "intent"]

    def metered_in(self, names: Iterable[str], span: tuple[int, int]) -> list[CellReceipt]:
        """Those of these names that are reported to a meter, at a second of the span."""
        return [one for one in self.named(names) if one.meter_target is not None and span[0] <= one.timestamp_s < span[1]]

    def between(self, item: str, start_s: int, end_s: int) -> list[CellReceipt]:
        """An item's cells of a period."""
        found = [one for one in self._receipts.values() if one.item == item and start_s <= one.timestamp_s < end_s]
        return self.named(one.cell for one in found)

    def open(self, receipts: Iterable[CellReceipt]) -> list[CellReceipt]:
        """Those that still take something."""
        return [one for one in receipts if not self.is_final(one)]

    def is_final(self, receipt: CellReceipt) -> bool:
        """Law 16, as the report judges it."""
        known = self._invoices.get(receipt.account)
        if known is None:
            known = self._invoices[receipt.account] = Invoices(receipt.account)
            for said in self._books.invoices:
                known.learn(Invoice(customer=self._books.customer, said=said, offset=0))
        state = CellState.of(receipt)
        return known.judge(state.place, receipt.closed_at_ms, self._books.now_ms, finality_of(receipt)) is not None

    def is_listed(self, receipt: CellReceipt) -> bool:
        """True where the report makes an adjustment of what is missing: of a meter it does so once it knows the invoice, and sends until then."""
        return self.is_final(receipt) and (receipt.meter_target is None or is_told(self._books, receipt.item, receipt.period_end_s))

    def was_set_again(self, receipt: CellReceipt) -> bool:
        """True where the newest revision says what the one before had said already: a repair had it set again."""
        before = [one for one in self._histories[receipt.cell] if one.revision < receipt.revision]
        return bool(before) and (before[-1].windows, before[-1].units) == (receipt.windows, receipt.units)

    def restate(self, receipt: CellReceipt, stands: str, beside: str) -> Restate:
        """The step that says what stands of a cell."""
        self.any_final = self.any_final or self.is_final(receipt)
        record = RestateRecord(
            target=receipt_key(receipt).decode(),
            revision=receipt.revision,
            attempt=receipt.attempt,
            stands=stands,
            beside=beside,
            read_at_ms=self._read_at_ms,
            reason=self._reason,
            who=WHO,
        )
        return Restate(receipt.customer, record)

    def stray(self, drift: Drift) -> list[Restate]:
        """The step that sets to 0 what stands where no cell of ours is: a meter's hour or day, which is named by its start."""
        if drift.period is None or drift.difference_scaled <= 0:
            return []
        start_s = drift.second if drift.second is not None else drift.period[0]
        version = next((one for one in reversed(self._books.versions) if one.valid_from_s <= start_s and one.item is not None), None)
        if version is None or version.item is None or (version.item.mode == "usage_records" and drift.second is None):
            return []
        window = Window(drift.customer, drift.meter, start_s, start_s + 1)
        place = cell_of(window, version.item, version.item.account)
        if isinstance(place, Unplaced):
            return []
        record = RestateRecord(
            target=cell_key(place.provider, place.account, place.name).decode(),
            revision=0,
            attempt=0,
            stands=format_scaled(drift.difference_scaled),
            meter=drift.meter,
            start_s=start_s,
            read_at_ms=self._read_at_ms,
            reason=self._reason,
            who=WHO,
        )
        return [Restate(drift.customer, record)]


def standing_of(receipt: CellReceipt) -> str:
    """What a receipt says that stands."""
    return "0" if receipt.standing is None else receipt.standing.units


def set_steps(cells: Cells, receipts: Iterable[CellReceipt], holds: str) -> list[Restate]:
    """Each cell is set again; `holds` is what the provider was found to hold of it ("": what the receipt says); no more stands beside it."""
    return [cells.restate(one, holds or standing_of(one), _beside(one, holds)) for one in receipts if not _is_busy(one)]


def unbilled_steps(cells: Cells, receipts: Sequence[CellReceipt]) -> list[Restate]:
    """Each cell is told that nothing of it is billed, and its adjustment lists all of it. Empty while one of them would be sent again."""
    if not all(cells.is_listed(one) for one in receipts):
        return []
    return set_steps(cells, [one for one in receipts if parse_total(standing_of(one))], "0")


def _beside(receipt: CellReceipt, holds: str) -> str:
    return receipt.beside if not holds or parse_total(receipt.beside) <= max(0, parse_total(holds)) else format_scaled(max(0, parse_total(holds)))


def beside_is_gone(cells: Cells, receipts: Iterable[CellReceipt], scaled: int) -> list[Restate]:
    """`scaled` × 10⁻¹² units are missing that stood beside these cells: whoever reported them took them back, so the cells' reports say them again.
    Empty where so much did not stand beside them."""
    steps: list[Restate] = []
    left = scaled
    for one in sorted(receipts, key=lambda each: (-parse_total(each.beside), each.cell)):
        share = min(left, parse_total(one.beside))
        if share > 0 and not _is_busy(one):
            units, left = format_scaled(share), left - share
            steps.append(cells.restate(one, minus(standing_of(one), units), minus(one.beside, units)))
    return [] if left else steps


def beside_steps(cells: Cells, receipts: Sequence[CellReceipt], scaled: int) -> list[Restate]:
    """`scaled` × 10⁻¹² units too many stand somewhere in the period of these cells: they are counted to them, the fullest first, each at most as far
    as its report can be lowered; in final cells to one, whose adjustment says so. What is too little is taken from them, at most all that each holds.
    Empty where they do not suffice.
    """
    free = [one for one in receipts if not _is_busy(one)]
    final = [one for one in free if cells.is_final(one)]
    if final and scaled > 0:
        one = max(final, key=lambda each: (parse_total(standing_of(each)), each.cell))
        return [cells.restate(one, plus(standing_of(one), format_scaled(scaled)), one.beside)]
    steps: list[Restate] = []
    left = abs(scaled)
    for one in sorted(final or free, key=lambda each: (-_room(each), each.cell)):
        share = min(left, _room(one))
        if share <= 0 or (scaled > 0 and one.meter_target is not None):
            continue
        units, left = format_scaled(share), left - share
        lower = scaled < 0
        steps.append(cells.restate(one, (minus if lower else plus)(standing_of(one), units), one.beside if lower else plus(one.beside, units)))
    return [] if left else steps


def _room(receipt: CellReceipt) -> int:
    """By how much a cell's report can be lowered, × 10¹²."""
    return parse_total(minus(standing_of(receipt), receipt.beside))


def _is_busy(receipt: CellReceipt) -> bool:
    """True where a part of its adjustment is being billed: what becomes of that is waited for."""
    return receipt.adjustment is not None and is_being_billed(receipt.adjustment)
