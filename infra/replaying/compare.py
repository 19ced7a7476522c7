"""Replayed totals beside running ones: the lines that differ, and how many do not. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from infra.replaying.archived import Held, clamped
from streams.rows import Row
from topics.content_hash import MODULUS
from topics.windows import Window


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which windows are compared: those that overlap [from_s, to_s), of one customer and meter or of all ("")."""

    from_s: int
    to_s: int
    customer: str = ""
    meter: str = ""

    def takes(self, window: Window) -> bool:
        """Whether a window is one of them."""
        is_named = self.customer in {"", window.customer} and self.meter in {"", window.meter}
        return is_named and window.start_s < self.to_s and window.end_s > self.from_s


class Line(NamedTuple):
    """One window in which both accounts differ; None: one of them has no such window. `is_final`: no event or correction can change it any more."""

    partition: int
    window: Window
    replayed: Held | None
    running: Held | None
    is_final: bool

    @property
    def difference_scaled(self) -> int:
        """Replayed minus running, × 10¹²."""
        return (self.replayed.scaled if self.replayed else 0) - (self.running.scaled if self.running else 0)


@dataclass
class Comparison:
    """One partition. `running` are the windows that somebody holds; `beyond`: revisions at or above it are of events that are not folded."""

    partition: int
    wanted: Wanted
    running: dict[Window, Held]
    beyond: int
    equal: int = 0
    newer: int = 0
    events: int = 0
    lines: list[Line] = field(default_factory=list)

    def take(self, rows: Iterable[Row], *, is_final: bool) -> None:
        """Rows of the replay, each once."""
        for row in rows:
            window = row.window
            if not self.wanted.takes(window):
                continue
            running = self.running.pop(clamped(window), None)
            replayed = Held(row.rev, row.scaled, row.events, f"{row.content_hash % MODULUS:064x}")
            self.events += row.events
            if running is not None and running.rev >= self.beyond:
                self.newer += 1
            elif running == replayed:
                self.equal += 1
            else:
                self.lines.append(Line(self.partition, window, replayed, running, is_final))

    def rest(self, final_s: int) -> None:
        """What is left of the running windows: the replay has none of them."""
        for window, running in sorted(self.running.items()):
            if running.rev >= self.beyond:
                self.newer += 1
            else:
                self.lines.append(Line(self.partition, window, None, running, window.end_s <= final_s))
        self.running = {}


