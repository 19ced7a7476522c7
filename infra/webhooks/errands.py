"""What a notification makes us do: which object to ask Stripe for, and which notice may follow from it. Pure."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from infra.webhooks.notification import Notification
from topics.notices import Notice

What = Literal["binding", "invoice", "upcoming", "clock", "meter_error"]


class Errand(NamedTuple):
    """`name` is the id that is asked for: of a customer, an invoice, a subscription, a test clock or an event."""

    what: What
    name: str
    notice: Notice | None = None


SUBSCRIPTION: Final = frozenset(
    f"customer.subscription.{what}" for what in ("created", "updated", "deleted", "paused", "resumed", "trial_will_end")
)
INVOICE: Final = frozenset(f"invoice.{what}" for what in ("created", "finalized", "paid", "payment_failed", "voided", "marked_uncollectible"))
UPCOMING: Final = "invoice.upcoming"
CLOCK: Final = frozenset({"test_helpers.test_clock.advancing", "test_helpers.test_clock.ready"})
METER_ERROR: Final = frozenset({"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"})
TYPES: Final = (*sorted(SUBSCRIPTION), *sorted(INVOICE), UPCOMING, *sorted(CLOCK))
"""What a webhook endpoint has to be enabled for."""
THIN_TYPES: Final = tuple(sorted(METER_ERROR))
"""What an event destination for thin events has to be enabled for."""
_NOTICES: Final[dict[str, Notice]] = {
    "invoice.paid": "payment_succeeded",
    "invoice.payment_failed": "payment_failed",
    "customer.subscription.deleted": "subscription_deleted",
}


def errand(said: Notification) -> Errand | None:
    """What to do; None for everything that does not concern us, and for what names no object."""
    notice = _NOTICES.get(said.type)
    found: Errand | None = None
    if said.thin:
        found = Errand("meter_error", said.id) if said.type in METER_ERROR else None
    elif said.type in SUBSCRIPTION:
        found = Errand("binding", said.customer, notice)
    elif said.type in INVOICE:
        found = Errand("invoice", said.object_id, notice)
    elif said.type == UPCOMING:
        found = Errand("upcoming", said.subscription)
    elif said.type in CLOCK:
        found = Errand("clock", said.object_id)
    return found if found is not None and found.name else None
