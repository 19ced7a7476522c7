"""Law 14, the key: `tm1_` and a hash of everything the request says, so that one key never names two requests.

Stripe refuses a key that comes with other parameters (400 idempotency_error) and forgets it after 24 hours: exactness comes from `set` on the
cell, the key only makes a retry of the same bytes answer the same.
"""

from __future__ import annotations

import hashlib
from typing import Final

from topics.codec import encode

PREFIX: Final = "tm1_"
"""Names this derivation: another one gets another prefix, or old intents would meet new keys."""


def idempotency_key(provider: str, account: str, cell: str, revision: int, units: int | str, attempt: int) -> str:
    """68 characters (Stripe takes 255). `attempt` rises only after a spent key (a saved failure) or an operator's release."""
    parts = encode([account, provider, cell, revision, str(units), attempt])
    return PREFIX + hashlib.sha256(parts).hexdigest()


def meter_identifier(provider: str, account: str, cell: str, revision: int, units: str) -> str:
    """68 characters (Stripe takes 100). Without the attempt: an event that a saved failure had let through is known again by its next attempt."""
    return PREFIX + hashlib.sha256(encode(["event", account, provider, cell, revision, units])).hexdigest()
