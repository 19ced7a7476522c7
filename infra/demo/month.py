"""One customer's month on a test clock, lived through: signed up at Stripe, heard of by webhooks, used, billed, and its invoice read.

Numbered effects, all in the demo's own sandbox and Kafka: 1 clock, customer, subscriptions; 2 for each chapter the clock's advance, then its events;
3 the clock passes the period's edge, and Stripe makes the invoice. Nothing is told to the product but by webhooks and events.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from infra.demo.books import Books, Json
from infra.demo.month_usage import AFTER_EDGE_S, Counted, Month, made_month
from infra.demo.traffic import send_all
from infra.webhooks.binder import current_items
from infra.webhooks.kafka_log import KafkaLog
from topics.definitions import Definitions
from topics.errors import TidemarkError, Unreachable
from topics.home import home_of

LOOK_EVERY_S: Final = 0.4
PATIENCE_S: Final = 240.0
"""For one wait: longer than Kafka is away after a kill on a loaded machine, and than a webhook's pauses grow meanwhile."""
Tell = Callable[[str], None]


class Subscriber(NamedTuple):
    """A customer to be: `since_s` is where its clock begins, and its periods; `prices` by subscription, each (meter, price)."""

    name: str
    since_s: int
    meters: tuple[Counted, ...]
    prices: tuple[tuple[tuple[str, str], ...], ...]
    hours: int = 70
    late: int = 0
    seed: int = 11


class InvoiceLine(NamedTuple):
    """What Stripe billed a meter of the customer for the month, all tiers of it: `line` is the id of one of them."""

    invoice: str
    status: str
    line: str
    units: int
    amount: int
    currency: str

    @property
    def name(self) -> str:
        """As `explain --invoice-line` takes it: Stripe lists no invoices of test clocks unless they are named."""
        return f"{self.invoice}/{self.line}"

    def and_more(self, other: InvoiceLine) -> InvoiceLine:
        """With the line of another tier."""
        return self._replace(units=self.units + other.units, amount=self.amount + other.amount)


@dataclass
class Billed:
    """A month that is over: what was used, by the oracle, and what Stripe billed; the items and subscriptions that it was billed by."""

    month: Month
    lines: dict[str, InvoiceLine]
    items: dict[str, str]
    subscriptions: list[str]

    @property
    def faults(self) -> list[str]:
        """Where an invoice is not what was used."""
        found = []
        for slug, units in sorted(self.month.units.items()):
            line = self.lines.get(slug)
            if line is None or line.units != units or line.status not in {"open", "paid"}:
                said = "there is no line" if line is None else f"{line.units} units on {line.status} invoice {line.invoice}"
                found.append(f"{self.month.customer}, {slug}: {units} units were used, {said}")
        return found


