"""What goes first. A lane is one object at the provider (a subscription item): one call at a time touches it, and few of its intents are open.

Cells with the nearest finality (their period's end) go first, then the earlier ones. A lane that waits holds up no other lane, and a mode of
reporting whose limit is used up holds up no other mode. Pure.

Nothing here costs more than the logarithm of what waits: a lane's place is an entry (priority, lane) of a heap, which counts only while it names
the lane's first cell as it is now. So an entry is never searched for; one that is out of date is dropped when it comes up.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import Final

from sinks.cell_state import CellState, LaneKey, Priority

OPEN_IN_LANE: Final = 16
"""Open intents of one item: enough to feed its one call at a time while a transaction (22 ms) brings the next ones, and so few that after an
outage every combination of what landed can be compared with the item's total (sinks/readback.py)."""
FAIR_IN_LANE: Final = 2
"""While other lanes want an intent a lane has no more than one under way and one for the next call. With more, eight items with a day's windows each
would hold all open intents, and so no more than eight calls be under way."""
OPEN_IN_MODE: Final = 128
"""Open intents of a partition in one mode: two for each of 64 calls in flight, and all of them called well within 60 s."""

_Entry = tuple[Priority, CellState]
_Turn = tuple[Priority, LaneKey]


class _Lane:
    __slots__ = ("called", "calling", "intents", "mode", "opened", "ready")

    def __init__(self, mode: _Mode) -> None:
        self.mode = mode
        self.ready: list[_Entry] = []
        self.intents: list[_Entry] = []
        self.opened = 0
        self.calling = False
        self.called = 0


class _Mode:
    """Lanes that are reported in one way, under one rate limit."""

    __slots__ = ("callable", "crowded", "opened", "ready")

    def __init__(self) -> None:
        self.ready: list[_Turn] = []
        """Lanes that want an intent and have few open."""
        self.crowded: list[_Turn] = []
        """Lanes that want one more than their fair share."""
        self.callable: list[_Turn] = []
        """Lanes with an open intent that may be called."""
        self.opened = 0


