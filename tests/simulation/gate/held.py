"""Some weeks in which Stripe is down over a billing edge, and the invoice gate looks every five minutes.

The meter, the deliveries and the gate are the product's own; its calls go through `Shop.heard`, so that they meet the outage and the seeded
faults. The test plays Stripe's courier, who posts webhooks, and the receiver, who answers 503 while it cannot ask Stripe (infra/webhooks).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, TypeVar
from urllib.parse import urlencode

from infra.control import invoice_event
from infra.sandbox import webhook_deliveries
from infra.webhooks.facts import invoice_of, invoice_record
from sinks.gate import Gate
from sinks.stripe.gate_driver import AGAIN_S, EVERY_S, InvoiceGate
from sinks.stripe.gate_ports import StripeDrafts
from sinks.stripe.refusal import StripeRefusal
from streams.marking import MARK_EVERY_MS
from streams.partition import MeterPartition
from tests.simulation.year.counting import Counting
from tests.simulation.year.delivering import Delivering
from tests.simulation.year.living import PARTITIONS, TERMS, Year
from tests.simulation.year.plan import Plan
from tests.simulation.year.shop import LEGACY, Shop, _flat
from topics.batch import TopicPartition
from topics.catalog import WINDOWS
from topics.codec import encode
from topics.definitions import definition_key
from topics.errors import Unreachable

P = ParamSpec("P")
R = TypeVar("R")
Waiting = Literal["webhook", "grace", "nothing"]
"""What keeps a draft waiting while nobody can hold it: a webhook that is not answered, the account's grace period, or nothing."""
LONGEST_S: Final = 72 * 3600


class GateKilled(Exception):
    """The gate's process died at an await."""


@dataclass(frozen=True)
class Outage:
    """From when to when Stripe does not answer. `stands_still`: it does nothing at all meanwhile, as little for others as for us."""

    from_s: int
    to_s: int
    stands_still: bool


class MarkedCounting(Counting):
    """A meter that is asked how far it has closed everything."""

    def _recovered(self) -> MeterPartition:
        core = super()._recovered()
        core.closing.marking.every_ms = MARK_EVERY_MS
        return core

    def work(self, now_ms: int, *, dies: bool = False) -> None:
        """As the driver does it: the word goes out after the totals."""
        super().work(now_ms, dies=dies)
        if self.core.tick(now_ms, None):
            super().work(now_ms)
        closed = self.core.closed()
        if closed is not None:
            assert definition_key(closed) == encode(["closed", self.partition])
            self.definitions.append(closed)
            self.core.closing.marking.said(closed.until_ms)


class Heard:
    """`sinks.stripe.access.Access` through which the product hears Stripe: outages, faults and all."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.posts: list[tuple[float, str, dict[str, Any]]] = []

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """GET."""
        answer = self._shop.heard("GET", path, urlencode(list(_flat(parameters))), None, LEGACY)
        return self._read(answer)

    def post(self, path: str, idempotency_key: str | None = None, **parameters: Any) -> dict[str, Any]:
        """POST."""
        self.posts.append((self._shop.clock.at_s, path, parameters))
        answer = self._shop.heard("POST", path, urlencode(list(_flat(parameters))), idempotency_key, LEGACY)
        return self._read(answer)

    def pages(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """All rows."""
        page = self.get(path, **parameters, limit=100)
        assert not page["has_more"]
        rows: list[dict[str, Any]] = page["data"]
        return rows

    @staticmethod
    def _read(answer: Any) -> dict[str, Any]:
        if answer.status is None:
            raise Unreachable(f"Stripe does not answer: {answer.error}")
        body: dict[str, Any] = json.loads(answer.body)
        if answer.status >= 400:
            raise StripeRefusal(answer.status, str(body["error"].get("code")), str(body["error"].get("message")))
        return body


class Held:
    """`gate_ports.Partition` and its `Ends` of one of the simulation's reports."""

    def __init__(self, delivering: Delivering) -> None:
        self._delivering = delivering
        self.is_current = True

    @property
    def tp(self) -> TopicPartition:
        """See Partition."""
        return (WINDOWS, self._delivering.counting.partition)

    @property
    def machine(self) -> Any:
        """See Partition."""
        return self._delivering.machine


