"""Every window in exactly one state, and every billing period with its number at each stage. Pure.

A gap is a window that was due and is not where it should be: not emitted, or known to no receipt. A straggler is one that is late or lies across an
edge: it waits though it was due, or it began in one billing period and ends in another (law 8).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

from infra.reconciling.books import Books, CellBook, WindowBook
from infra.reconciling.drift import Stage
from infra.reconciling.pots import held_revisions
from infra.reconciling.standing import stands
from sinks.adjustments import is_open
from topics.instants import format_s
from topics.quantity import ONE, format_scaled
from topics.windows import Window, parse_window_key

State = Literal["open", "reopened", "undelivered", "delivered", "parked", "unbound"]
STATES: Final[tuple[State, ...]] = get_args(State)
"""As in the view `coverage`: `open` and `reopened` hold events that no revision covers yet; `undelivered` waits for an answer; `parked` waits for a
person (refused, unknown, a fraction, before its period, an open adjustment); `unbound` has nobody to bill; `delivered` is done, settled ones too."""
WAITS_S: Final = 3600
"""A window that was due an hour ago and still waits is a straggler: a close takes seconds, a report minutes."""
KEPT: Final = 200
"""Gaps and stragglers that are listed of a run; all are counted."""


class Place(NamedTuple):
    """One window that is listed, and why."""

    window: Window
    state: State
    why: str

    def document(self) -> dict[str, Any]:
        """For a program."""
        customer, meter, start_s, end_s = self.window
        times = {"start": format_s(start_s), "end": format_s(end_s)}
        return {"customer": customer, "meter": meter, **times, "state": self.state, "why": self.why}


class PeriodRow(NamedTuple):
    """One billing period of an item, at each stage as far as it is known."""

    customer: str
    meter: str
    item: str
    start_s: int
    end_s: int
    windows: int
    cells: int
    numbers: dict[Stage, str]

    def document(self) -> dict[str, Any]:
        """For a program."""
        said = {"customer": self.customer, "meter": self.meter, "item": self.item, "windows": self.windows, "cells": self.cells}
        return {**said, "start": format_s(self.start_s), "end": format_s(self.end_s), "numbers": dict(self.numbers)}


@dataclass
class Coverage:
    """Counts by state over all books that were added, with what is listed."""

    states: Counter[str] = field(default_factory=Counter)
    gaps: list[Place] = field(default_factory=list)
    stragglers: list[Place] = field(default_factory=list)
    gap_count: int = 0
    straggler_count: int = 0

    def add(self, books: Books) -> None:
        """Take one customer's meter."""
        held = held_revisions(books)
        cells = {parse_window_key(part.window): cell for cell in books.cells for part in cell.newest.windows}
        for book in books.windows:
            state = state_of(book, cells.get(book.window), held.get(book.window, (-1, -1)))
            self.states[state] += 1
            if (gap := _gap(book, held.get(book.window, (-1, -1)))) is not None:
                self.gap_count += 1
                self.gaps += [Place(book.window, state, gap)] if len(self.gaps) < KEPT else []
            elif (late := _straggles(books, book, cells.get(book.window), state)) is not None:
                self.straggler_count += 1
                self.stragglers += [Place(book.window, state, late)] if len(self.stragglers) < KEPT else []

    def document(self) -> dict[str, Any]:
        """For a program."""
        return {
            "windows": sum(self.states.values()),
            "states": {state: self.states[state] for state in STATES},
            "gaps": [each.document() for each in self.gaps],
            "gap_count": self.gap_count,
            "stragglers": [each.document() for each in self.stragglers],
            "straggler_count": self.straggler_count,
        }


