"""An account in this process: Stripe's sandbox, the product's meter, report and archive, and two weeks in which everything goes well.

    world = World(plan_of(7), directory, clickhouse)
    world.live()                      # honest books: `reconcile` finds nothing
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from infra.control import ControlEvent, binding_event, invoice_event, meters_event
from infra.webhooks.facts import invoice_of, invoice_record
from sinks.clickhouse.client import ClickHouse
from sinks.stripe.access import Eras
from sinks.stripe.binding import items_of, read_customers
from sinks.stripe.suitability import Terms
from tests.drift.archiving import Archiving
from tests.drift.ledgers import Meter, Report
from tests.drift.plan import DAY_S, EDGE_S, HOUR_S, METERS, SORT_OF, SORTS, START_S, TIMING, UNTIL_S, Person, Plan, Used
from tests.simulation.year.living import INVOICE_NEWS
from tests.simulation.year.shop import LEGACY, MODERN, Access, Shop
from topics.bindings import Item
from topics.home import home_of

PARTITIONS: Final = 2
STEP_S: Final = HOUR_S
AROUND_EDGE_S: Final = (-660, -600, -540, -480, -90, -60, -45, -30, 5, 400, 1000)
"""When everybody works around a billing edge: the early emissions lie there, and the grace after it."""
WAKES: Final = 40
TERMS: Final = tuple(
    Terms(
        sort.slug, mode=sort.mode, aggregation=sort.aggregation, window_s=sort.window_s, scale=sort.scale, fractions=sort.fractions,
        event_name="" if sort.mode == "usage_records" else sort.slug,
    )
    for sort in SORTS
)  # fmt: skip


class World:
    """Everything of one seed. `items` by (customer, meter)."""

    def __init__(self, plan: Plan, directory: Path, clickhouse: ClickHouse) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed * 2 + 1)
        self.shop = Shop(directory, START_S, plan.seed, {})
        self.counting = [Meter(number, PARTITIONS, self.chance) for number in range(PARTITIONS)]
        self.delivering = [Report(each, self.shop, self.chance) for each in self.counting]
        self.archiving = Archiving(clickhouse, self.counting)
        self.clickhouse = clickhouse
        self.customers: dict[str, str] = {}
        self.items: dict[tuple[str, str], Item] = {}
        self.withheld: set[str] = set()
        """Stripe customers whose invoices' webhooks are lost."""
        self.deeds: list[tuple[int, Callable[[], object]]] = []
        """What else is done, and when."""
        self._prices: dict[str, str] = {}
        self._billing_meters: dict[str, str] = {}
        self._bound: dict[str, str] = {}
        self._heard_to = 0

    # ── living ──────────────────────────────────────────────────────────────────────────────────────────────────
    def live(self) -> None:
        """From the first subscription to the moment at which the books are looked at."""
        event = meters_event(TIMING, METERS, None)
        for partition in range(PARTITIONS):
            self.append(event, partition)
        self.work()
        for person in self.plan.people:
            self._join(person)
        self._give_up()
        stops = {*range(START_S + STEP_S, UNTIL_S, STEP_S), *(EDGE_S + seconds for seconds in AROUND_EDGE_S), EDGE_S + 2 * HOUR_S}
        at = 0
        self.deeds.sort(key=lambda deed: deed[0])
        for stop_s in sorted(stops | {at_s for at_s, _ in self.deeds}):
            self.shop.move_to(max(stop_s, self.shop.clock.at_s))
            while self.deeds and self.deeds[0][0] <= stop_s:
                self.deeds.pop(0)[1]()
            while at < len(self.plan.used) and self.plan.used[at].sent_at_s <= stop_s:
                self.send(self.plan.used[at])
                at += 1
            self.go_to(stop_s)
        self.go_to(UNTIL_S)
        self.rest()

    def _give_up(self) -> None:
        """In every third account nobody hopes for the last customer's money: its invoices are uncollectible, and still owed, so that is no drift."""
        if self.plan.seed % 3 == 1:
            last = self.plan.people[-1]
            self.deeds += [(EDGE_S - 6 * HOUR_S, partial(self.pause, last.name, meter, "mark_uncollectible")) for meter in last.meters]

    def go_to(self, at_s: float) -> None:
        """Time passes until then, and everybody works."""
        self.shop.move_to(max(at_s, self.shop.clock.at_s))
        self.hear()
        self.work()

    def rest(self) -> None:
        """Two quiet hours, in which every revision that waits is emitted, delivered and confirmed; then the archive follows."""
        for _ in range(4):
            self.go_to(self.shop.clock.at_s + HOUR_S / 2)
        self.archiving.follow()

    def work(self) -> None:
        """Everybody works, retries that are due soon included."""
        for counting in self.counting:
            counting.work(self.now_ms)
        for _ in range(WAKES):
            wakes = [at for delivering in self.delivering if (at := delivering.work(self.now_ms)) is not None]
            soon = [at for at in wakes if at <= self.now_ms + 60_000]
            if not soon:
                return
            self.shop.move_to(max(self.shop.clock.at_s + 0.001, min(soon) / 1000))

    @property
    def now_ms(self) -> int:
        """Everybody's time."""
        return int(self.shop.clock.at_s * 1000)

    @property
    def eras(self) -> Eras:
        """The account, as the command line reads it."""
        return Eras(Access(self.shop, LEGACY), Access(self.shop, MODERN))

    # ── what is written to the log ──────────────────────────────────────────────────────────────────────────────
    def append(self, event: ControlEvent, partition: int | None = None) -> int:
        """A control record on its customer's home, or on a partition; its offset."""
        return self._append(event.key, event.value, partition)

    def send(self, one: Used, **more: Any) -> int:
        """A usage event; `more` changes its body."""
        time = datetime.fromtimestamp(one.occurred_at_s, UTC).isoformat()
        quantity: Any = "none" if one.bad else one.quantity
        said = {"id": one.id, "source": "gw", "type": f"used.{one.meter}", "subject": one.customer, "time": time, "data": {"n": quantity}, **more}
        return self._append(one.customer.encode(), json.dumps({"specversion": "1.0", **said}, ensure_ascii=False).encode())

    def home(self, customer: str) -> Meter:
        """The partition of a customer."""
        return self.counting[home_of(customer.encode(), PARTITIONS)]

    def _append(self, key: bytes, value: bytes, partition: int | None = None) -> int:
        counting = self.counting[home_of(key, PARTITIONS) if partition is None else partition]
        return counting.log.add(key, value, self.now_ms)

    # ── what happens at Stripe ──────────────────────────────────────────────────────────────────────────────────
    def _join(self, person: Person) -> None:
        customer = self.shop.call("POST", "/v1/customers", {"name": "c", "metadata": {"tidemark_customer": person.name}})["id"]
        self.customers[person.name] = customer
        for mode, version in (("usage_records", LEGACY), ("meters", MODERN)):
            prices = [self._price(slug) for slug in person.meters if SORT_OF[slug].mode == mode]
            if prices:
                self.shop.call("POST", "/v1/subscriptions", {"customer": customer, "items": [{"price": price} for price in prices]}, version)
        self.bind(person.name)

    def bind(self, name: str) -> None:
        """What the webhook does: how the customer is billed is read from the shop, and published."""
        candidates, meters = read_customers(self.eras, TERMS, [self.customers[name]], ended_after_s=START_S)
        items, said = items_of(candidates, meters)
        assert not any(finding.fault for finding in said), said
        event = binding_event(name, items, self._bound.get(name))
        self._bound[name] = event.digest
        self.items.update({(name, item.meter): item for item in items})
        self.append(event)

    def _price(self, slug: str) -> str:
        if slug not in self._prices:
            sort = SORT_OF[slug]
            recurring: dict[str, Any] = {"interval": "week", "usage_type": "metered"}
            recurring |= {"meter": self._billing_meter(slug)} if sort.mode == "meters" else {"aggregate_usage": "sum"}
            asked = {"currency": "usd", "product_data": {"name": slug}, "recurring": recurring, "metadata": {"tidemark_meter": slug}, **sort.price}
            self._prices[slug] = self.shop.call("POST", "/v1/prices", asked, MODERN if sort.mode == "meters" else LEGACY)["id"]
        return self._prices[slug]

    def _billing_meter(self, slug: str) -> str:
        asked = {"display_name": slug, "event_name": slug, "default_aggregation": {"formula": "sum"}, "event_time_window": SORT_OF[slug].aggregation}
        self._billing_meters[slug] = self.shop.call("POST", "/v1/billing/meters", asked, MODERN)["id"]
        return self._billing_meters[slug]

    def pause(self, customer: str, meter: str, behavior: str) -> None:
        """Collection of a meter's subscription is paused: what becomes of its next invoices is said by `behavior`."""
        subscription = self.items[customer, meter].subscription
        self.shop.call("POST", f"/v1/subscriptions/{subscription}", {"pause_collection": {"behavior": behavior}}, LEGACY)

    def hear(self, *, again: bool = False) -> None:
        """What webhooks say of invoices since the last time; `again`: of all of them, those that were lost too."""
        since = 0 if again else self._heard_to
        news = self.shop.store.run(f"SELECT seq, about FROM happened WHERE type IN {INVOICE_NEWS} AND seq > ? ORDER BY seq", (since,)).fetchall()
        names = {customer: name for name, customer in self.customers.items()}
        for seq, invoice_id in news:
            self._heard_to = max(self._heard_to, seq)
            shown = self.shop.call("GET", f"/v1/invoices/{invoice_id}")
            name = names[shown["customer"]]
            if name in self.withheld and not again:
                continue
            ours = [item.item for (customer, _), item in self.items.items() if customer == name]
            record = invoice_record(invoice_of(shown), shown["lines"]["data"], TERMS, ours)
            if record is not None:
                self.append(invoice_event(name, record))

    def close(self) -> None:
        """Close the shop."""
        self.shop.close()


__all__ = ["DAY_S", "World"]