class Lanes:
    """Cells that want an intent, and open intents that want a call."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, _Lane] = {}
        self._modes: dict[str, _Mode] = {}
        self._turns = count(1)

    @property
    def opened(self) -> int:
        """Open intents in all lanes."""
        return sum(mode.opened for mode in self._modes.values())

    # ── cells that want an intent ────────────────────────────────────────────────────────────────────────────────────

    def push_ready(self, cell: CellState) -> None:
        """The cell wants an intent written."""
        if not cell.waits_for_intent:
            cell.waits_for_intent = True
            lane = self._lane(cell)
            heappush(lane.ready, (cell.priority, cell))
            self._wants(lane, cell.place.lane)

    def pop_ready(self, most_in_lane: int = OPEN_IN_LANE) -> CellState | None:
        """The next cell that may open an intent; None where the limits are reached or nobody wants one."""
        modes = [mode for mode in self._modes.values() if mode.opened < OPEN_IN_MODE]
        fair = min(most_in_lane, FAIR_IN_LANE)
        firsts = [(mode.ready[0], mode) for mode in modes if self._settled(mode.ready, fair, mode.crowded)]
        if not firsts:
            firsts = [(mode.crowded[0], mode) for mode in modes if self._settled(mode.crowded, most_in_lane, None)]
        if not firsts:
            return None
        (_, key), _ = min(firsts, key=lambda first: first[0])
        lane = self._lanes[key]
        cell = heappop(lane.ready)[1]
        cell.waits_for_intent = False
        self._wants(lane, key)
        return cell

    def _settled(self, turns: list[_Turn], most: int, crowded: list[_Turn] | None) -> bool:
        """Drop what is out of date from the top until a lane is there that may open one more; False where none is left.

        A lane with its share is moved to the `crowded`, or dropped: when one of its intents is closed it comes back.
        """
        while turns:
            priority, key = turns[0]
            lane = self._lanes[key]
            if lane.ready and lane.ready[0][0] == priority:
                if lane.opened < most:
                    return True
                if crowded is not None:
                    heappush(crowded, turns[0])
            heappop(turns)
        return False

    def _wants(self, lane: _Lane, key: LaneKey) -> None:
        if lane.ready:
            heappush(lane.mode.ready, (lane.ready[0][0], key))

    def open(self, cell: CellState) -> None:
        """The cell's intent is being written."""
        if not cell.is_open:
            cell.is_open = True
            lane = self._lane(cell)
            lane.opened += 1
            lane.mode.opened += 1

    def close(self, cell: CellState) -> None:
        """The cell's intent has its answer."""
        if cell.is_open:
            cell.is_open = False
            lane = self._lane(cell)
            lane.opened -= 1
            lane.mode.opened -= 1
            self._wants(lane, cell.place.lane)

    # ── open intents that want a call ────────────────────────────────────────────────────────────────────────────────

    def push_call(self, cell: CellState) -> None:
        """The cell's durable intent may be called."""
        if not cell.waits_for_call:
            cell.waits_for_call = True
            lane = self._lane(cell)
            heappush(lane.intents, (cell.priority, cell))
            self._may_call(lane, cell.place.lane)

    def nearest(self, full: frozenset[str] = frozenset()) -> Priority | None:
        """The priority of what `pop_call` would give next; None for nothing.

        Or of what it makes room for: a cell that may open no intent, since all that may be open are, would else wait for their turns, which may be
        hours behind those of other partitions.
        """
        first = self._first(full)
        if first is None:
            return None
        waiting = [mode.ready[0] for name, mode in self._modes.items() if name not in full and self._is_stuck(mode)]
        return min([first, *waiting])[0]

    def _is_stuck(self, mode: _Mode) -> bool:
        """Whether all intents that may be open are, some of them to be called, and another cell wants one. A lane with its share waits for itself."""
        return mode.opened >= OPEN_IN_MODE and bool(mode.callable) and self._settled(mode.ready, FAIR_IN_LANE, mode.crowded)

    def pop_call(self, *, in_turn: bool = False, full: frozenset[str] = frozenset()) -> CellState | None:
        """The next cell to call; its lane is taken until `call_done`. `in_turn`: of the lane whose last call is longest ago, whatever goes first.

        Lanes of a mode that is `full` keep their place.
        """
        turn = self._longest_ago(full) if in_turn else self._first(full)
        if turn is None:
            return None
        lane = self._lanes[turn[1]]
        cell = heappop(lane.intents)[1]
        cell.waits_for_call = False
        lane.calling = True
        lane.called = next(self._turns)
        return cell

    def take(self, cell: CellState) -> bool:
        """Take the cell's lane for a call of no intent, until `call_done`; False where it has a call under way."""
        lane = self._lane(cell)
        taken, lane.calling = not lane.calling, True
        return taken

    def call_done(self, key: LaneKey) -> None:
        """The lane's call is over: its next one may start."""
        lane = self._lanes[key]
        lane.calling = False
        self._may_call(lane, key)

    def _may_call(self, lane: _Lane, key: LaneKey) -> None:
        if lane.intents and not lane.calling:
            heappush(lane.mode.callable, (lane.intents[0][0], key))

    def _first(self, full: frozenset[str]) -> _Turn | None:
        found: _Turn | None = None
        for name, mode in self._modes.items():
            turns = mode.callable
            while turns and not self._holds(turns[0]):
                heappop(turns)
            if turns and name not in full and (found is None or turns[0] < found):
                found = turns[0]
        return found

    def _holds(self, turn: _Turn) -> bool:
        lane = self._lanes[turn[1]]
        return bool(lane.intents) and not lane.calling and lane.intents[0][0] == turn[0]

    def _longest_ago(self, full: frozenset[str]) -> _Turn | None:
        """Only asked while the provider counts as down: then few intents are open."""
        for mode in self._modes.values():
            mode.callable = sorted({turn for turn in mode.callable if self._holds(turn)})
        waiting = (turn for name, mode in self._modes.items() if name not in full for turn in mode.callable)
        return min(waiting, key=lambda turn: self._lanes[turn[1]].called, default=None)

    def _lane(self, cell: CellState) -> _Lane:
        key = cell.place.lane
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(self._modes.setdefault(cell.place.mode, _Mode()))
        return lane
