"""A worker's wall clock and its own configuration, for mutants that look at them; the product has neither in its fold (law 0)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.core.meterlog import NOW_MS


@dataclass
class Worker:
    """What one worker's machine believes: `now_ms` of its clock, `window_s`, `horizon_ms` and `dedup_ms` of its own file."""

    now_ms: int = NOW_MS
    window_s: int = 3600
    horizon_ms: int = 30 * 86_400_000


here = Worker()
