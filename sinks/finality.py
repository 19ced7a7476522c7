"""Law 16, finality: from when on a cell takes no more. Pure: what is known of invoices, what a provider accepts, and when it is now.

Usage records are taken until their billing period ends (Stripe, "Record usage": the timestamp must be within the current billing period; a few
minutes' tolerance is documented and not guaranteed, so nothing relies on it). A draft invoice takes meter events until it is final, an hour or up to
72 after the period's end (Stripe, "Configure a grace period"); later ones are answered 200 and billed nowhere (H28).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sinks.cells import Place
from sinks.meter_events import MOST_AGE_S
from topics.adjustments import Cause
from topics.bindings import ItemVersion
from topics.invoices import FINAL, Invoice, InvoiceRecord

LONGEST_DRAFT_S: Final = 73 * 3600
"""A draft is final 72 hours after it was made at the latest, and it is made within an hour of the period's end; unless somebody holds it, and then
it is known as a draft. A shorter time would send to nobody what a draft still takes; a longer one pretends longer."""


AFTER_FINAL: Final = "the meter took it, but its invoice was final already, or its price had changed: it is billed nowhere"


class Finality(NamedTuple):
    """Why a cell is final, and which invoice it is on ("": none is known)."""

    cause: Cause
    invoice: str = ""


class Invoices:
    """What is known of an account's invoices, and which cells are final by it or by the time."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._of: dict[str, dict[str, InvoiceRecord]] = {}

    def learn(self, invoice: Invoice) -> bool:
        """Take an invoice's newest state; False where it is another account's. The fold has seen to it that no state goes back."""
        said = invoice.said
        if said.account != self._account:
            return False
        for name in (said.subscription, *said.items):
            if name:
                self._of.setdefault(name, {})[said.invoice] = said
        return True

    def drafts(self) -> set[str]:
        """Invoices that are drafts by the newest word of them."""
        return {said.invoice for of_name in self._of.values() for said in of_name.values() if said.status == "draft"}

    def holding(self, place: Place) -> InvoiceRecord | None:
        """The invoice whose period holds the cell's second: of the item's subscription, or naming its item. Of several a final one goes first."""
        named = {**self._of.get(place.subscription, {}), **self._of.get(place.item, {})} if self._of else {}
        found = [said for said in named.values() if _holds(said, place)]
        return min(found, key=lambda said: (said.status not in FINAL, said.invoice), default=None)

    def final_of(self, subscription: str) -> list[InvoiceRecord]:
        """Final invoices of a subscription that say how much they bill by usage records."""
        return [said for said in self._of.get(subscription, {}).values() if said.status in FINAL and said.billed]

    def judge(self, place: Place, closed_at_ms: int | None, now_ms: int, known: Finality | None) -> Finality | None:
        """Why the cell is final now; None while it takes what is reported. `known`: what was found before, which never ends: at most its invoice
        becomes known. `closed_at_ms` is when the newest of its totals came, `now_ms` the customer's time: 0 where its test clock said nothing."""
        if known is not None and known.invoice:
            return known
        invoice = self.holding(place)
        if invoice is not None and invoice.status in FINAL:
            return Finality("after_finalization" if known is None else known.cause, invoice.invoice)
        return known or by_time(place, closed_at_ms, now_ms, is_draft=invoice is not None)


def change_of(place: Place, versions: Iterable[ItemVersion], now_ms: int) -> int | None:
    """When the plan changed after a cell, so that the cell takes no more (H32); None where it goes on.

    Stripe bills what was used before another price or item as it was reported by then, or not at all: in flexible billing mode an invoice item is
    made of it at the change, and a subscription that ended takes no usage records. Meter events of a subscription that was replaced by another
    one are taken by its last invoice while that is a draft. https://docs.stripe.com/billing/subscriptions/usage-based/manage-billing-setup
    """
    for version in versions:
        item, changed_at_s = version.item, version.changed_at_s
        if item is None or changed_at_s is None or changed_at_s <= place.timestamp_s or not _has_come(version, place, now_ms):
            continue
        is_same_price = not item.price or not place.price or item.price == place.price
        if item.item == place.item and is_same_price:
            continue
        if place.target is None or item.subscription == place.subscription:
            return changed_at_s
    return None


def _has_come(version: ItemVersion, place: Place, now_ms: int) -> bool:
    """Whether the change that a version tells of has happened. Of a customer on a test clock it has, unless it was wished for some later time."""
    if place.clock:
        return version.item is not None and version.item.valid_from_s is None
    return version.changed_at_s is not None and now_ms >= version.changed_at_s * 1000


def _holds(said: InvoiceRecord, place: Place) -> bool:
    of_it = said.provider == place.provider and (not said.items or place.item in said.items)
    return of_it and said.period_start_s <= place.timestamp_s < said.period_end_s


def by_time(place: Place, closed_at_ms: int | None, now_ms: int, *, is_draft: bool = False) -> Finality | None:
    """Why the time alone makes a cell final; `now_ms` is the customer's.

    A test clock's newest word is its time at least, so a period that has ended by it has ended. How old a meter event may be there, and how long
    its drafts wait, only invoices and the provider's answers say.
    """
    if place.clock:
        return Finality("period_closed") if place.target is None and now_ms >= place.period_end_s * 1000 else None
    if place.target is not None and now_ms // 1000 - place.timestamp_s > MOST_AGE_S:
        return Finality("age_limit")
    ends_at_s = place.period_end_s if place.target is None else place.period_end_s + LONGEST_DRAFT_S
    if now_ms < ends_at_s * 1000 or (place.target is not None and is_draft):
        return None
    return Finality("late_event" if closed_at_ms is not None and closed_at_ms >= ends_at_s * 1000 else "period_closed")


def billed_nowhere(place: Place, known: Finality | None) -> bool:
    """True where a meter takes what is reported now and no invoice bills it: the invoice of the event's second is final (H28), or its price
    has changed since (H32)."""
    return place.target is not None and known is not None and known.cause in {"after_finalization", "plan_changed"}
