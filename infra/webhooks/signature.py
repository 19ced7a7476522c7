"""Whether a delivery comes from Stripe: its signature over the raw body, by any of our secrets, and not too long ago. Pure: now is an argument.

Stripe, "Verify webhook signatures": `Stripe-Signature: t=<unix>,v1=<hex>[,v1=…]`, HMAC-SHA256 of "<t>.<raw body>"; while a secret is rolled there
is a signature for the old one and for the new one. The comparison itself is the official library's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import stripe

TOLERANCE_S: Final = 300
"""How old a signature may be: Stripe's own default. Longer would let a recorded delivery be played again later, shorter would refuse what waited
for a slow network. A time ahead of ours passes, as in Stripe's libraries: only who has the secret can sign it."""

Refusal = Literal["no_signature", "no_secret", "wrong_signature", "too_old"]


def refusal_of(body: bytes, header: str | None, secrets: Sequence[str], now_s: float, tolerance_s: int = TOLERANCE_S) -> Refusal | None:
    """Why a delivery is not believed; None where it is. What is said of it names no secret and no part of the body."""
    if not secrets:
        return "no_secret"
    signed_at = _signed_at(header or "")
    if header is None or signed_at is None:
        return "no_signature"
    if not any(_is_signed(body, header, secret) for secret in secrets):
        return "wrong_signature"
    return "too_old" if signed_at < now_s - tolerance_s else None


def secrets_of(text: str | None) -> tuple[str, ...]:
    """The secrets in STRIPE_WEBHOOK_SECRET: several, with commas between them, while one is rolled or where endpoints have their own."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _signed_at(header: str) -> int | None:
    found = [part.strip()[2:] for part in header.split(",") if part.strip().startswith("t=")]
    return int(found[0]) if len(found) == 1 and found[0].isascii() and found[0].isdigit() and len(found[0]) < 13 else None


def _is_signed(body: bytes, header: str, secret: str) -> bool:
    try:
        # Without a tolerance the library compares signatures only; it wants text, and Stripe's bodies are UTF-8.
        return bool(stripe.WebhookSignature.verify_header(body.decode(), header, secret, None))
    except (stripe.SignatureVerificationError, UnicodeDecodeError, ValueError):
        return False
