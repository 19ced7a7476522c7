"""A year lived through: the clock goes from one thing that happens to the next, and everybody works whenever it stands."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.control import binding_event, meters_event
from sinks.stripe.access import Eras
from sinks.stripe.binding import sync
from sinks.stripe.suitability import Terms
from tests.simulation.year.counting import Counting
from tests.simulation.year.delivering import Delivering
from tests.simulation.year.plan import DAY_S, PRICES, START_S, Plan, Subscriber, Used
from tests.simulation.year.shop import Access, Shop
from topics.home import home_of
from topics.meters import Meter, Timing
from topics.periods import edge

PARTITIONS: Final = 2
METER: Final = "calls"
METERS: Final = (Meter(slug=METER, event_type="api.request", value="n", window_s=3600, grace_ms=300_000),)
TIMING: Final = Timing(revision_delay_ms=30_000)
STEP_S: Final = 6 * 3600
"""How long at most nobody looks at the clock."""
AROUND_EDGE_S: Final = (-660, -600, -540, -480, -90, -60, -45, -30, 5, 400)
"""When everybody works around a billing edge: the early emissions lie there, and the grace after it."""
WAKES: Final = 40
"""Retries that are waited for at each stop; what is still open then goes on at the next one."""


class Year:
    """All of it. `rates`: share of the product's calls that go wrong, by fault; `dying`: how likely each await of a report is its last."""

    def __init__(self, plan: Plan, directory: Path, *, rates: dict[str, float], dying: float, **knobs: Any) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed * 2 + 1)
        self.dying = dying
        self.shop = Shop(directory, START_S, plan.seed, rates, **knobs)
        self.counting = [Counting(number, PARTITIONS, self.chance) for number in range(PARTITIONS)]
        self.delivering = [Delivering(each, self.shop, self.chance) for each in self.counting]
        self.prices: dict[tuple[str, str], str] = {}
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
            for deed in deeds:
                self._do(deed)
            self._work()
        for delivering in self.delivering:
            delivering.dying = 0.0
        self.shop.faults = type(self.shop.faults)()
        for _ in range(60):
            self.shop.move_to(self.shop.clock.at_s + 3600)
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
            k = 1
            while (edge_s := edge(each.joins_at_s, "week" if each.interval == "week" else "month", 1, k)) < self.plan.until_s:
                for seconds in AROUND_EDGE_S:
                    deeds.setdefault(edge_s + seconds, []).append(None)
                k += 1
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
        name = self.plan.subscribers[one.customer].name
        time = datetime.fromtimestamp(one.occurred_at_s, UTC).isoformat()
        said = {"id": one.id, "source": "gw", "type": "api.request", "subject": name, "time": time, "data": {"n": one.quantity}}
        self._append(name.encode(), json.dumps({"specversion": "1.0", **said}, ensure_ascii=False).encode())

    def _price(self, kind: str, interval: str) -> str:
        if (kind, interval) not in self.prices:
            recurring = {"interval": interval, "usage_type": "metered", "aggregate_usage": "sum"}
            terms = {"currency": "usd", "product_data": {"name": kind}, "recurring": recurring, "metadata": {"tidemark_meter": METER}, **PRICES[kind]}
            self.prices[kind, interval] = self.shop.call("POST", "/v1/prices", terms)["id"]
        return self.prices[kind, interval]

    def _join(self, each: Subscriber) -> None:
        customer = self.shop.call("POST", "/v1/customers", {"name": "c", "metadata": {"tidemark_customer": each.name}})["id"]
        items = [{"price": self._price(each.price, each.interval)}]
        self.subscriptions[each.number] = self.shop.call("POST", "/v1/subscriptions", {"customer": customer, "items": items})["id"]

    def _cancel(self, each: Subscriber) -> None:
        path = f"/v1/subscriptions/{self.subscriptions[each.number]}"
        if each.at_once:
            self.shop.call("DELETE", path, {"invoice_now": True})
        else:
            self.shop.call("POST", path, {"cancel_at_period_end": True})

    def _sync(self) -> None:
        """What a webhook does: who is billed where is read from the shop, and published where it changed."""
        access = Access(self.shop)
        found = sync(Eras(access, access), [Terms(METER)])
        assert not found.problems, found.problems
        for customer, items in found.items.items():
            event = binding_event(customer, items, self.bound.get(customer))
            if event.digest != self.bound.get(customer):
                self._append(event.key, event.value)
                self.bound[customer] = event.digest

    def close(self) -> None:
        """Close the shop."""
        self.shop.close()


__all__ = ["DAY_S", "Year"]
