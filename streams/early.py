"""Law 9, before a billing edge: when a window that touches one is emitted while it still takes events. Pure, and never about what it holds.

Legacy usage records, and some providers, take the old period only while it lasts (Stripe: "must be within the current billing period"; the few
minutes' grace after it are not promised). So what was used until shortly before the edge goes out before it; the rest follows as a revision.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from zlib import crc32


class Pass(NamedTuple):
    """One early emission: it begins `before_ms` ahead of the edge; customers are spread over `spread_ms`."""

    before_ms: int
    spread_ms: int


PASSES: Final = (Pass(600_000, 240_000), Pass(85_000, 30_000))
"""The first carries nearly everything while there is time for retries: with 80 calls a second, 19,000 customers whose periods end together fit its
spread, and six minutes are left for the slow ones. The second carries what came since, and all that was received 90 s before the edge: it begins
5 s later, which is more than a flush takes, and ends 55 s before the edge, which one retry of a lost answer needs. Later would be too late for
both, earlier would leave more for the adjustments."""


def early_ms(customer: str, deadline_s: int, now_ms: int, *, was_emitted: bool) -> int | None:
    """When the customer's window with that deadline is next emitted early; None: not any more.

    A window that was never emitted, found between the last pass and the edge (a worker that was down), goes at once.
    """
    share = crc32(customer.encode())
    for one in PASSES:
        at_ms = deadline_s * 1000 - one.before_ms + one.spread_ms * share // (1 << 32)
        if at_ms > now_ms:
            return at_ms
    return now_ms if not was_emitted and now_ms < deadline_s * 1000 else None