def state_of(book: WindowBook, cell: CellBook | None, held: tuple[int, int]) -> State:
    """The one state of a window."""
    if not book.revisions or book.newest_event > book.revisions[-1].revision:
        return "reopened" if book.revisions else "open"
    if held < book.revisions[-1].revision:
        return "undelivered"
    if cell is None:
        return "unbound" if book.parked is not None and book.parked.reason == "unbound" else "parked"
    receipt = cell.newest
    if receipt.state in {"refused", "unknown", "parked"} or is_open(receipt):
        return "parked"
    return "delivered" if receipt.state in {"delivered", "confirmed", "adjustment"} else "undelivered"


def _gap(book: WindowBook, held: tuple[int, int]) -> str | None:
    if book.must_be_emitted and book.counted is not None and (not book.revisions or book.newest_event > book.revisions[-1].revision):
        return "counted, due, and not emitted"
    if book.must_have_receipt and book.revisions and held < book.revisions[-1].revision:
        return "emitted, and known to no receipt"
    return None


def _straggles(books: Books, book: WindowBook, cell: CellBook | None, state: State) -> str | None:
    if state in {"open", "reopened", "undelivered"} and books.now_ms // 1000 > book.window.end_s + WAITS_S and not _is_fresh(books, book):
        return f"due since {format_s(book.window.end_s)}, still {state}"
    if cell is not None and cell.newest.period_start_s <= book.window.start_s < cell.newest.period_end_s < book.window.end_s:
        return f"lies across the edge of its billing period at {format_s(cell.newest.period_end_s)}: it belongs where it starts"
    return None


def _is_fresh(books: Books, book: WindowBook) -> bool:
    """True where the newest revision was emitted within the hour: late events, on their way."""
    return bool(book.revisions) and books.now_ms - book.revisions[-1].closed_at_ms < WAITS_S * 1000


def periods(books: Books) -> Iterator[PeriodRow]:
    """One row a billing period and item, oldest first."""
    groups: dict[tuple[int, int, str], list[CellBook]] = {}
    for cell in books.cells:
        receipt = cell.newest
        groups.setdefault((receipt.period_start_s, receipt.period_end_s, receipt.item), []).append(cell)
    by_window = {book.window: book for book in books.windows}
    for (start_s, end_s, item), cells in sorted(groups.items()):
        windows = [by_window[window] for cell in cells for part in cell.newest.windows if (window := parse_window_key(part.window)) in by_window]
        numbers = _before_delivery(windows)
        numbers["delivered"] = format_scaled(sum(map(stands, cells)))
        for stage, said in (("provider", _provider(books, item, start_s, end_s)), ("line", _line(books, item, start_s, end_s))):
            if said is not None:
                numbers["provider" if stage == "provider" else "line"] = format_scaled(said)
        yield PeriodRow(books.customer, books.meter, item, start_s, end_s, len(windows), len(cells), numbers)


def _before_delivery(windows: list[WindowBook]) -> dict[Stage, str]:
    counted = sum(book.counted.scaled for book in windows if book.counted is not None)
    newest = [book.revisions[-1] for book in windows if book.revisions]
    found: dict[Stage, str] = {}
    if all(each.recount is not None for each in newest):
        found["raw"] = format_scaled(sum(each.recount.scaled for each in newest if each.recount is not None))
    return found | {"counted": format_scaled(counted), "emitted": format_scaled(sum(each.total.scaled for each in newest))}


def _provider(books: Books, item: str, start_s: int, end_s: int) -> int | None:
    """What the provider holds of the period, by summaries or by a meter's hours."""
    said = [each.units * ONE for each in books.summaries or () if each.item == item and each.start_s < end_s and each.end_s > start_s]
    if said:
        return sum(said)
    is_meter = any(cell.newest.meter_target is not None for cell in books.cells if cell.newest.item == item)
    if not is_meter or books.buckets is None or books.unread:
        return None
    return sum(each.scaled for each in books.buckets if start_s <= each.start_s < end_s)


def _line(books: Books, item: str, start_s: int, end_s: int) -> int | None:
    """What final invoices bill of the period."""
    said = [line.scaled for line in books.lines if line.item == item and line.start_s < end_s and line.end_s > start_s and line.status != "draft"]
    return sum(said) if said else None
