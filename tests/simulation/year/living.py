"""A year lived through: the clock goes from one thing that happens to the next, and everybody works whenever it stands."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.control import binding_event, invoice_event, meters_event
from infra.webhooks.facts import invoice_of, invoice_record
from sinks.stripe.access import Eras
from sinks.stripe.binding import sync
from sinks.stripe.suitability import Terms
from tests.simulation.year.counting import Counting
from tests.simulation.year.delivering import Delivering
from tests.simulation.year.plan import DAY_S, MODES, PRICES, START_S, Plan, Subscriber, Used, edges_of
from tests.simulation.year.shop import LEGACY, MODERN, Access, Shop
from topics.home import home_of
from topics.meters import Meter, Timing

PARTITIONS: Final = 2
METERS: Final = tuple(Meter(slug=slug, event_type=f"used.{slug}", value="n", window_s=3600, grace_ms=300_000) for slug in MODES)
TERMS: Final = tuple(
    Terms(slug, mode="meters" if how else "usage_records", aggregation=how, event_name=slug if how else "") for slug, how in MODES.items()
)
TIMING: Final = Timing(revision_delay_ms=30_000)
STEP_S: Final = 6 * 3600
"""How long at most nobody looks at the clock."""
AROUND_EDGE_S: Final = (-660, -600, -540, -480, -90, -60, -45, -30, 5, 400)
"""When everybody works around a billing edge: the early emissions lie there, and the grace after it."""
WAKES: Final = 40
"""Retries that are waited for at each stop; what is still open then goes on at the next one."""


def version_of(meter: str) -> str:
    """The API version that makes prices and subscriptions of a meter's mode."""
    return MODERN if MODES[meter] else LEGACY


