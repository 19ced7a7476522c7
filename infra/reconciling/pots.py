"""A pot: a total that the provider names, of an item's billing period (or a meter's hour), beside the cells of ours that are in it. Pure.

Of a pot only its sum is known. What our receipts allow it to be is a set of numbers: one where all of its cells are at rest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from infra.reconciling.books import Books, CellBook
from infra.reconciling.drift import Stage
from infra.reconciling.search import Candidate
from infra.reconciling.standing import carried, may_be, may_be_carried, stands, stood
from topics.quantity import ONE, parse_total
from topics.receipt import CellReceipt, MeterTarget
from topics.windows import Window, parse_window_key

MOST_SUMS: Final = 4096
"""Sums that a pot with cells in doubt may have; beyond it nothing is said until fewer are in doubt."""

Owner = str | tuple[str, str]
"""Whose cells: an item's, or those of (meter, customer) at the provider."""


def owner_of(target: MeterTarget) -> tuple[str, str]:
    """The provider's meter and customer, which keep one total together."""
    return target.event_name, target.customer


@dataclass(frozen=True, slots=True, kw_only=True)
class Pot:
    """What the provider says (`observed`, units × 10¹²) of `[start_s, end_s)`, and what we say: `cells`, `expected`, and all that it may be.

    `possible` is None where too much is in doubt. `extra` are units that windows without a receipt may have brought. `stage` is `provider` or
    `line`; `invoice`, `line` and `status` are those of the line, or the invoice that a summary names.
    """

    stage: Stage
    item: str
    start_s: int
    end_s: int
    observed: int
    cells: tuple[CellBook, ...]
    expected: int
    possible: frozenset[int] | None
    invoice: str = ""
    line: str = ""

    @property
    def difference(self) -> int:
        """How much too much the provider holds; 0 where what it holds is one of the possible sums, or nothing can be said."""
        return 0 if self.possible is None or self.observed in self.possible else self.observed - self.expected

    @property
    def differences(self) -> tuple[int, ...]:
        """The difference from each possible sum, the plain one first."""
        if not self.difference or self.possible is None:
            return ()
        others = sorted((self.observed - each for each in self.possible if each != self.expected), key=lambda each: (abs(each), each))
        return (self.difference, *others[:8])

    def candidates(self) -> list[Candidate]:
        """Every single thing that may have happened to one of its cells."""
        found: list[Candidate] = []
        for cell in self.cells:
            name, now = cell.newest.cell, stands(cell)
            if now:  # a meter's cell may be less than nothing
                found += [Candidate("lost_report", name, -now), Candidate("double_report", name, now)]
            found += [Candidate("stale_retry", name, before - now) for before in stood(cell)]
            found += [Candidate("double_report", name, delta) for delta in _deltas(cell.newest) if delta != now]
        return found

    def cell(self, name: str) -> CellBook | None:
        """The cell of that name."""
        return next((cell for cell in self.cells if cell.newest.cell == name), None)


def _deltas(receipt: CellReceipt) -> list[int]:
    """Of a meter that adds up: what the newest event changed, which an event sent twice would change again."""
    if receipt.meter_target is None or receipt.meter_target.aggregation != "sum":
        return []
    return [parse_total(sent.units) for sent in receipt.unconfirmed]


