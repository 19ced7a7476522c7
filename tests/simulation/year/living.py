"""A year lived through: the clock goes from one thing that happens to the next, and everybody works whenever it stands."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra.control import binding_event, flush_event, invoice_event, meters_event
from infra.webhooks.facts import invoice_of, invoice_record
from sinks.stripe.access import Eras
from sinks.stripe.binding import items_of, read_customers
from sinks.stripe.suitability import Terms
from tests.simulation.year.application import Account, Application
from tests.simulation.year.counting import Counting
from tests.simulation.year.delivering import Delivering
from tests.simulation.year.plan import Plan, Used
from tests.simulation.year.shop import LEGACY, MODERN, Access, Shop
from tests.simulation.year.subscriber import MODES, START_S, WHOLE_S, Change, Subscriber
from topics.home import home_of
from topics.meters import Meter, Timing
from topics.periods import edge

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
FLUSH_S: Final = 120
"""How long before a change of plan the application has reported what was used."""
AROUND_CHANGE_S: Final = (-60, 0, 5, 330, 700, 4000)
"""And around a change: until the new binding holds, and the hour is over."""
WAKES: Final = 40
"""Retries that are waited for at each stop; what is still open then goes on at the next one."""
INVOICE_NEWS: Final = "('invoice.created', 'invoice.finalized', 'invoice.marked_uncollectible', 'invoice.voided')"


class Changing(NamedTuple):
    """A customer's plan changes; where there is no change, what it has used is flushed."""

    number: int
    change: Change | None


Deed = Subscriber | Used | Changing | None
"""None only lets everybody work."""


class Year:
    """All of it. `rates`: share of the product's calls that go wrong, by fault; `dying`: how likely each await of a report is its last."""

    def __init__(self, plan: Plan, directory: Path, *, rates: dict[str, float], dying: float, **knobs: Any) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed * 2 + 1)
        self.dying = dying
        self.shop = Shop(directory, START_S, plan.seed, rates, **knobs)
        self.application = Application(self.shop)
        self.accounts = self.application.accounts
        self.counting = [Counting(number, PARTITIONS, self.chance) for number in range(PARTITIONS)]
        self.delivering = [Delivering(each, self.shop, self.chance) for each in self.counting]
        self.subscribers = {each.number: each for each in plan.subscribers}
        self.heard_to = 0
        self.bound: dict[str, str] = {}
        self.meter_kills = 0
        self._agenda: list[int] = []
        self._deeds: dict[int, list[Deed]] = {}

    # ── living ──────────────────────────────────────────────────────────────────────────────────────────────────
    def live(self) -> None:
        """From the first day to the last, and a while longer in which everything comes to rest."""
        self._meters()
        self._work()
        self.foresee()
        while self._agenda:
            at_s = heappop(self._agenda)
            self.shop.move_to(max(at_s, self.shop.clock.at_s))
            self._facts()
            for deed in self._deeds.pop(at_s):
                self._do(deed)
            self._work()
        for delivering in self.delivering:
            delivering.dying = 0.0
        self.shop.faults = type(self.shop.faults)()
        for _ in range(60):
            self.shop.move_to(self.shop.clock.at_s + 3600)
            self._facts()
            self._work()

    def at(self, at_s: int, deed: Deed) -> None:
        """Something is done at an instant, unless the year is over by then."""
        if at_s > self.plan.until_s:
            return
        if at_s not in self._deeds:
            heappush(self._agenda, at_s)
        self._deeds.setdefault(at_s, []).append(deed)

    def foresee(self) -> None:
        """What the plan says; what follows from a subscription is foreseen when it begins."""
        for one in self.plan.used:
            # Those of ten minutes come together.
            self.at(-(-one.sent_at_s // 600) * 600, one)
        for each in self.plan.subscribers:
            self.at(each.joins_at_s, each)
            for change in each.changes:
                self.at(change.at_s - FLUSH_S, Changing(each.number, None))
                self.at(change.at_s, Changing(each.number, change))
                for seconds in AROUND_CHANGE_S:
                    self.at(change.at_s + seconds, None)
        for at_s in range(START_S, self.plan.until_s, STEP_S):
            self.at(at_s, None)

    def foresee_edges(self, account: Account) -> None:
        """Everybody works around the edges of the cycle that a customer is on."""
        now_s, k = self.shop.clock.at_s, 0
        while (edge_s := edge(account.anchor_s, *account.cycle, k)) < self.plan.until_s:
            for seconds in AROUND_EDGE_S:
                if edge_s + seconds > now_s:
                    self.at(edge_s + seconds, None)
            k += 1

    def _do(self, deed: Deed) -> None:
        if isinstance(deed, Used):
            self._send(deed)
        elif isinstance(deed, Subscriber):
            self.application.join(deed)
            self._sync(self.accounts[deed.number])
            self.foresee_edges(self.accounts[deed.number])
        elif isinstance(deed, Changing):
            self._change(self.accounts[deed.number], deed)

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
        subscriber = self.subscribers[one.customer]
        name = subscriber.name
        time = datetime.fromtimestamp(one.occurred_at_s, UTC).isoformat()
        said = {"id": one.id, "source": "gw", "type": f"used.{subscriber.meter}", "subject": name, "time": time, "data": {"n": one.quantity}}
        self._append(name.encode(), json.dumps({"specversion": "1.0", **said}, ensure_ascii=False).encode())

    def _change(self, account: Account, deed: Changing) -> None:
        """`tidemark flush`; and two minutes later the change, and its webhook."""
        now_s, name = int(self.shop.clock.at_s), account.subscriber.name
        if deed.change is None:
            event = flush_event(name, now_s + 1, f"{name} {now_s}")
            self._append(event.key, event.value)
            return
        off_s = now_s % WHOLE_S.get(account.meter, 1)
        if off_s and not deed.change.kind.startswith("cancel"):
            # Retries have taken too long: the application waits for the next whole hour or day.
            self.at(now_s - off_s + WHOLE_S[account.meter], deed)
            return
        self.application.change(account, deed.change)
        self._sync(account)
        self.foresee_edges(account)

    def _sync(self, account: Account) -> None:
        """What the webhook does: how the customer is billed is read from the shop, and published where it changed."""
        eras = Eras(Access(self.shop, LEGACY), Access(self.shop, MODERN))
        candidates, meters = read_customers(eras, TERMS, [account.customer], ended_after_s=START_S)
        items, said = items_of(candidates, meters)
        assert not any(finding.fault for finding in said), said
        name = account.subscriber.name
        event = binding_event(name, items, self.bound.get(name))
        if event.digest != self.bound.get(name):
            self._append(event.key, event.value)
            self.bound[name] = event.digest

    def _facts(self) -> None:
        """What webhooks say of invoices: those of which there is news since the last look, read anew."""
        news = self.shop.store.run(f"SELECT seq, about FROM happened WHERE type IN {INVOICE_NEWS} AND seq > ? ORDER BY seq", (self.heard_to,))
        for self.heard_to, invoice_id in news.fetchall():
            shown = self.shop.call("GET", f"/v1/invoices/{invoice_id}")
            account = self.accounts[self.application.numbers[shown["customer"]]]
            record = invoice_record(invoice_of(shown), shown["lines"]["data"], TERMS, account.items)
            if record is not None:
                event = invoice_event(account.subscriber.name, record)
                self._append(event.key, event.value)

    def close(self) -> None:
        """Close the shop."""
        self.shop.close()


__all__ = ["Year"]
