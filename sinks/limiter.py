"""Law 15: one token bucket per account. Pure: time is an argument, in milliseconds."""

from __future__ import annotations

from typing import Final

BURST_S: Final = 0.25
"""How much may pile up while nothing is sent: Stripe's limits are per second, so a quarter of one cannot overrun them."""
RECOVER_PER_S: Final = 0.1
"""After a 429 the rate halves and wins back a tenth of the full rate each second: ten seconds from a standstill."""
ONE_SIGN_MS: Final = 1000
"""Calls in flight together are refused together: what answers 429 within this time of a halving says the same thing again."""
LEAST_SHARE: Final = 0.05
"""It never falls below a twentieth, so that the backlog moves and the limit is found again."""


class TokenBucket:
    """`rate` calls a second; a 429 halves it for a while."""

    def __init__(self, rate: float) -> None:
        self._full = float(rate)
        self._rate = float(rate)
        self._room = max(1.0, rate * BURST_S)
        self._tokens = self._room
        self._at_ms: int | None = None
        self._halved_at_ms: int | None = None

    @property
    def rate(self) -> float:
        """Calls a second that are let through now."""
        return self._rate

    def available(self, now_ms: int) -> int:
        """How many calls may start now."""
        self._refill(now_ms)
        return int(self._tokens)

    def wait_ms(self, now_ms: int) -> int:
        """How long until one call may start; 0 for now."""
        self._refill(now_ms)
        return 0 if self._tokens >= 1 else int((1 - self._tokens) / self._rate * 1000) + 1

    def spend(self, calls: int) -> None:
        """Take what `available` granted."""
        self._tokens -= calls

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
        elapsed_s = (now_ms - self._at_ms) / 1000
        self._rate = min(self._full, self._rate + self._full * RECOVER_PER_S * elapsed_s)
        self._tokens = min(self._room, self._tokens + self._rate * elapsed_s)
        self._at_ms = now_ms
