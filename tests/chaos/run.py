"""One run: faults while producers produce, a comparison every few of them, and at the end a while without faults in which all must come right."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.embedded import options
from infra.embedded.layout import Layout
from tests.chaos.doing import Doing
from tests.chaos.load import Producers
from tests.chaos.plan import ONE, THREE, WORKERS
from tests.chaos.schedule import SILENT_S, Draw, schedule
from tests.oracle.ledger import Ledger, cells
from tests.system import wire
from tests.system.comparing import assert_all_agree
from tests.system.conftest import ANCHORED, LOOKED_UP, NAMED
from tests.system.test_exactness import FAULTS
from tests.system.traffic import Message, event, rfc3339
from tests.system.world import World

BILLED = ("api_calls", "eu_calls", "tokens", "storage", "credits", "pings")

COMPARE_EVERY = 10
"""Faults between two comparisons: seldom enough that faults meet each other's recovery, often enough to know which to blame."""

POLICY = {"backoff_max_s": 2.0, "steady_s": 5.0, "silent_s": SILENT_S, "stuck_s": 25.0}
"""The supervisor of such a stack forgives early ends (we cause them), and is less patient than elsewhere, so that its own kills are seen too."""

SETTLE_S = 240
"""A guard, no aim: how long the stack may take to catch up by itself once nothing troubles it."""

PING_WAIT_S = 14
"""A ping's window (10 s) and its grace (1 s) are over by then, so it must be delivered without anybody closing it."""

Tell = Callable[[str], None]


@dataclass
class Account:
    """What the comparisons found: sizes, and how long the stack took to come right each time."""

    comparisons: int = 0
    settled_s: list[float] = field(default_factory=list)
    records: int = 0
    windows: int = 0
    revisions: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    states: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    by_themselves: int = 0
    is_audited: bool = False
    provider_calls: dict[str, Any] = field(default_factory=dict)


class Run:
    """A stack, its producers and the faults upon it."""

    def __init__(self, directory: Path, seed: int, brokers: int, tell: Tell) -> None:
        self.seed = seed
        self.brokers = brokers
        self.tell = tell
        self.world = World(directory, seed=seed)
        self.doing = Doing(self.world)
        self.account = Account()
        self.began_s = time.monotonic()
        self.producers: Producers | None = None

    def prepare(self) -> None:
        """The stack with three customers who are billed, and a provider that fails in every way."""
        layout = Layout(self.world.directory)
        idle = set(WORKERS) - set(Draw.workers)
        plan = ONE if self.brokers == 1 else THREE
        options.save(layout, options.Options(plan=plan, policy=POLICY, idle=tuple(sorted(idle))))
        self.world.up()
        since_s = int(time.time()) - 7200
        for customer, kind in ((NAMED, "named"), (ANCHORED, "anchored"), (LOOKED_UP, "looked_up")):
            self.world.bind(customer, BILLED, since_s, kind=kind)
        self.world.apply()
        self._spoil_provider()
        bootstrap = self.world.bootstrap
        self.producers = Producers(lambda: bootstrap, self.seed)

    def survive(self, kills: int) -> None:
        """Faults until so many processes were killed; raises AssertionError at the first difference."""
        assert self.producers is not None, "prepare comes first"
        self.began_s = time.monotonic()
        exact = "nothing compared yet"
        for fault in schedule(self.seed, self.brokers):
            if self.doing.tally.kills >= kills:
                break
            self.tell(self._line(fault.number, kills, fault.sentence(), exact))
            self.producers.produce(fault)
            self.doing.pause(fault.lead_s)
            self.doing.do(fault)
            self.doing.pause(fault.rest_s)
            self._nobody_halted()
            if fault.number % COMPARE_EVERY == 0:
                exact = self.compare(f"after fault {fault.number}")
        self.compare("at the end")
        self.live_on()
        self.audit()

    def _line(self, number: int, kills: int, sentence: str, exact: str) -> str:
        elapsed_s = time.monotonic() - self.began_s
        done = self.doing.tally.kills
        left = f"about {duration(elapsed_s * (kills - done) / done)} left" if done >= 10 else "time left unknown yet"
        return f"fault {number} · {done}/{kills} kills · {sentence} · {duration(elapsed_s)}, {left} · {exact}"

    def compare(self, when: str) -> str:
        """Ends what troubles the stack, lets it come right by itself, and holds all it shows against the oracle."""
        assert self.producers is not None, "prepare comes first"
        self.doing.heal()
        began_s = time.monotonic()
        self.producers.wait()
        self._nobody_halted()
        acknowledged_s = time.monotonic()
        self.world.acked = list(self.producers.acked)
        self.world.command.json("settle", "--timeout", str(SETTLE_S))
        settled_s = time.monotonic()
        ledger = assert_all_agree(self.world)
        self._note(ledger, settled_s - acknowledged_s)
        self._spoil_provider()
        took = f"settled in {settled_s - acknowledged_s:.0f} s, compared in {time.monotonic() - settled_s:.0f} s"
        sizes = f"{self.account.records} records, {self.account.windows} windows, {len(self.world.acked)} acknowledged"
        self.tell(f"  {when}: exact · {sizes} · producers {acknowledged_s - began_s:.0f} s, {took}")
        return f"exact {when}"

    def live_on(self) -> None:
        """With all faults over, windows close and are delivered by their time alone: nobody asks for it."""
        names = (NAMED, ANCHORED, LOOKED_UP)
        since_s = int(time.time()) // 10 * 10
        sent = [Message(name.encode(), event(name, f"ping-{at}", "ping", None, rfc3339(time.time()))) for at in range(20) for name in names]
        self.world.send(sent)
        time.sleep(PING_WAIT_S)
        self.world.command.json("settle", "--timeout", str(SETTLE_S))
        expected = cells(self.world.ledger().totals, self.world.bound)
        for name in names:
            item = self.world.bound[name, "pings"].item
            shown = self.world.provider.cells(item)
            assert shown == expected.units[item], f"pings of {name}: must be {expected.units[item]}, is {shown}"
            self.account.by_themselves += sum(second >= since_s for second in shown)

    def audit(self) -> None:
        """What the product says of itself: `tidemark audit` counts everything again and finds no difference (exit code 1 where it does)."""
        self.world.command.json("audit")
        self.account.is_audited = True

    def _nobody_halted(self) -> None:
        """A worker that stops rather than guess says that its state is not what it wrote: no fault here may bring it to that."""
        halted = {each.name: each.detail for each in self.world.state.processes if each.state == "halted"}
        assert not halted, f"halted: {halted}"

    def _spoil_provider(self) -> None:
        self.world.provider.control("faults", {"seed": self.seed, "rates": FAULTS, "only": "usage_records"})

    def _note(self, ledger: Ledger, settled_s: float) -> None:
        account = self.account
        account.comparisons += 1
        account.settled_s.append(round(settled_s, 1))
        account.records = len(ledger.verdicts)
        account.windows = len(ledger.totals)
        account.verdicts = Counter(each.verdict for each in ledger.verdicts.values())
        status = self.world.command.json("status")
        account.states = dict(status["windows"])
        account.skipped = sum(line["skipped"] for line in status["partitions"])
        account.provider_calls = self.world.provider.control("calls")
        revisions = wire.read_log(self.world.bootstrap, "usage.windows").records
        account.revisions = len({(each.key, each.value) for each in revisions})


def duration(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def restarts(run: Run) -> dict[str, int]:
    """How often each process was started again since the last time that everything was killed."""
    return {each.name: each.restarts for each in run.world.state.processes}
