"""Whether a webhook comes from Stripe: `Stripe-Signature: t=<second>,v1=<hex>[,v1=<hex>…]`, HMAC-SHA256 of `<t>.<raw body>`. Pure.

Source: https://docs.stripe.com/webhooks/signature (verify manually). As the official clients do, a `t` in the future passes: only who holds the
secret can write one, and a receiver whose clock is slow would otherwise refuse everything.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final, Literal

HEADER: Final = "Stripe-Signature"
TOLERANCE_S: Final = 300
"""How old a signature may be: the official clients' default. Shorter, a slow network loses webhooks; longer, a recorded one can be played back
for longer, which is harmless to us (nothing is taken from a payload) but needless."""
LONGEST_HEADER: Final = 4096
"""A signature has 70 characters and a roll makes two of them; above this nothing is parsed."""
Verdict = Literal["right", "missing", "malformed", "wrong", "stale"]
_SECOND = re.compile(r"\d{1,12}", re.ASCII)


def judged(body: bytes, header: str | None, secrets: Sequence[str], now_s: float) -> Verdict:
    """`right` where one of the secrets signed exactly these bytes at most TOLERANCE_S ago. Several secrets: an old one and its successor, or
    those of several endpoints."""
    if not header:
        return "missing"
    if len(header) > LONGEST_HEADER:
        return "malformed"
    pairs = [part.partition("=") for part in header.split(",")]
    seconds = [value for name, _, value in pairs if name.strip() == "t"]
    given = [value.strip().encode() for name, _, value in pairs if name.strip() == "v1"]
    if not seconds or _SECOND.fullmatch(seconds[0].strip()) is None or not given:
        return "malformed"
    second = seconds[0].strip()
    wanted = [hmac.new(secret.encode(), second.encode() + b"." + body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    # All pairs are compared, each in constant time: how long it takes says nothing about which secret came close.
    matches = [hmac.compare_digest(one, other) for one in wanted for other in given]
    if not any(matches):
        return "wrong"
    return "right" if now_s - int(second) <= TOLERANCE_S else "stale"


def secrets_of(text: str) -> tuple[str, ...]:
    """The secrets of STRIPE_WEBHOOK_SECRET: one, or several with commas between them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
