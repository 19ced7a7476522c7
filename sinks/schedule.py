"""When each cell has its turn: records that wait to be written, cells that wait for their time, lanes, and the provider's breaker. Pure."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count

from sinks.calls import AHEAD_MS
from sinks.cell_state import CellState
from sinks.lanes import Lanes
from sinks.parked import Parked
from sinks.retry import Breaker


class Schedule:
    """Every cell with a need is in exactly one place: among the records, in its lane, or under a timer."""

    def __init__(self, seed: str) -> None:
        self.breaker = Breaker(seed)
        self.lanes = Lanes()
        self._records: deque[CellState | Parked] = deque()
        self._timers: list[tuple[int, int, CellState]] = []
        self._ordinal = count()
        self._probes_to = 0

    def record(self, source: CellState | Parked) -> None:
        """The next transaction is to hold a record of it."""
        if not source.waits_for_write and (isinstance(source, CellState) or source.due):
            source.waits_for_write = True
            self._records.append(source)

    def cell(self, cell: CellState, now_ms: int) -> None:
        """Put the cell where its next record will be found."""
        need = None if cell.writing else cell.needs()
        if need == "intent":
            at_ms = max(cell.retry_at_ms, cell.place.timestamp_s * 1000 - AHEAD_MS)
            if at_ms > now_ms:
                self.at(at_ms, cell)
            else:
                self.lanes.push_ready(cell)
        elif need is not None:
            self.record(cell)

    def at(self, at_ms: int, cell: CellState) -> None:
        """Look at the cell again then."""
        heappush(self._timers, (at_ms, next(self._ordinal), cell))

    def fire(self, now_ms: int) -> None:
        """The cells whose time has come get their place."""
        while self._timers and self._timers[0][0] <= now_ms:
            cell = heappop(self._timers)[2]
            if cell.committed_at_ms is not None and cell.open_intent is not None and not cell.in_flight and cell.retry_at_ms <= now_ms:
                self.lanes.push_call(cell)
            else:
                self.cell(cell, now_ms)

    def next_record(self, now_ms: int) -> CellState | Parked | None:
        """What the next transaction holds next: answers and the like first, then new intents."""
        source = self._records.popleft() if self._records else self._next_ready(now_ms)
        if source is not None:
            source.waits_for_write = False
        return source

    def wake_at_ms(self, now_ms: int) -> int | None:
        """When there may be something to do without anything happening; None: never."""
        times = [self._timers[0][0]] if self._timers else []
        if self.breaker.probe_at_ms > now_ms:
            times.append(self.breaker.probe_at_ms)
        return min(times, default=None)

    def _next_ready(self, now_ms: int) -> CellState | None:
        """The next cell for a new intent. While the provider counts as down, one for each probe that failed, of an item that has none open; and
        always one where none is open at all, since nothing else could ever show that the provider is back."""
        if not self.breaker.is_open:
            return self.lanes.pop_ready()
        if not self.breaker.may_call(now_ms) or (self._probes_to == self.breaker.failures and self.lanes.opened):
            return None
        cell = self.lanes.pop_ready(most_in_lane=1)
        if cell is not None:
            self._probes_to = self.breaker.failures
        return cell
