"""The clocks of the workers: the only caller of `time` in them. The core is given the time as an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since 1970-01-01 UTC. It decides when a revision is said, never what it holds (law 9)."""
    return time.time_ns() // 1_000_000


def steady_s() -> float:
    """Seconds of a clock that only rises, and on Linux and macOS stands still while the machine is suspended. For how long something lasts."""
    return time.monotonic()
