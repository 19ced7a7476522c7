"""What a delivery is about, read anew from Stripe: deliveries come late and out of order, and the object as it is now is right in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.control import ControlEvent, invoice_event, meter_error_event
from infra.webhooks.invoices import invoice_record
from infra.webhooks.meter_errors import meter_error_records
from sinks.stripe.access import Access, Eras, meters_of, whole
from sinks.stripe.binding import Candidate, bound, choose, is_legacy, terms_of
from sinks.stripe.client import StripeRefusal
from sinks.stripe.objects import CUSTOMER, Customer, Subscription, read
from topics.notices import NoticeRecord

if TYPE_CHECKING:
    from infra.webhooks.said import Said
    from sinks.stripe.suitability import Terms
    from topics.bindings import Item


class News(NamedTuple):
    """What a delivery comes to: items of customers (as `stripe sync` finds them), control records, a notice, and what could not be bound and why."""

    items: dict[str, tuple[Item, ...]]
    events: tuple[ControlEvent, ...]
    notice: NoticeRecord | None = None
    problems: tuple[str, ...] = ()


class Fresh:
    """Reads for one account. Calls block. `ended_after_s`: how long ago a subscription may have ended and still bind its late events."""

    def __init__(self, eras: Eras, terms: Sequence[Terms], names: dict[str, str]) -> None:
        self._eras = eras
        self._terms = tuple(terms)
        self._names = names

    @property
    def _access(self) -> Access:
        return self._eras.of(legacy=is_legacy(self._terms))

    def news(self, said: Said, now_s: int, ended_after_s: int) -> News:
        """Everything that a delivery comes to. Raises Unreachable or StripeRefusal."""
        if said.subject == "subscription":
            return self._subscription(said, ended_after_s)
        if said.subject == "invoice":
            return self._invoice(said, now_s, ended_after_s)
        if said.subject == "meter_error":
            event = self._eras.modern.get(f"/v2/core/events/{said.id}")
            return News({}, tuple(meter_error_event(record) for record in meter_error_records(event)))
        return News({}, ())

    def customer(self, stripe_customer: str) -> str:
        """The name that events use for a customer of Stripe's; one that is deleted keeps its id only."""
        named = self._names.get(stripe_customer)
        if named is not None:
            return named
        row = self._access.get(f"/v1/customers/{stripe_customer}")
        return stripe_customer if row.get("deleted") else read(row, Customer).metadata.get(CUSTOMER) or stripe_customer

    def items(self, stripe_customer: str, ended_after_s: int) -> tuple[tuple[Item, ...], list[str]]:
        """All items of a customer that bill our meters, and what cannot be bound and why; the same choice as `stripe sync`."""
        access = self._access
        meters = meters_of(self._eras.modern) if any(one.mode == "meters" for one in self._terms) else {}
        candidates: list[Candidate] = []
        for subscription in self._subscriptions(access, stripe_customer):
            if subscription.ended_at is not None and subscription.ended_at <= ended_after_s:
                continue
            for row in subscription.items.data:
                meant = terms_of(row.price, self._terms)
                candidates += [] if meant is None else [Candidate(meant, row, subscription)]
        chosen, found = choose(candidates, meters)
        items = tuple(bound(candidate, meters) for candidate in sorted(chosen, key=lambda one: one.terms.slug))
        return items, [finding.problem for finding in found if finding.fault]

    @staticmethod
    def _subscriptions(access: Access, stripe_customer: str) -> Iterator[Subscription]:
        for row in access.pages("/v1/subscriptions", customer=stripe_customer, status="all"):
            yield whole(access, read(row, Subscription))

    def _subscription(self, said: Said, ended_after_s: int) -> News:
        stripe_customer = said.customer or str(self._access.get(f"/v1/subscriptions/{said.about}").get("customer"))
        customer = self.customer(stripe_customer)
        items, problems = self.items(stripe_customer, ended_after_s)
        notice = None
        if said.notice is not None:
            notice = NoticeRecord(id=said.id, notice=said.notice, customer=customer, subscription=said.about, at_s=said.created_s)
        return News({customer: items}, (), notice, tuple(problems))

    def _invoice(self, said: Said, now_s: int, ended_after_s: int) -> News:
        row = self._invoice_row(said.about)
        if row is None:
            return News({}, ())
        stripe_customer = str(row.get("customer"))
        customer = self.customer(stripe_customer)
        items, _ = self.items(stripe_customer, ended_after_s)
        record = invoice_record(row, items=frozenset(item.item for item in items), seen_at_s=now_s)
        notice = None
        if said.notice is not None:
            notice = NoticeRecord(
                id=said.id,
                notice=said.notice,
                customer=customer,
                subscription=record.subscription if record is not None else "",
                invoice=said.about,
                amount_due=row.get("amount_due") if isinstance(row.get("amount_due"), int) else None,
                currency=str(row.get("currency") or ""),
                at_s=said.created_s,
            )
        return News({}, () if record is None else (invoice_event(customer, record),), notice)

    def _invoice_row(self, invoice_id: str) -> dict[str, Any] | None:
        """The invoice with all its lines; None for one that is only coming, or was a draft and is gone."""
        if not invoice_id:
            return None
        try:
            row = self._access.get(f"/v1/invoices/{invoice_id}")
        except StripeRefusal as refusal:
            if refusal.status == 404:
                return None
            raise
        lines = row.get("lines") or {}
        if lines.get("has_more"):
            row = {**row, "lines": {**lines, "data": list(self._access.pages(f"/v1/invoices/{invoice_id}/lines")), "has_more": False}}
        return row
