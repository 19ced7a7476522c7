"""`usage.notices`: what an application may want to act on, such as suspending or mailing a customer. Nothing of ours reads it."""

from __future__ import annotations

from typing import Literal

from topics.codec import Stored

Notice = Literal["payment_failed", "payment_succeeded", "subscription_deleted"]


class NoticeRecord(Stored, frozen=True, kw_only=True):
    """One notice, keyed by the customer. `id` is the provider's event: a second delivery has the same one. Amounts are in the currency's minor unit.

    `at_s` is when it happened by the provider's clock (Unix seconds).
    """

    kind: str = "notice"
    id: str
    notice: Notice
    customer: str
    provider: str = "stripe"
    account: str = "default"
    subscription: str = ""
    invoice: str = ""
    amount_due: int | None = None
    currency: str = ""
    at_s: int
