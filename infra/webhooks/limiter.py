"""How much wrong signatures may cost: beyond a number a minute they are answered 429 and no longer written to the log. Pure: time is an argument.

Whoever signs rightly is never held up: behind a proxy Stripe and a stranger may share an address, so nothing goes by addresses.
"""

from __future__ import annotations

from typing import Final

ALLOWED: Final = 60
"""Wrong signatures a minute: a receiver with a forgotten secret sees about as many, and wants each in its log."""
SPAN_S: Final = 60.0


class BadSignatures:
    """A bucket that holds ALLOWED and fills again within SPAN_S."""

    def __init__(self) -> None:
        self._left = float(ALLOWED)
        self._seen_s: float | None = None

    def allows(self, now_s: float) -> bool:
        """Whether one more is still within bounds; it counts. `now_s` of a clock that never goes back."""
        passed_s = 0.0 if self._seen_s is None else now_s - self._seen_s
        self._seen_s = now_s
        self._left = min(float(ALLOWED), self._left + passed_s * ALLOWED / SPAN_S)
        if self._left < 1:
            return False
        self._left -= 1
        return True