@dataclass(frozen=True)
class Stage:
    """What all customers of a run share."""

    account: Books
    log: KafkaLog
    bootstrap: str
    tell: Tell

    async def live(self, who: Subscriber) -> Billed:
        """The whole month. Raises TidemarkError where something does not come in time."""
        clock = (await self._post("/v1/test_helpers/test_clocks", f"{who.name} clock", {"frozen_time": who.since_s}))["id"]
        named = {"test_clock": clock, "metadata[tidemark_customer]": who.name}
        customer = (await self._post("/v1/customers", f"{who.name} customer", named))["id"]
        subscriptions = [await self._subscribe(who, customer, number) for number in range(len(who.prices))]
        items = {slug: _item(each, price) for each, prices in zip(subscriptions, who.prices, strict=True) for slug, price in prices}
        await self._until(lambda: self._is_bound(who, items), f"{who.name} was never bound: no webhook came, or none was taken")
        period = (subscriptions[0]["current_period_start"], subscriptions[0]["current_period_end"])
        month = made_month(who.name, who.meters, *period, hours=who.hours, late=who.late, seed=who.seed)
        for number, chapter in enumerate(month.chapters, 1):
            await self._advance(who.name, clock, chapter.now_s)
            await send_all(self.bootstrap, chapter.records, self.log.partitions, seconds=0.0, moved=_ignored)
            if chapter.sums is None:
                await self._until(partial(self._is_drafted, subscriptions, items, month), f"the last usage of {who.name} never came onto its draft")
                continue
            sums = {items[slug]: units for slug, units in chapter.sums.items()}
            await self._until(partial(self._is_delivered, subscriptions, sums), f"the usage of {who.name} was never delivered")
            self.tell(f"{who.name}: {sum(len(each.records) for each in month.chapters[:number]):,} events, week {number} of its month is delivered")
        await self._advance(who.name, clock, month.end_s + AFTER_EDGE_S)
        return Billed(month, await self._billed(subscriptions, items, month), items, [each["id"] for each in subscriptions])

    async def _subscribe(self, who: Subscriber, customer: str, number: int) -> Json:
        prices = {f"items[{index}][price]": price for index, (_, price) in enumerate(who.prices[number])}
        return await self._post("/v1/subscriptions", f"{who.name} subscription {number}", {"customer": customer, **prices})

    async def _post(self, path: str, key: str, parameters: dict[str, str | int]) -> Json:
        return await self.account.post(path, f"demo {key}", parameters)

    async def _held(self, name: str) -> Definitions:
        return await self.log.held(home_of(name.encode(), self.log.partitions))

    async def _is_bound(self, who: Subscriber, items: dict[str, str]) -> bool:
        held = await self._held(who.name)
        return {item.item for item in current_items(held, who.name)} == set(items.values()) and held.clock_of(who.name) is not None

    async def _advance(self, name: str, clock: str, now_s: int) -> None:
        """Moves the clock, and waits until the meter knows: what is sent then is no longer the future."""
        path = f"/v1/test_helpers/test_clocks/{clock}"
        await self._post(f"{path}/advance", f"{name} {now_s}", {"frozen_time": now_s})

        async def arrived() -> bool:
            shown = (await self._held(name)).clock_of(name)
            return shown is not None and shown.now_s >= now_s and (await self.account.get(path))["status"] == "ready"

        await self._until(arrived, f"the clock of {name} moved and no webhook said so")

    async def _is_delivered(self, subscriptions: Sequence[Json], sums: dict[str, int]) -> bool:
        """Whether Stripe would bill exactly this by now."""
        found: Counter[str] = Counter()
        for each in subscriptions:
            upcoming = await self.account.get("/v1/invoices/upcoming", subscription=each["id"])
            for line in upcoming["lines"]["data"]:
                found[line["subscription_item"]] += line["quantity"]
        return all(found[item] == units for item, units in sums.items())

    async def _is_drafted(self, subscriptions: Sequence[Json], items: dict[str, str], month: Month) -> bool:
        """Whether the draft holds what a meter still takes after the edge. A test clock may not jump before: what is under way while Stripe's clock
        passes the instant at which the invoice becomes final is before or after it by no clock that both sides see."""
        metered = {item["id"] for each in subscriptions for item in each["items"]["data"] if item["price"]["recurring"]["meter"]}
        lines = await self._billed(subscriptions, items, month)
        wanted = {slug: month.units[slug] + month.stragglers[slug] for slug, item in items.items() if item in metered}
        return all(slug in lines and lines[slug].units == units for slug, units in wanted.items())

    async def _billed(self, subscriptions: Sequence[Json], items: dict[str, str], month: Month) -> dict[str, InvoiceLine]:
        """The lines of the month on every invoice that was made at or after its end; those of a price's tiers as one."""
        found: dict[str, InvoiceLine] = {}
        slugs = {item: slug for slug, item in items.items()}
        invoices = [each for one in subscriptions for each in (await self.account.get("/v1/invoices", subscription=one["id"], limit=100))["data"]]
        for invoice in (each for each in invoices if each["created"] >= month.end_s):
            lines = (await self.account.get(f"/v1/invoices/{invoice['id']}/lines", limit=100))["data"]
            for line in (each for each in lines if each["period"]["start"] == month.start_s):
                slug = slugs[line["subscription_item"]]
                one = InvoiceLine(invoice["id"], invoice["status"], line["id"], line["quantity"], line["amount"], line["currency"])
                found[slug] = one if slug not in found else found[slug].and_more(one)
        return found

    async def _until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        """Waits until something holds; a Kafka that is being started again is waited for."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + PATIENCE_S
        while loop.time() < deadline_s:
            try:
                if await holds():
                    return
            except Unreachable:
                pass
            await asyncio.sleep(LOOK_EVERY_S)
        raise TidemarkError(f"{what} (waited {PATIENCE_S:g} s)")


def _item(subscription: Json, price: str) -> str:
    return next(str(item["id"]) for item in subscription["items"]["data"] if item["price"]["id"] == price)


async def _ignored(_more: int) -> None:
    """Nobody counts a month's events while they are sent."""
