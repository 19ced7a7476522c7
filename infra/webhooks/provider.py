"""What a webhook's errand asks of Stripe, now: never what the webhook itself said. Calls block; the receiver makes them in threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sinks.stripe.binding import Candidate, read_customers
from sinks.stripe.objects import CUSTOMER, BillingMeter, Customer, read
from sinks.stripe.refusal import StripeRefusal

if TYPE_CHECKING:
    from sinks.stripe.access import Access, Eras
    from sinks.stripe.suitability import Terms


@dataclass(frozen=True)
class Provider:
    """One account. `names`: Stripe customer → ours, where the configuration says so. All raise Unreachable or StripeRefusal."""

    eras: Eras
    terms: Sequence[Terms]
    names: Mapping[str, str]

    def customer_name(self, stripe_customer: str) -> str | None:
        """What events call a Stripe customer; None where it is deleted, and says no more what it was called."""
        if stripe_customer in self.names:
            return self.names[stripe_customer]
        row = _found(self.eras.modern, f"/v1/customers/{stripe_customer}")
        customer = None if row is None else read(row, Customer)
        return None if customer is None or customer.deleted else customer.metadata.get(CUSTOMER) or customer.id

    def candidates(self, stripe_customers: Iterable[str], ended_after_s: int) -> tuple[list[Candidate], dict[str, BillingMeter]]:
        """The items of these customers that concern our meters, and the account's Billing Meters."""
        return read_customers(self.eras, self.terms, stripe_customers, ended_after_s=ended_after_s)

    def invoice(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """An invoice and all its lines, under the version that shows prices whole; None where there is none (a deleted draft)."""
        row = _found(self.eras.old, f"/v1/invoices/{name}")
        if row is None:
            return None
        shown = row.get("lines") or {}
        return row, list(self.eras.old.pages(f"/v1/invoices/{name}/lines")) if shown.get("has_more") else list(shown.get("data", []))

    def subscription(self, name: str) -> dict[str, Any] | None:
        """A subscription, with its period as before basil."""
        return _found(self.eras.old, f"/v1/subscriptions/{name}")

    def clock(self, name: str) -> dict[str, Any] | None:
        """A test clock."""
        return _found(self.eras.modern, f"/v1/test_helpers/test_clocks/{name}")

    def thin_event(self, name: str) -> dict[str, Any] | None:
        """A thin event with its data; None once its 30 days are over."""
        return _found(self.eras.modern, f"/v2/core/events/{name}")


def _found(access: Access, path: str) -> dict[str, Any] | None:
    try:
        return access.get(path)
    except StripeRefusal as refusal:
        if refusal.status == 404:
            return None
        raise
