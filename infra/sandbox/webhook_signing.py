"""The header by which a receiver knows that a webhook is ours: `t=<second>,v1=<signature>`, one signature for each secret.

Source: https://docs.stripe.com/webhooks/signature
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

HEADER = "Stripe-Signature"


def signed(body: bytes, secrets: Sequence[str], second: int) -> str:
    """The header's value for a body that is sent at this second of real time (receivers compare it with their own clocks)."""
    signatures = [hmac.new(secret.encode(), str(second).encode() + b"." + body, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={second}", *[f"v1={each}" for each in signatures]])
