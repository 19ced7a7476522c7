"""Runs an errand: asks Stripe, decides, and returns when what follows from it is acknowledged by the log.

Numbered effects: 1 what Stripe has is read (a crash costs nothing: Stripe was not answered and sends again). 2 The control records are acknowledged
on `usage.events`, of a binding also put in force by the meter (a crash after it: the webhook comes again and says the same, by the same id or
not at all). 3 The notice is acknowledged on `usage.notices` (a crash after it: a second one with the same id). 4 Stripe is answered 200.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from infra.control import ControlEvent, clock_event, invoice_event, meter_error_event
from infra.webhooks import facts
from infra.webhooks.binder import Binder, current_items, living_by
from infra.webhooks.errands import Errand
from infra.webhooks.log import Log, Outgoing
from infra.webhooks.notification import Notification
from infra.webhooks.provider import Provider
from topics.catalog import EVENTS, NOTICES
from topics.codec import encode
from topics.definitions import Definitions
from topics.home import home_of
from topics.invoices import InvoiceRecord
from topics.notices import NoticeRecord

Outcome = Literal["bound", "unchanged", "explicit", "unbound", "gone", "invoice", "clock", "meter_error", "nothing"]
"""As `Bound`, or which facts were published; `nothing`: it was looked at, and concerns no meter of ours."""


@dataclass(frozen=True)
class Runner:
    """One account's errands."""

    provider: Provider
    log: Log
    binder: Binder

    async def run(self, errand: Errand, said: Notification) -> Outcome:
        """What came of it. Raises Unreachable, StripeRefusal or Unanswered: Stripe has to send again."""
        if errand.what == "binding":
            return await self._binding(errand, said)
        if errand.what == "invoice":
            return await self._invoice(errand, said)
        if errand.what == "upcoming":
            return await self._upcoming(errand.name)
        if errand.what == "clock":
            return await self._clock(errand.name)
        return await self._meter_error(errand.name)

    async def _binding(self, errand: Errand, said: Notification) -> Outcome:
        name, outcome, items = await self.binder.bind(errand.name)
        for clock in sorted({item.clock for item in items if item.clock}):
            # The clock may have been set before anybody was bound to it: its time follows the binding that names it.
            await self._tell_time(clock, [name])
        ours = items or current_items(await self._held(name), name) if name else ()
        if errand.notice is not None and ours and said.object_id:
            row = await asyncio.to_thread(self.provider.subscription, said.object_id)
            status = "" if row is None else str(row.get("status"))
            await self._notice(facts.deletion_notice(said.id, name, said.object_id, status, said.created_s))
        return outcome

    async def _invoice(self, errand: Errand, said: Notification) -> Outcome:
        found = await asyncio.to_thread(self.provider.invoice, errand.name)
        if found is None:
            return "gone"
        row, lines = found
        seen = facts.invoice_of(row)
        name = await self.binder.name_of(seen.customer)
        if name is None:
            return "gone"
        bound = current_items(await self._held(name), name)
        record = facts.invoice_record(seen, lines, self.provider.terms, {item.item for item in bound})
        await self._facts(name, [] if record is None else [record])
        if errand.notice is not None and (bound or record is not None):
            await self._notice(facts.payment_notice(said.id, errand.notice, name, seen, said.created_s))
        return "nothing" if record is None else "invoice"

    async def _upcoming(self, subscription: str) -> Outcome:
        row = await asyncio.to_thread(self.provider.subscription, subscription)
        if row is None:
            return "gone"
        record = facts.upcoming_record(row, self.provider.terms)
        name = None if record is None else await self.binder.name_of(str(row.get("customer")))
        if record is None or name is None:
            return "nothing"
        await self._facts(name, [record])
        return "invoice"

    async def _facts(self, customer: str, records: list[InvoiceRecord]) -> None:
        await self.log.publish([self._control(customer, invoice_event(customer, record)) for record in records])

    async def _clock(self, clock: str) -> Outcome:
        customers = [name for partition in range(self.log.partitions) for name in living_by(await self.log.held(partition), clock)]
        return await self._tell_time(clock, customers) if customers else "nothing"

    async def _tell_time(self, clock: str, customers: list[str]) -> Outcome:
        row = await asyncio.to_thread(self.provider.clock, clock)
        if row is None:
            return "gone"
        record = facts.clock_record(row)
        await self.log.publish([self._control(customer, clock_event(customer, record)) for customer in customers])
        return "clock"

    async def _meter_error(self, event: str) -> Outcome:
        row = await asyncio.to_thread(self.provider.thin_event, event)
        if row is None:
            return "gone"
        events = [meter_error_event(record) for record in facts.meter_errors(row)]
        # Its keys name cells of whichever partition, so each is told.
        await self.log.publish([Outgoing(EVENTS, partition, one.key, one.value) for partition in range(self.log.partitions) for one in events])
        return "meter_error"

    async def _notice(self, notice: NoticeRecord | None) -> None:
        if notice is not None:
            await self.log.publish([Outgoing(NOTICES, None, notice.customer.encode(), encode(notice))])

    async def _held(self, customer: str) -> Definitions:
        return await self.log.held(home_of(customer.encode(), self.log.partitions))

    def _control(self, customer: str, event: ControlEvent) -> Outgoing:
        return Outgoing(EVENTS, home_of(customer.encode(), self.log.partitions), event.key, event.value)


