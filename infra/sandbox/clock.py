"""The sandbox's clock: real time plus an offset that a test sets and that survives a restart."""

from __future__ import annotations

import time

from infra.sandbox.store import Store

_FACT = "clock_offset_s"


class Clock:
    """Seconds since the epoch, running at the speed of real time from wherever it was set."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._offset_s = float(store.fact(_FACT) or 0.0)

    @property
    def offset_s(self) -> float:
        """How far ahead of real time it is."""
        return self._offset_s

    def now_s(self) -> float:
        """The instant."""
        return time.time() + self._offset_s

    def set(self, now_s: float) -> None:
        """Makes it this instant now."""
        offset_s = now_s - time.time()
        with self._store.transaction():
            self._store.set_fact(_FACT, offset_s)
        self._offset_s = offset_s
