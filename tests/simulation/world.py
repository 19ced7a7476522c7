"""One history: a plan carried out on the simulated machines, healed in the end, and held against the account of the log.

    result = live(plan_of(7))        # result.faults is empty, or says what a customer would have been billed wrongly
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.control import binding_event, close_event, meters_event, release_event
from tests.simulation import archived, verdict
from tests.simulation.broker import Broker
from tests.simulation.clickhouse import Engine
from tests.simulation.disasters import DISASTERS
from tests.simulation.group import Group
from tests.simulation.kernel import Kernel
from tests.simulation.plan import FOCUS, METERS, PARTITIONS, TIMING, Plan, Sent, with_time
from tests.simulation.promises import PROMISES
from tests.simulation.provider import StripeSite, simulate
from tests.simulation.recreated import recreated
from tests.simulation.workers import ArchiveProcess, MeterWorker, ReportProcess, Worker
from topics.catalog import EVENTS, RECEIPTS, WINDOWS
from topics.meters import Meter
from topics.receipt import CellReceipt, decode_receipt

BASE: Final = ("meter-0", "report-0", "archive-0")
"""Workers that always come back; others come and go."""
PATIENCE_S: Final = 1500.0
"""After everything healed, how long until all must be counted, delivered and archived: the longest wait of the product is a quarter of an hour."""


@dataclass
class Result:
    """What came of a history. `story` are its steps as (second, sentence)."""

    plan: Plan
    faults: list[str]
    story: list[tuple[float, str]]
    steps: int = 0
    emitted: int = 0
    kills: int = 0
    digest: str = ""
    """Names the whole history: the same seed gives the same one."""


@dataclass
class World:
    """Everything of one history."""

    plan: Plan
    kernel: Kernel
    broker: Broker
    site: StripeSite
    engine: Engine
    groups: dict[str, Group]
    workers: dict[str, Worker] = field(default_factory=dict)
    story: list[tuple[float, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    """The version in force, as `replaces` names it: of the meters under "", of a customer's items under its name."""
    amendments: dict[str, str] = field(default_factory=dict)
    """Id of an amendment that was written → its digest, which the next one of its event names."""
    wanted: set[str] = field(default_factory=lambda: set(BASE))
    meters: tuple[Meter, ...] = METERS
    kills: int = 0
    is_healed: bool = False

    def say(self, sentence: str) -> None:
        """A step of the story."""
        self.story.append((self.kernel.now_s, sentence))

    # ── workers ─────────────────────────────────────────────────────────────────────────────────────────────────
    def start(self, name: str) -> None:
        """A worker's process begins, unless it runs or is not wanted any more."""
        if name in self.workers or name not in self.wanted:
            return
        kind = name.split("-", maxsplit=1)[0]
        group = self.groups[kind]
        if kind == "meter":
            self.workers[name] = MeterWorker(name, group, self.died, self.plan.turn_ms)
        elif kind == "report":
            self.workers[name] = ReportProcess(name, group, self.died, self.site)
        else:
            self.workers[name] = ArchiveProcess(name, group, self.died, self.engine)
        self.say(f"{name} starts")

    def kill(self, worker: Worker, why: str, back_after_s: float) -> None:
        """Its process ends at once; the supervisor starts it again."""
        if self.workers.get(worker.name) is not worker:
            return
        self.say(f"{worker.name} {why}")
        self.kills += 1
        del self.workers[worker.name]
        self.kernel.kill(worker.process)
        self.kernel.outside(back_after_s, lambda: self.start(worker.name))

    def died(self, worker: Worker, error: BaseException) -> None:
        """A worker ended by itself, which Faust makes a crash: allowed while something fails, never because of a defect."""
        if self.workers.get(worker.name) is worker and type(error).__name__ not in {"NotAcknowledged", "KafkaConnectionError", "Unreachable"}:
            self.faults.append(f"{worker.name} died of {type(error).__name__}: {error}")
        self.kill(worker, f"ends: {type(error).__name__}: {error}", 1.0)

    # ── producers ───────────────────────────────────────────────────────────────────────────────────────────────
    def control(self, partition: int, key: bytes, value: bytes) -> None:
        """A control record, written by `apply`."""
        self.broker.append(EVENTS, partition, key, value)

    def apply_meters(self, meters: tuple[Meter, ...]) -> None:
        """All meters, on every partition."""
        event = meters_event(TIMING, meters, self.digests.get(""))
        self.digests[""], self.meters = event.digest, meters
        for partition in range(PARTITIONS):
            self.control(partition, event.key, event.value)

    def apply_items(self, customer: int, suffix: str) -> None:
        """A customer's items, on its home."""
        who = self.plan.customers[customer % len(self.plan.customers)]
        if who.anchor_s is None:
            return
        event = binding_event(who.name, who.items(suffix), self.digests.get(who.name))
        self.digests[who.name] = event.digest
        self.control(who.home, event.key, event.value)

    def close(self, unique: str) -> None:
        """Every window that is open closes."""
        event = close_event(unique)
        for partition in range(PARTITIONS):
            self.control(partition, event.key, event.value)

    def send(self, one: Sent) -> None:
        """One event, alone or in a transaction that ends a little later."""
        value = with_time(one, self.kernel.now_ms())
        if not one.transaction:
            self.broker.append(EVENTS, one.partition, one.key, value)
            return
        transaction = self.broker.begin_transaction()
        self.broker.append_in(transaction, EVENTS, one.partition, one.key, value)
        commits = one.transaction == "commit"
        self.kernel.outside(self.kernel.chance.random() * 4, lambda: self.broker.end_transaction(transaction, commits=commits))

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────
    def heal(self) -> None:
        """Every fault ends; nothing is done for the product that a supervisor, or an operator's `release`, does not do."""
        self.is_healed = True
        self.say("everything heals")
        self.broker.is_down, self.broker.loss, self.broker.slowness_s, self.broker.behind_ms = False, 0.0, 0.005, 0
        self.engine.is_down, self.engine.partly, self.engine.lost = False, 0.0, 0.0
        self.site.heal()
        for process in self.kernel.processes:
            process.frozen, process.skew_ms, process.strike_at = False, 0, -1
        for name in BASE:
            self.kernel.outside(1.0, lambda name=name: self.start(name))  # type: ignore[misc]

    def release(self) -> None:
        """An operator releases what the provider had refused while it was wrong."""
        for partition in range(PARTITIONS):
            last = {record.key: record.value for record in self.broker.logs[RECEIPTS, partition].committed(0)}
            for key, value in last.items():
                receipt = decode_receipt(value, "receipts")
                if isinstance(receipt, CellReceipt) and receipt.state in {"refused", "unknown"} and key is not None:
                    self.say(f"release {key.decode()}")
                    event = release_event(receipt.customer, key.decode(), "the provider is right again")
                    self.control(partition, event.key, event.value)

    def unsettled(self) -> str | None:
        """What is still open, or None."""
        held = {partition: one.core for worker in self._of(MeterWorker) for partition, one in worker.work.held.items()}
        for partition in range(PARTITIONS):
            core = held.get(partition)
            end = self.broker.events(partition).stable
            if core is None or core.durable_offset != end:
                return f"partition {partition} is counted up to {core and core.durable_offset} of {end}"
            counts = core.windows(self.kernel.now_ms())
            if counts.open or counts.due:
                return f"partition {partition}: {counts}"
        return self._undelivered() or self._unarchived()

    def _undelivered(self) -> str | None:
        drivers = {driver.tp[1]: driver for worker in self._of(ReportProcess) for driver in worker.work._drivers.values()}
        for partition in range(PARTITIONS):
            driver = drivers.get(partition)
            end = self.broker.logs[WINDOWS, partition].stable
            counts = driver.machine.tally.counts() if driver is not None else {}
            if driver is None or driver.machine.committable != end or counts["undelivered"]:
                return f"report {partition}: {driver and driver.machine.committable} of {end}, {counts}"
        return None

    def _unarchived(self) -> str | None:
        shown = [line for worker in self._of(ArchiveProcess) for line in worker.work.status()["partitions"]]
        lines = {(line["topic"], line["partition"]): line["archived_offset"] for line in shown}
        for topic in (*ArchiveProcess.topics, EVENTS):
            for partition in range(PARTITIONS):
                if lines.get((topic, partition), -1) < (end := self.broker.logs[topic, partition].stable):
                    return f"archive: {topic} {partition} up to {lines.get((topic, partition))} of {end}"
        return None

    def _of(self, kind: type[Worker]) -> list[Worker]:
        return [worker for worker in self.workers.values() if isinstance(worker, kind)]

    # ── a whole history ─────────────────────────────────────────────────────────────────────────────────────────
    async def live(self) -> None:
        """From the first record to the verdict."""
        self.apply_meters(self.meters)
        late = [(customer.bound_at_s, number) for number, customer in enumerate(self.plan.customers) if customer.bound_at_s]
        for number, customer in enumerate(self.plan.customers):
            if not customer.bound_at_s:
                self.apply_items(number, "")
        for kind in FOCUS[self.plan.focus][0]:
            self.start(f"{kind}-0")
        self.watching = asyncio.ensure_future(self._every_second())
        steps: list[tuple[float, Callable[[], None]]] = [(one.at_s, lambda one=one: self.send(one)) for one in self.plan.sent]  # type: ignore[misc]
        steps += [(at_s, lambda number=number: self.apply_items(number, "")) for at_s, number in late]  # type: ignore[misc]
        steps += [(deed.at_s, lambda deed=deed: DISASTERS[deed.kind](self, deed.numbers)) for deed in self.plan.deeds]  # type: ignore[misc]
        for at_s, step in sorted(steps, key=lambda each: each[0]):
            await asyncio.sleep(max(0.0, at_s - self.kernel.now_s))
            step()
        await asyncio.sleep(self.kernel.chance.random() * 5)
        while self.kernel.now_s < max(self.resting_until_s, self.heal_after_s):
            await asyncio.sleep(1.0)
        self.heal()
        await self.settled()

    resting_until_s: float = 0.0
    """Until when the machine sleeps."""
    watching: asyncio.Task[None] | None = None
    heal_after_s: float = 0.0
    """Something is still to come."""

    async def settled(self) -> None:
        """Wait until nothing is open; a halt, or no end, is a fault."""
        until_s = self.kernel.now_s + PATIENCE_S
        released = False
        while (open_ := self.unsettled()) is not None or not released:
            if open_ is None:
                self.release()
                released = True
            halted = [f"{worker.name} halted: {worker.halted}" for worker in self.workers.values() if worker.halted]
            if halted or self.kernel.now_s > until_s:
                self.faults += halted or [f"never settled: {open_}"]
                return
            await asyncio.sleep(2.0)

    async def _every_second(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for group in self.groups.values():
                group.look()

    def counters(self) -> dict[int, dict[str, Any]]:
        """What each partition's meter says of itself."""
        return {partition: one.core.status() for worker in self._of(MeterWorker) for partition, one in worker.work.held.items()}

    def judge(self) -> list[str]:
        """Every fault that a user would notice."""
        faults = [*self.faults, *self.broker.faults, *(f"nobody took: {error}" for error in self.kernel.errors), *self.site.stripe.errors]
        if faults:
            return faults
        ledger = verdict.ledger_of(self.broker, self.plan)
        latest, wrong = verdict.emitted(self.broker)
        return [
            *wrong,
            *verdict.counting(ledger, self.counters()),
            *verdict.totals(ledger, latest, is_static=self.plan.is_static),
            *verdict.rejected(ledger, self.broker),
            *verdict.rerouted(ledger, self.broker),
            *verdict.provider(self.plan, ledger, latest, self.site.stripe.cells, verdict.listed(self.broker)),
            *archived.archive(self.engine, self.broker, ledger, latest),
        ]


def world_of(plan: Plan) -> World:
    """Machines at rest."""
    kernel = Kernel(random.Random(plan.seed * 2 + 1))  # type: ignore[abstract]
    kernel.executor = simulate
    broker = Broker(kernel, PARTITIONS)
    broker.slowness_s = plan.slowness_s
    groups = {kind: Group(kind, broker, promise) for kind, promise in PROMISES.items()}
    return World(plan, kernel, broker, StripeSite(kernel), Engine(kernel), groups)


def live(plan: Plan) -> Result:
    """Carry a plan out; an error that nobody caught is a fault."""
    world = world_of(plan)

    async def whole() -> list[str]:
        await world.live()
        faults = world.judge()
        return await recreated(world) if plan.recreates and plan.is_static and not faults else faults

    try:
        faults = world.kernel.run(whole())
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed that found it must be named
        place = traceback.extract_tb(error.__traceback__)[-1]
        faults = [f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"]
    windows = sum(len(world.broker.logs[WINDOWS, partition].records) for partition in range(PARTITIONS))
    return Result(plan, faults, world.story, world.kernel.steps, windows, world.kills, written(world))


def written(world: World) -> str:
    """A digest of everything that was written anywhere: two runs of one seed are the same history, or something is not simulated."""
    name = hashlib.sha256()
    for (topic, partition), log in sorted(world.broker.logs.items()):
        for record in log.records:
            name.update(repr((topic, partition, record)).encode())
    name.update(repr(sorted(world.site.stripe.cells.items())).encode())
    return name.hexdigest()[:16]
