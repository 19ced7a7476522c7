"""Law 15: when to try again. Pure: time is an argument, and jitter comes from a seed, so that a schedule can be repeated exactly."""

from __future__ import annotations

import hashlib
from typing import Final

FIRST_MS: Final = 500
"""Stripe's own client starts there; a lost reply or a key in use is mostly answered by then."""
MOST_MS: Final = 60_000
"""Longer waits let a healed provider stand idle; shorter ones make thousands of cells knock on a dead one."""
TRIP_AFTER: Final = 5
"""Failures in a row, across cells, that mean "the provider is down" and not "this request was unlucky"."""


def delay_ms(tries: int, seed: str) -> int:
    """Wait before the next try after `tries` ≥ 1 failures: FIRST · 2^(tries−1) up to MOST, between half of it and all of it by the seed."""
    full = min(MOST_MS, FIRST_MS << min(tries - 1, 20))
    share = int.from_bytes(hashlib.blake2b(f"{seed}|{tries}".encode(), digest_size=4).digest(), "little")
    return full // 2 + full * share // (2 << 32)


class Breaker:
    """Says when a provider counts as down. Then one probe at a time is let through, of each item in turn, and an intent is written for each at most.

    So an outage of any length leaves few intents open, and few cells unknown after it (C6, C7); and one item that never answers, which is all
    that it takes to count as down on a quiet night, does not hold up the others.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._failures = 0
        self._probe_at_ms = 0
        self._probing = False

    @property
    def failures(self) -> int:
        """Failures in a row, as far as they count."""
        return self._failures

    @property
    def is_open(self) -> bool:
        """True while the provider counts as down."""
        return self._failures >= TRIP_AFTER

    @property
    def probe_at_ms(self) -> int:
        """When the next probe may start; 0 while closed."""
        return self._probe_at_ms if self.is_open else 0

    def may_call(self, now_ms: int) -> bool:
        """True where a call may start now; while open, only a probe, and only one."""
        return not self.is_open or (not self._probing and now_ms >= self._probe_at_ms)

    def started(self) -> None:
        """A call starts; while open it is the probe."""
        self._probing = self.is_open

    def failed(self, now_ms: int) -> None:
        """A call had no answer, or a 5xx, or 401. What was under way when it tripped says nothing new."""
        if self.is_open and not self._probing:
            return
        self._failures += 1
        self._probing = False
        if self.is_open:
            self._probe_at_ms = now_ms + delay_ms(self._failures - TRIP_AFTER + 1, self._seed)

    def passed(self) -> None:
        """A call that had been let through was not made after all."""
        self._probing = False

    def answered(self) -> None:
        """The provider is there: any definite answer, also a refusal."""
        self._failures = 0
        self._probing = False
