"""What Stripe's client raises where Stripe says no to a call that is not a report."""

from __future__ import annotations

from topics.errors import TidemarkError


class StripeRefusal(TidemarkError):
    """Stripe answered a setup or sync call with an error; the message is Stripe's own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"Stripe refuses: {message} (HTTP {status}{', ' + code if code else ''})")
        self.status = status
        self.code = code
