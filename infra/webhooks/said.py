"""What a delivery is about, and nothing more of it: deliveries come late, twice and out of order, so no state is taken from a payload. Pure."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from topics.notices import Notice

Subject = Literal["subscription", "invoice", "meter_error"]
SUBJECTS: Final[dict[str, Subject]] = {
    **dict.fromkeys(
        (f"customer.subscription.{what}" for what in ("created", "updated", "deleted", "paused", "resumed", "trial_will_end")), "subscription"
    ),
    **dict.fromkeys(
        (f"invoice.{what}" for what in ("created", "updated", "finalized", "paid", "payment_failed", "upcoming", "voided", "marked_uncollectible")),
        "invoice",
    ),
    "v1.billing.meter.error_report_triggered": "meter_error",
    "v1.billing.meter.no_meter_found": "meter_error",
}
"""Event types that concern us, by what is read anew for each."""
NOTICES: Final[dict[str, Notice]] = {
    "invoice.payment_failed": "payment_failed",
    "invoice.paid": "payment_succeeded",
    "customer.subscription.deleted": "subscription_deleted",
}
"""Event types that an application is told of. `invoice.paid` is also sent where the invoice was paid elsewhere; `payment_succeeded` is not."""


class Said(NamedTuple):
    """One delivery: the provider's event `id`, its `type`, the object `about` it ("" for an upcoming invoice), its `customer` and when it was."""

    id: str
    type: str
    subject: Subject | None
    about: str
    customer: str
    created_s: int
    live: bool

    @property
    def notice(self) -> Notice | None:
        """What an application is told; None: nothing."""
        return NOTICES.get(self.type)


class _Named(msgspec.Struct):
    id: str = ""
    customer: str | None = None


class _Data(msgspec.Struct):
    object: _Named = msgspec.field(default_factory=_Named)


class _Delivery(msgspec.Struct):
    id: str
    type: str
    object: str
    created: int | str = 0
    livemode: bool = False
    data: _Data = msgspec.field(default_factory=_Data)
    related_object: _Named | None = None


_delivery = msgspec.json.Decoder(_Delivery)


def said_in(body: bytes) -> Said | None:
    """The delivery; None where the body is no event of Stripe's, of either kind (`event`, and the thin `v2.core.event`)."""
    try:
        found = _delivery.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.object not in {"event", "v2.core.event"} or not found.id:
        return None
    about = found.related_object or found.data.object
    created_s = found.created if isinstance(found.created, int) else 0
    return Said(found.id, found.type, SUBJECTS.get(found.type), about.id, about.customer or "", created_s, found.livemode)