class Year:
    """All of it. `rates`: share of the product's calls that go wrong, by fault; `dying`: how likely each await of a report is its last."""

    def __init__(self, plan: Plan, directory: Path, *, rates: dict[str, float], dying: float, **knobs: Any) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed * 2 + 1)
        self.dying = dying
        self.shop = Shop(directory, START_S, plan.seed, rates, **knobs)
        self.counting = [Counting(number, PARTITIONS, self.chance) for number in range(PARTITIONS)]
        self.delivering = [Delivering(each, self.shop, self.chance) for each in self.counting]
        self.prices: dict[tuple[str, str, str, int], str] = {}
        self.meters: dict[str, str] = {}
        self.customers: dict[int, str] = {}
        self.items: dict[int, list[str]] = {}
        self.heard_to = 0
        self.subscriptions: dict[int, str] = {}
        self.bound: dict[str, str] = {}
        self.meter_kills = 0

    # ── living ──────────────────────────────────────────────────────────────────────────────────────────────────
    def live(self) -> None:
        """From the first day to the last, and a while longer in which everything comes to rest."""
        self._meters()
        self._work()
        for at_s, deeds in self._agenda():
            self.shop.move_to(max(at_s, self.shop.clock.at_s))
            self._facts()
            for deed in deeds:
                self._do(deed)
            self._work()
        for delivering in self.delivering:
            delivering.dying = 0.0
        self.shop.faults = type(self.shop.faults)()
        for _ in range(60):
            self.shop.move_to(self.shop.clock.at_s + 3600)
            self._facts()
            self._work()

    def _agenda(self) -> list[tuple[int, list[Subscriber | Used | None]]]:
        """Instants in order, with what happens at each; None only lets everybody work."""
        deeds: dict[int, list[Subscriber | Used | None]] = {}
        for one in self.plan.used:
            if one.sent_at_s < self.plan.until_s:
                # Those of ten minutes come together.
                deeds.setdefault(-(-one.sent_at_s // 600) * 600, []).append(one)
        for each in self.plan.subscribers:
            deeds.setdefault(each.joins_at_s, []).append(each)
            if each.cancels_at_s is not None:
                deeds.setdefault(each.cancels_at_s, []).append(each)
            for edge_s in edges_of(each, self.plan.until_s):
                for seconds in AROUND_EDGE_S:
                    deeds.setdefault(edge_s + seconds, []).append(None)
        for at_s in range(START_S, self.plan.until_s, STEP_S):
            deeds.setdefault(at_s, []).append(None)
        return sorted(deeds.items())

    def _do(self, deed: Subscriber | Used | None) -> None:
        if isinstance(deed, Used):
            self._send(deed)
        elif isinstance(deed, Subscriber):
            if deed.number in self.subscriptions:
                self._cancel(deed)
            else:
                self._join(deed)
            self._sync()

    def _work(self) -> None:
        for counting in self.counting:
            dies = self.chance.random() < self.dying
            self.meter_kills += dies
            counting.work(self._now_ms(), dies=dies)
        for delivering in self.delivering:
            delivering.dying = self.dying
        for _ in range(WAKES):
            wakes = [at for delivering in self.delivering if (at := delivering.work(self._now_ms())) is not None]
            soon = [at for at in wakes if at <= self._now_ms() + 60_000]
            if not soon:
                return
            self.shop.move_to(max(self.shop.clock.at_s + 0.001, min(soon) / 1000))

    def _now_ms(self) -> int:
        return int(self.shop.clock.at_s * 1000)

    # ── deeds ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _append(self, key: bytes, value: bytes, partition: int | None = None) -> None:
        counting = self.counting[home_of(key, PARTITIONS) if partition is None else partition]
        counting.log.add(key, value, self._now_ms())

    def _meters(self) -> None:
        event = meters_event(TIMING, METERS, None)
        for partition in range(PARTITIONS):
            self._append(event.key, event.value, partition)

    def _send(self, one: Used) -> None:
        subscriber = self.plan.subscribers[one.customer]
        name = subscriber.name
        time = datetime.fromtimestamp(one.occurred_at_s, UTC).isoformat()
        said = {"id": one.id, "source": "gw", "type": f"used.{subscriber.meter}", "subject": name, "time": time, "data": {"n": one.quantity}}
        self._append(name.encode(), json.dumps({"specversion": "1.0", **said}, ensure_ascii=False).encode())

    def _billing_meter(self, slug: str) -> str:
        if slug not in self.meters:
            asked = {"display_name": slug, "event_name": slug, "default_aggregation": {"formula": "sum"}}
            window = {} if MODES[slug] == "sum" else {"event_time_window": MODES[slug]}
            self.meters[slug] = self.shop.call("POST", "/v1/billing/meters", {**asked, **window}, MODERN)["id"]
        return self.meters[slug]

    def _price(self, each: Subscriber) -> str:
        key = (each.meter, each.price, each.interval, each.count)
        if key not in self.prices:
            recurring = {"interval": each.interval, "interval_count": each.count, "usage_type": "metered"}
            recurring |= {"meter": self._billing_meter(each.meter)} if MODES[each.meter] else {"aggregate_usage": "sum"}
            terms = {"currency": "usd", "product_data": {"name": each.price}, "recurring": recurring, "metadata": {"tidemark_meter": each.meter}}
            self.prices[key] = self.shop.call("POST", "/v1/prices", {**terms, **PRICES[each.price]}, version_of(each.meter))["id"]
        return self.prices[key]

    def _join(self, each: Subscriber) -> None:
        customer = self.shop.call("POST", "/v1/customers", {"name": "c", "metadata": {"tidemark_customer": each.name}})["id"]
        asked = {"customer": customer, "items": [{"price": self._price(each)}], "billing_cycle_anchor": each.anchor_s}
        self.customers[each.number] = customer
        made = self.shop.call("POST", "/v1/subscriptions", asked, version_of(each.meter))
        self.subscriptions[each.number] = made["id"]
        self.items[each.number] = [item["id"] for item in made["items"]["data"]]

    def _cancel(self, each: Subscriber) -> None:
        path = f"/v1/subscriptions/{self.subscriptions[each.number]}"
        if each.at_once:
            self.shop.call("DELETE", path, {"invoice_now": True})
        else:
            self.shop.call("POST", path, {"cancel_at_period_end": True})

    def _sync(self) -> None:
        """What a webhook does: who is billed where is read from the shop, and published where it changed."""
        found = sync(Eras(Access(self.shop, LEGACY), Access(self.shop, MODERN)), TERMS, ended_after_s=START_S)
        assert not found.problems, found.problems
        for customer, items in found.items.items():
            event = binding_event(customer, items, self.bound.get(customer))
            if event.digest != self.bound.get(customer):
                self._append(event.key, event.value)
                self.bound[customer] = event.digest

    def _facts(self) -> None:
        """What webhooks say of invoices: those that became final since the last look, read anew."""
        news = self.shop.store.run("SELECT seq, about FROM happened WHERE type = 'invoice.finalized' AND seq > ? ORDER BY seq", (self.heard_to,))
        for self.heard_to, invoice_id in news.fetchall():
            shown = self.shop.call("GET", f"/v1/invoices/{invoice_id}")
            number = next(number for number, customer in self.customers.items() if customer == shown["customer"])
            record = invoice_record(invoice_of(shown), shown["lines"]["data"], TERMS, self.items[number])
            if record is not None:
                event = invoice_event(self.plan.subscribers[number].name, record)
                self._append(event.key, event.value)

    def close(self) -> None:
        """Close the shop."""
        self.shop.close()


__all__ = ["DAY_S", "Year"]
