"""The wall clock of the workers: the only caller of `time.time` in them. The core is given the time as an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Milliseconds since 1970-01-01 UTC. It decides when a revision is said, never what it holds (law 9)."""
    return time.time_ns() // 1_000_000
