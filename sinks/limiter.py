"""Law 15: one token bucket per account. Pure: time is an argument, in milliseconds."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

BURST_S: Final = 0.25
"""How much may pile up while nothing is sent: enough to keep the rate when the worker is busy for a moment."""
SECOND_MS: Final = 1000
"""Providers count calls a second, from whatever instant on: what piled up must not make one second hold more than `rate` calls."""
RECOVER_PER_S: Final = 0.1
"""After a 429 the rate halves and wins back a tenth of the full rate each second: ten seconds from a standstill."""
ONE_SIGN_MS: Final = 1000
"""Calls in flight together are refused together: what answers 429 within this time of a halving says the same thing again."""
FINE_RATE: Final = 20
"""From here on a second's calls are counted in whole ones: a twentieth at most is lost. Twelve workers with 1.67 calls a second each would make 12 of
20 so; below it the whole number above is allowed in as much more than a second."""
LEAST_SHARE: Final = 0.05
"""It never falls below a twentieth, so that the backlog moves and the limit is found again."""


class TokenBucket:
    """`rate` calls a second, and in no second more than that (rounded up where it is small); a 429 halves it for a while."""

    def __init__(self, rate: float) -> None:
        self._whole = self._full = self._rate = float(rate)
        self.share(1.0)
        self._tokens = self._room
        self._spent = 0
        self._lately: deque[tuple[int, int]] = deque()
        self._at_ms: int | None = None
        self._halved_at_ms: int | None = None

    def share(self, part: float) -> None:
        """From now on this bucket has only a part (0 < part ≤ 1) of the rate: other workers have the rest."""
        is_whole = self._rate == self._full
        self._full = self._whole * part
        self._rate = self._full if is_whole else min(self._rate, self._full)
        self._room = max(1.0, self._full * BURST_S)
        # A hair's breadth: a third of three is one call a second, whatever binary fractions say.
        self._most = int(self._full) if self._full >= FINE_RATE else ceil(self._full - 1e-9)
        self._span_ms = max(SECOND_MS, ceil(self._most * SECOND_MS / self._full - 1e-6))

    @property
    def full(self) -> float:
        """Calls a second that it has while nobody says 429."""
        return self._full

    @property
    def rate(self) -> float:
        """Calls a second that are let through now."""
        return self._rate

    def available(self, now_ms: int) -> int:
        """How many calls may start now."""
        self._refill(now_ms)
        return max(0, min(int(self._tokens), self._most - self._spent))

    def wait_ms(self, now_ms: int) -> int:
        """How long until one call may start; 0 for now."""
        self._refill(now_ms)
        token_ms = 0 if self._tokens >= 1 else int((1 - self._tokens) / self._rate * 1000) + 1
        second_ms = 0 if self._spent < self._most else self._lately[0][0] + self._span_ms - now_ms
        return max(token_ms, second_ms)

    def used(self, now_ms: int) -> int:
        """How many calls started within the last second."""
        self._refill(now_ms)
        return sum(calls for at_ms, calls in self._lately if now_ms - at_ms < SECOND_MS)

    def spend(self, calls: int) -> None:
        """Take what `available` granted."""
        self._tokens -= calls
        if self._at_ms is not None:
            self._spent += calls
            self._lately.append((self._at_ms, calls))

    def limited(self, now_ms: int) -> None:
        """The provider answered 429: half the rate, and nothing saved up."""
        self._refill(now_ms)
        if self._halved_at_ms is not None and now_ms - self._halved_at_ms < ONE_SIGN_MS:
            return
        self._halved_at_ms = now_ms
        self._rate = max(self._full * LEAST_SHARE, self._rate / 2)
        self._tokens = min(self._tokens, 0.0)

    def _refill(self, now_ms: int) -> None:
        if self._at_ms is None or now_ms < self._at_ms:
            self._at_ms = now_ms
            self._lately = deque((now_ms, calls) for _, calls in self._lately)
        while self._lately and now_ms - self._lately[0][0] >= self._span_ms:
            self._spent -= self._lately.popleft()[1]
        elapsed_s = (now_ms - self._at_ms) / 1000
        self._rate = min(self._full, self._rate + self._full * RECOVER_PER_S * elapsed_s)
        self._tokens = min(self._room, self._tokens + self._rate * elapsed_s)
        self._at_ms = now_ms