class Shelf:
    """The cells of one customer's meter by item (or by the provider's meter and customer) and second, so that a pot finds its own without looking
    at all."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self._cells: dict[Owner, list[CellBook]] = {}
        for cell in sorted(books.cells, key=lambda cell: (cell.newest.timestamp_s, cell.newest.cell)):
            self._cells.setdefault(cell.newest.item, []).append(cell)
            if cell.newest.meter_target is not None:
                self._cells.setdefault(owner_of(cell.newest.meter_target), []).append(cell)
        self._seconds = {owner: [cell.newest.timestamp_s for cell in cells] for owner, cells in self._cells.items()}
        self._carried = [(cell.newest.item, *each) for cell in books.cells for each in carried(cell)]
        self._may_be_carried = [(cell.newest.item, *each) for cell in books.cells for each in may_be_carried(cell)]
        self._emitted = {book.window: book.revisions[-1] for book in books.windows if book.revisions}
        held = held_revisions(books)
        self._untaken = [book for book in books.windows if book.revisions and book.parked is None and book.window not in held]

    def bucket(self, target: MeterTarget, item: str, span: tuple[int, int], observed: int) -> Pot:
        """The pot of a meter's hour or day: all cells that report to it, whichever items billed them (a plan change gives a meter another item).
        `item` is the one where there is no cell."""
        inside = self._inside(owner_of(target), span)
        return self._pot(inside, "provider", inside[-1].newest.item if inside else item, span, observed)

    def pot(self, stage: Stage, item: str, span: tuple[int, int], observed: int, invoice: str = "", line: str = "") -> Pot:
        """The pot of an item's seconds `[start_s, end_s)`."""
        return self._pot(self._inside(item, span), stage, item, span, observed, invoice, line)

    def _inside(self, owner: Owner, span: tuple[int, int]) -> tuple[CellBook, ...]:
        seconds = self._seconds.get(owner, [])
        return tuple(self._cells.get(owner, [])[bisect_left(seconds, span[0]) : bisect_left(seconds, span[1])])

    def _pot(
        self, inside: tuple[CellBook, ...], stage: Stage, item: str, span: tuple[int, int], observed: int, invoice: str = "", line: str = ""
    ) -> Pot:
        start_s, end_s = span
        more = sum(units for of, second, units in self._carried if of == item and start_s <= second < end_s)
        maybe = [units for of, second, units in self._may_be_carried if of == item and start_s <= second < end_s]
        doubts = [may_be(cell) | self._newer(cell) for cell in inside]
        doubts += [frozenset({0, units}) for units in (*maybe, *self._unreceipted(item, span))]
        return Pot(
            stage=stage,
            item=item,
            start_s=start_s,
            end_s=end_s,
            observed=observed,
            cells=inside,
            expected=more + sum(map(stands, inside)),
            possible=sums(more, doubts),
            invoice=invoice,
            line=line,
        )

    def _unreceipted(self, item: str, span: tuple[int, int]) -> list[int]:
        """Units of emitted windows of the span that no receipt knows: the report may have delivered them, and its receipt is lost or under way."""
        versions = reversed(self.books.versions)
        scale = next((parse_total(version.item.scale) for version in versions if version.item and version.item.item == item), None)
        if scale is None:
            return []
        inside = [book for book in self._untaken if span[0] <= book.window.start_s < span[1] or span[0] < book.window.end_s <= span[1]]
        return [book.revisions[-1].total.scaled * scale // ONE for book in inside]

    def _newer(self, cell: CellBook) -> frozenset[int]:
        """Units of a cell's emitted totals where its receipts know older ones only: the report may have delivered them, and the receipt is lost."""
        receipt = cell.newest
        if receipt.fractions == "ledger":
            return frozenset()
        scaled, is_newer = 0, False
        for part in receipt.windows:
            emitted = self._emitted.get(parse_window_key(part.window))
            is_newer |= emitted is not None and emitted.revision > part.revision
            scaled += parse_total(part.quantity) if emitted is None else emitted.total.scaled
        return frozenset({scaled * parse_total(receipt.scale) // ONE}) if is_newer else frozenset()


def sums(certain: int, doubts: Sequence[frozenset[int]]) -> frozenset[int] | None:
    """All that a sum may be; None where it may be too many things."""
    found = {certain + sum(next(iter(doubt)) for doubt in doubts if len(doubt) == 1)}
    for doubt in doubts:
        if len(doubt) == 1:
            continue
        found = {each + value for each in found for value in doubt}
        if len(found) > MOST_SUMS:
            return None
    return frozenset(found)


def held_revisions(books: Books) -> dict[Window, tuple[int, int]]:
    """The revision of each window that the receipts hold, of cells and of windows parked whole."""
    found: dict[Window, tuple[int, int]] = {}
    for cell in books.cells:
        for part in cell.newest.windows:
            window = parse_window_key(part.window)
            found[window] = max(found.get(window, (-1, -1)), part.revision)
    for book in books.windows:
        if book.parked is not None:
            found[book.window] = max(found.get(book.window, (-1, -1)), book.parked.revision)
    return found
