"""What goes first. A lane is one object at the provider (a subscription item): one call at a time touches it, and few of its intents are open.

Cells with the nearest finality (their period's end) go first, then the earlier ones. A lane that waits holds up no other lane. Pure.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from sinks.cell_state import CellState, LaneKey, Priority

OPEN_IN_LANE: Final = 16
"""Open intents of one item: enough to feed its one call at a time while a transaction (22 ms) brings the next ones, and so few that after an
outage every combination of what landed can be compared with the item's total (sinks/readback.py)."""
OPEN_IN_ALL: Final = 128
"""Open intents of a partition: more than a second's calls of an ordinary account, and all of them called well within 60 s."""

_Entry = tuple[Priority, CellState]


class _Lane:
    __slots__ = ("called", "calling", "intents", "opened", "ready")

    def __init__(self) -> None:
        self.ready: list[_Entry] = []
        self.intents: list[_Entry] = []
        self.opened = 0
        self.calling = False
        self.called = 0


class Lanes:
    """Cells that want an intent, and open intents that want a call. Both heaps of lanes may hold an entry too many, never one too few."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, _Lane] = {}
        self._ready: list[tuple[Priority, LaneKey]] = []
        self._callable: list[tuple[Priority, LaneKey]] = []
        self.opened = 0
        """Open intents in all lanes."""
        self._turns = count(1)

    def push_ready(self, cell: CellState) -> None:
        """The cell wants an intent written."""
        if not cell.waits_for_intent:
            cell.waits_for_intent = True
            heappush(self._lane(cell).ready, (cell.priority, cell))
            heappush(self._ready, (cell.priority, cell.place.lane))

    def pop_ready(self, most_in_lane: int = OPEN_IN_LANE) -> CellState | None:
        """The next cell that may open an intent; None where the limits are reached or nobody wants one."""
        while self._ready and self.opened < OPEN_IN_ALL:
            _, key = heappop(self._ready)
            lane = self._lanes[key]
            if not lane.ready or lane.opened >= most_in_lane:
                continue
            cell = heappop(lane.ready)[1]
            cell.waits_for_intent = False
            if lane.ready:
                heappush(self._ready, (lane.ready[0][0], key))
            return cell
        return None

    def open(self, cell: CellState) -> None:
        """The cell's intent is being written."""
        if not cell.is_open:
            cell.is_open = True
            self._lane(cell).opened += 1
            self.opened += 1

    def close(self, cell: CellState) -> None:
        """The cell's intent has its answer."""
        if cell.is_open:
            cell.is_open = False
            lane = self._lane(cell)
            lane.opened -= 1
            self.opened -= 1
            if lane.ready:
                heappush(self._ready, (lane.ready[0][0], cell.place.lane))

    def push_call(self, cell: CellState) -> None:
        """The cell's durable intent may be called."""
        if not cell.waits_for_call:
            cell.waits_for_call = True
            heappush(self._lane(cell).intents, (cell.priority, cell))
            heappush(self._callable, (cell.priority, cell.place.lane))

    def pop_call(self, *, in_turn: bool = False, full: frozenset[str] = frozenset()) -> CellState | None:
        """The next cell to call; its lane is taken until `call_done`. `in_turn`: of the lane whose last call is longest ago, whatever goes first.

        Lanes of a mode that is `full` keep their place.
        """
        key = self._longest_ago(full) if in_turn else self._first(full)
        if key is None:
            return None
        lane = self._lanes[key]
        cell = heappop(lane.intents)[1]
        cell.waits_for_call = False
        lane.calling = True
        lane.called = next(self._turns)
        return cell

    def take(self, key: LaneKey) -> bool:
        """Take the lane for a call of no cell's intent, until `call_done`; False where it has a call under way."""
        lane = self._lanes.setdefault(key, _Lane())
        taken, lane.calling = not lane.calling, True
        return taken

    def _first(self, full: frozenset[str]) -> LaneKey | None:
        aside: list[tuple[Priority, LaneKey]] = []
        found = None
        while self._callable and found is None:
            entry = heappop(self._callable)
            if not self._may_call(entry[1]):
                continue
            if self._mode(entry[1]) in full:
                aside.append(entry)
            else:
                found = entry[1]
        for entry in aside:
            heappush(self._callable, entry)
        return found

    def _longest_ago(self, full: frozenset[str]) -> LaneKey | None:
        keys = {key for _, key in self._callable if self._may_call(key)}
        self._callable = [(self._lanes[key].intents[0][0], key) for key in keys]
        heapify(self._callable)
        return min((key for key in keys if self._mode(key) not in full), key=lambda key: self._lanes[key].called, default=None)

    def _mode(self, key: LaneKey) -> str:
        return self._lanes[key].intents[0][1].place.mode

    def _may_call(self, key: LaneKey) -> bool:
        lane = self._lanes[key]
        return bool(lane.intents) and not lane.calling

    def call_done(self, key: LaneKey) -> None:
        """The lane's call is over: its next one may start."""
        lane = self._lanes[key]
        lane.calling = False
        if lane.intents:
            heappush(self._callable, (lane.intents[0][0], key))

    def _lane(self, cell: CellState) -> _Lane:
        key = cell.place.lane
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        return lane
