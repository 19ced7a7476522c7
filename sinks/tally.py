"""What `status` counts: each window that the report knows is in exactly one of delivered, undelivered, parked, unbound. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

from sinks.adjustments import is_open
from sinks.backlog import Backlog
from sinks.cell_state import CellState

State = Literal["delivered", "undelivered", "parked", "unbound"]
STATES: Final[tuple[State, ...]] = ("delivered", "undelivered", "parked", "unbound")
_HELD: Final = {"refused", "unknown", "parked"}
_DONE: Final = {"delivered", "confirmed", "adjustment"}
ADJUSTMENT: Final = "adjustment"
"""Counted beside the four states."""


class Tally:
    """Counts kept up to date by differences: counting anew would cost every window of the partition at each change."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self.backlog = Backlog()
        self._alike: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
        """Nearly all cells are counted alike, and nobody changes a count: one of each is kept, not one a cell."""

    def counts(self) -> dict[str, int]:
        """Windows by state, all four states always there."""
        return {state: self._counts[state] for state in STATES}

    @property
    def adjustments(self) -> int:
        """Cells with an open adjustment; their windows are among the parked."""
        return self._counts[ADJUSTMENT]

    def cell(self, cell: CellState) -> None:
        """The cell changed."""
        now: dict[str, int] = {}
        for state in states_of(cell):
            now[state] = now.get(state, 0) + 1
        if cell.receipt is not None and is_open(cell.receipt):
            now[ADJUSTMENT] = 1
        self.backlog.note(cell, waits="undelivered" in now)
        if now == cell.tally:
            return
        for counted, windows in cell.tally.items():
            self._counts[counted] -= windows
        for counted, windows in now.items():
            self._counts[counted] += windows
        cell.tally = self._alike.setdefault(tuple(now.items()), now)

    def window(self, before: State | None, after: State | None) -> None:
        """A window without a cell changed; None: it is not one (yet, or any more)."""
        if before is not None:
            self._counts[before] -= 1
        if after is not None:
            self._counts[after] += 1

    def oldest_ms(self) -> int | None:
        """When the meter closed the oldest of the windows that are undelivered; None where none waits or none says so."""
        return self.backlog.oldest_ms()


def states_of(cell: CellState) -> list[State]:
    """The state of each of the cell's windows."""
    receipt = cell.receipt
    if receipt is None:
        return ["undelivered"] * len(cell.wanted)
    if receipt.state in _HELD:
        return ["undelivered" if cell.released else "parked"] * len(cell.wanted)
    held = {part.window: part.revision for part in receipt.windows} if receipt.state in _DONE else {}
    done: State = "undelivered" if cell.restated is not None else "parked" if is_open(receipt) else "delivered"
    return [done if held.get(key) == part.revision else "undelivered" for key, part in cell.wanted.items()]
