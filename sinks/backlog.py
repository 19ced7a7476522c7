"""What is due and not delivered, how long it takes at the rate that is used, and how much of it would come too late. Pure.

Kept up to date by differences: a look at a million waiting cells costs as much as there are minutes in which their periods end.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, NamedTuple

from sinks.cell_state import CellState
from sinks.cells import Place
from topics.instants import format_s

MINUTE_S: Final = 60
DRAFT_S: Final = 3600
"""A draft invoice takes meter events for an hour after the period's end, or longer where the account says so (Stripe, "Configure a grace period")."""
LATELY_S: Final = 15
"""Over how long the rate that is used is averaged. Seconds in which nothing was called say nothing of it, and are left out; a few calls of a quiet
minute must not make a rush look endless, so it is short."""


class Missed(NamedTuple):
    """Cells that would be delivered after their finality, and the first finality among them (Unix seconds); 0 and None where all is well."""

    cells: int
    first_final_s: int | None


class Backlog:
    """The undelivered cells of one partition."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, CellState] = {}
        self._finals: dict[str, Counter[int]] = {}
        self._undated: Counter[str] = Counter()
        self._oldest: list[tuple[int, int, CellState]] = []
        self._dated: set[bytes] = set()
        self._ordinal = count()

    def __len__(self) -> int:
        """How many cells wait."""
        return len(self._waiting)

    def note(self, cell: CellState, *, waits: bool) -> None:
        """The cell changed; `waits`: some of it is undelivered."""
        if waits and cell.closed_at_ms is not None and cell.key not in self._dated:
            self._dated.add(cell.key)
            heappush(self._oldest, (cell.closed_at_ms, next(self._ordinal), cell))
        if waits != (cell.key in self._waiting):
            self._count(cell.place, 1 if waits else -1)
            if waits:
                self._waiting[cell.key] = cell
            else:
                del self._waiting[cell.key]

    def _count(self, place: Place, change: int) -> None:
        final_s = final_of(place)
        if final_s is None:
            self._undated[place.mode] += change
            return
        finals = self._finals.setdefault(place.mode, Counter())
        minute_s = final_s - final_s % MINUTE_S
        finals[minute_s] += change
        if not finals[minute_s]:
            del finals[minute_s]

    def finals(self) -> dict[str, Counter[int]]:
        """By mode: how many cells are final in which minute (Unix seconds of its beginning)."""
        return self._finals

    def undated(self) -> Counter[str]:
        """By mode: cells of customers on test clocks, whose time is not ours."""
        return self._undated

    def oldest_ms(self) -> int | None:
        """When the meter closed the oldest of the cells; None where none waits or none says so."""
        while self._oldest:
            at_ms, _, cell = self._oldest[0]
            if cell.key in self._waiting and cell.closed_at_ms == at_ms:
                return at_ms
            heappop(self._oldest)
            self._dated.discard(cell.key)
            if cell.key in self._waiting and cell.closed_at_ms is not None:
                self._dated.add(cell.key)
                heappush(self._oldest, (cell.closed_at_ms, next(self._ordinal), cell))
        return None


class Lately:
    """How many calls a second were made of late; time is an argument, in milliseconds."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()

    def called(self, now_ms: int) -> None:
        """A call starts."""
        second = now_ms // 1000
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0])
            while self._seconds[0][0] < second - LATELY_S:
                self._seconds.popleft()
        self._seconds[-1][1] += 1

    def per_second(self, now_ms: int) -> float | None:
        """Calls a second over the seconds in which there were any, but for the one that lasts; None where there were none."""
        second = now_ms // 1000
        made = [calls for at, calls in self._seconds if second - LATELY_S <= at < second]
        return sum(made) / len(made) if made else None


def final_of(place: Place) -> int | None:
    """When the cell takes no more, as far as that is known before (Unix seconds); None where a test clock says when."""
    if place.clock:
        return None
    return place.period_end_s if place.target is None else place.period_end_s + DRAFT_S


def missed(finals: Mapping[int, int], now_s: float, rate: float) -> Missed:
    """What would come too late if the nearest finality goes first at `rate` calls a second. What is final by then is not called: it delays nobody."""
    done, late, first = 0.0, 0, None
    for final_s in sorted(finals):
        cells = finals[final_s]
        in_time = min(cells, max(0, int((final_s - now_s) * rate - done)))
        done += in_time
        if in_time < cells:
            late += cells - in_time
            first = final_s if first is None else first
    return Missed(late, first)


def together(backlogs: Iterable[Backlog]) -> tuple[dict[str, Counter[int]], Counter[str]]:
    """Of several partitions: by mode the cells by finality, and those without one that is known."""
    finals: dict[str, Counter[int]] = {}
    undated: Counter[str] = Counter()
    for backlog in backlogs:
        undated.update(backlog.undated())
        for mode, counts in backlog.finals().items():
            finals.setdefault(mode, Counter()).update(counts)
    return finals, undated


class Way(NamedTuple):
    """One way of reporting, with a limit of its own: calls a second that are allowed now, and that were made of late (None: none)."""

    provider: str
    account: str
    mode: str
    allowed: float
    used: float | None


def shown(way: Way, finals: Mapping[int, int], undated: int, now_ms: int, *, is_down: bool) -> dict[str, Any]:
    """One line of `/status`: the backlog of one way of reporting.

    `eta_s` is None while the provider counts as down and something waits: nobody knows then. `missed` is counted as if it were back now.
    """
    rate = way.allowed if way.used is None else min(way.allowed, way.used)
    cells = sum(finals.values()) + undated
    late = missed(finals, now_ms / 1000, rate)
    return {
        "provider": way.provider,
        "account": way.account,
        "mode": way.mode,
        "cells": cells,
        "allowed_per_s": round(way.allowed, 1),
        "used_per_s": None if way.used is None else round(way.used, 1),
        "eta_s": None if is_down and cells else round(cells / rate, 1),
        "missed": late.cells,
        "first_missed_at": None if late.first_final_s is None else format_s(late.first_final_s),
    }


def added_up(lines: Iterable[Mapping[str, Any]], unread: int) -> dict[str, Any]:
    """All lines in one: cells, when the last of them is delivered, what would come too late. Lines of several workers for the same way are one."""
    by: dict[tuple[str, str, str], dict[str, Any]] = {}
    for line in lines:
        key = (line["provider"], line["account"], line["mode"])
        by[key] = dict(line) if key not in by else _one(by[key], line)
    found = [by[key] for key in sorted(by)]
    etas = [line["eta_s"] for line in found]
    return {
        "cells": sum(line["cells"] for line in found),
        "unread": unread,
        "eta_s": None if None in etas else max(etas, default=0.0),
        "missed": sum(line["missed"] for line in found),
        "first_missed_at": min((line["first_missed_at"] for line in found if line["first_missed_at"] is not None), default=None),
        "by": found,
    }


def _one(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two workers' lines: each has its part of the limit, and is done at its own time."""
    used = [line["used_per_s"] for line in (one, other) if line["used_per_s"] is not None]
    etas = (one["eta_s"], other["eta_s"])
    firsts = [line["first_missed_at"] for line in (one, other) if line["first_missed_at"] is not None]
    sums = {name: one[name] + other[name] for name in ("cells", "allowed_per_s", "missed")}
    eta_s = None if None in etas else max(etas)
    return {**one, **sums, "used_per_s": sum(used) if used else None, "eta_s": eta_s, "first_missed_at": min(firsts, default=None)}
