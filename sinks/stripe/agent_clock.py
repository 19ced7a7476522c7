"""The report's clock: never less time than either the wall clock or the machine's own counter says has passed.

A call may start only 60 s after its intent's commit (law 13). A wall clock that is set back, or one that a suspended machine has not yet
corrected, must not make that time look shorter: CLOCK_BOOTTIME counts while the machine sleeps and cannot be set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_COUNTER: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _counter_ms() -> int:
    return time.clock_gettime_ns(_COUNTER) // 1_000_000


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SteadyClock:
    """`now_ms()` is Unix time in milliseconds that never runs back."""

    def __init__(self, wall_ms: Callable[[], int] = _wall_ms, counter_ms: Callable[[], int] = _counter_ms) -> None:
        self._wall_ms = wall_ms
        self._counter_ms = counter_ms
        self._offset_ms = wall_ms() - counter_ms()

    def now_ms(self) -> int:
        """The later of the wall clock and what the counter makes of an earlier reading of it."""
        counter_ms = self._counter_ms()
        # A wall clock set forward is followed for good; setting it back changes nothing until the counter has caught up.
        self._offset_ms = max(self._offset_ms, self._wall_ms() - counter_ms)
        return counter_ms + self._offset_ms
