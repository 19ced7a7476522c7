"""Law 17, the ledger of a period: parts of a unit are kept across the cells of one item and period, and no whole unit is lost or made up. Pure.

A delivery sends ⌊Σ exact of the period⌋ − Σ units standing in the period's other cells. So the units that stand always add up to the whole part of
what stands exactly, and no other cell ever changes (remainders carried from window to window go wrong with the first late correction, H26). It needs
that one cell at a time is under way, and that it is known what the others hold.
"""

from __future__ import annotations

from sinks.cell_state import CellState, LaneKey
from topics.quantity import ONE, parse_total

GroupKey = tuple[LaneKey, int]
_IN_DOUBT = ("intent", "unknown")


class _Group:
    __slots__ = ("busy", "exact", "held", "units", "waiting")

    def __init__(self) -> None:
        self.exact = self.units = 0
        self.held: dict[CellState, tuple[int, int]] = {}
        self.busy: set[CellState] = set()
        self.waiting: dict[CellState, None] = {}


class Ledger:
    """What stands in each item and period, exactly (× 10²⁴) and in units (× 10¹²), and which cell of it is under way."""

    def __init__(self) -> None:
        self._groups: dict[GroupKey, _Group] = {}

    def others(self, cell: CellState) -> tuple[int, int]:
        """What stands in the period's other cells: exact × 10²⁴, units × 10¹²."""
        group = self._group(cell)
        exact, units = group.held.get(cell, (0, 0))
        return group.exact - exact, group.units - units

    def begins(self, cell: CellState) -> bool:
        """Claim the period for an intent of this cell; False where another is under way or in doubt: the cell then waits until it is not."""
        group = self._group(cell)
        if group.busy - {cell}:
            group.waiting[cell] = None
            return False
        group.busy.add(cell)
        return True

    def note(self, cell: CellState) -> list[CellState]:
        """The cell has a new durable record; the cells that may have their turn now."""
        group, receipt = self._group(cell), cell.receipt
        if receipt is None:
            return []
        before = group.held.get(cell, (0, 0))
        standing = receipt.standing
        now = (0, 0) if standing is None else (parse_total(standing.quantity) * parse_total(cell.place.scale), parse_total(standing.units))
        if receipt.state == "adjustment":
            # What is listed of a final cell is claimed as if it stood: another cell's adjustment must not list it again.
            now = (parse_total(receipt.quantity) * parse_total(cell.place.scale), parse_total(receipt.units))
        group.held[cell] = now
        group.exact += now[0] - before[0]
        group.units += now[1] - before[1]
        if receipt.state in _IN_DOUBT or (receipt.maybe and receipt.state != "adjustment"):
            group.busy.add(cell)
            return []
        group.busy.discard(cell)
        free, group.waiting = list(group.waiting), {}
        return free + self._to_even_out(group)

    def uneven(self) -> list[CellState]:
        """Cells that even out their periods; asked once all receipts are known."""
        return [cell for group in self._groups.values() for cell in self._to_even_out(group)]

    def _to_even_out(self, group: _Group) -> list[CellState]:
        """The fullest cell, where more units stand than there are whole ones: a cell that could not go below 0 has left that to another. That one is
        set lower, or where it is final its adjustment says so (law 16)."""
        if group.busy or group.units <= group.exact // (ONE * ONE) * ONE:
            return []
        fullest = max(group.held, key=lambda cell: (group.held[cell][1], cell.place.name))
        return [fullest] if group.held[fullest][1] > 0 else []

    def _group(self, cell: CellState) -> _Group:
        return self._groups.setdefault((cell.place.lane, cell.place.period_start_s), _Group())