class Weeks(Year):
    """A `Year` with an outage, a courier and a gate. The gate dies with probability `dying` after each of its calls, and a new one begins."""

    def __init__(self, plan: Plan, directory: Path, *, gate: Gate, outage: Outage, waiting: Waiting, rates: dict[str, float], dying: float) -> None:
        knobs = {
            "webhook": {"finalization_waits_s": LONGEST_S, "webhook_retries": 8},
            "grace": {"finalization_grace_s": LONGEST_S},
            "nothing": {},
        }[waiting]
        super().__init__(plan, directory, rates=rates, dying=dying, **knobs)
        self.counting = [MarkedCounting(number, PARTITIONS, self.chance) for number in range(PARTITIONS)]
        self.delivering = [Delivering(each, self.shop, self.chance) for each in self.counting]
        self.outage = outage
        self.gating = random.Random(plan.seed * 2 + 7)
        self.mode = gate
        self.access = Heard(self.shop)
        self.alarms = self.gate_kills = 0
        self.gate = self._new_gate()
        self._look_at_s = 0.0
        if waiting == "webhook":
            self.shop.call("POST", "/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/stripe", "enabled_events": ["invoice.created"]})

    # ── the gate ────────────────────────────────────────────────────────────────────────────────────────────────
    def _new_gate(self) -> InvoiceGate:
        partitions = [Held(each) for each in self.delivering]
        return InvoiceGate(self.mode, StripeDrafts(self.access), self, self._ask, lambda: partitions, self._now_ms)

    async def last_stable_offset(self, tp: TopicPartition) -> int:
        """Where a partition of usage.windows ends."""
        return len(self.counting[tp[1]].windows)

    async def _ask(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        found = call(*args, **kwargs)
        if self.gating.random() < self.dying:
            raise GateKilled
        return found

    def _look(self) -> None:
        if self.shop.clock.at_s < self._look_at_s:
            return
        before = self.gate.report.released_with_alarm
        try:
            asyncio.run(self.gate.look())
        except GateKilled:
            self.gate_kills += 1
            self.gate = self._new_gate()
            before = 0
        self.alarms += self.gate.report.released_with_alarm - before
        self._look_at_s = self.shop.clock.at_s + (AGAIN_S if self.gate.report.waiting else EVERY_S)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────
    def foresee(self) -> None:
        """Everybody looks often during the outage, and in the days after it."""
        super().foresee()
        often = range(self.outage.from_s - 3600, self.outage.to_s + 12 * 3600, 300)
        for at_s in (*often, *range(self.outage.to_s, self.outage.to_s + LONGEST_S, 3600)):
            self.at(at_s, None)

    def _facts(self) -> None:
        """The outage begins or ends; the courier posts what is due; what webhooks say is read from Stripe, when it answers."""
        is_down = self.outage.from_s <= self.shop.clock.at_s < self.outage.to_s
        if self.shop.is_down and not is_down:
            self.shop.stands_still = False
            self.shop.move_to(self.shop.clock.at_s)
        self.shop.is_down = is_down
        self.shop.stands_still = is_down and self.outage.stands_still
        if self.shop.stands_still:
            return
        self._post_webhooks()
        if not is_down:
            super()._facts()

    def _post_webhooks(self) -> None:
        """The receiver answers 200 once what it read from Stripe is in the log, and 503 while Stripe does not answer it."""
        store, knobs, now_s = self.shop.store, self.shop.knobs, self.shop.clock.at_s
        with store.transaction():
            webhook_deliveries.begin(store, knobs, now_s)
        for delivery in webhook_deliveries.due(store, now_s, 1000):
            said = not self.shop.is_down
            if said:
                (about,) = store.run("SELECT about FROM happened WHERE id = ?", (delivery.event,)).fetchone()
                self._say(about)
            with store.transaction():
                webhook_deliveries.answered(store, knobs, delivery, delivered=said, answer="200" if said else "503", now_s=now_s)

    def _say(self, invoice: str) -> None:
        shown = self.shop.call("GET", f"/v1/invoices/{invoice}")
        number = self.application.numbers.get(shown["customer"])
        account = None if number is None else self.accounts[number]
        record = None if account is None else invoice_record(invoice_of(shown), shown["lines"]["data"], TERMS, account.items)
        if account is not None and record is not None:
            said = invoice_event(account.subscriber.name, record)
            self._append(said.key, said.value)

    def _work(self) -> None:
        super()._work()
        self._look()
