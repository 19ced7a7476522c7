"""Does one fault to the running stack, and counts what was really hit. What lasts is ended later, while other faults are on their way."""

from __future__ import annotations

import contextlib
import heapq
import json
import resource
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import clickhouse_connect
import psutil
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.embedded import process, stack
from tests.chaos.plan import WORKERS
from tests.chaos.schedule import Fault
from tests.system.conftest import pids_of
from tests.system.world import World

APPEAR_S = 4.0
"""How long a fault waits for a process that is being started just now; then it hits nothing."""

GONE_S = 60.0
"""After the supervisor's death the kernel ends everything at once; a minute means that something outlived it."""

KILLED_S = 0.5
"""How much longer than its victim an answer is held."""

HOLDS = {"hold answers": "hold_answers", "hold requests": "hold_requests", "hold both": "hold_both"}


@dataclass
class Tally:
    """What was done so far: faults by kind; signals by name of process."""

    faults: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    terminated: Counter[str] = field(default_factory=Counter)
    frozen: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    connections: int = 0

    @property
    def kills(self) -> int:
        """Processes that got SIGKILL or SIGTERM from us."""
        return sum(self.killed.values()) + sum(self.terminated.values())


class Doing:
    """Faults upon one stack."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tally = Tally()
        self._heals: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0
        self._does: dict[str, Callable[[Fault], None]] = {
            "kill": self._kill,
            "kill again": self._kill_again,
            "kill waiting": self._kill_waiting,
            "kill workers": self._kill,
            "kill everything": self._everything,
            "terminate": self._terminate,
            "freeze": self._freeze,
            "scale": self._scale,
            "kill brokers": self._kill,
            "roll brokers": self._roll,
            "cut": self._cut,
            "refuse": self._refuse,
            "slow": self._slow,
            "hold": self._hold,
            "disk full": self._disk_full,
        }

    def do(self, fault: Fault) -> None:
        """One fault."""
        self.tally.faults[fault.kind] += 1
        self._does[fault.kind](fault)

    def pause(self, seconds: float) -> None:
        """Waits, and ends meanwhile what has lasted long enough."""
        until_s = time.monotonic() + seconds
        while True:
            now_s = time.monotonic()
            while self._heals and self._heals[0][0] <= now_s:
                heapq.heappop(self._heals)[2]()
            if now_s >= until_s:
                return
            time.sleep(min(0.05, until_s - now_s))

    def heal(self) -> None:
        """Ends everything that still lasts, now."""
        while self._heals:
            heapq.heappop(self._heals)[2]()
        self._proxy("heal", {})

    def _later(self, seconds: float, end: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._heals, (time.monotonic() + seconds, self._made, end))

    def _find(self, name: str) -> psutil.Process | None:
        """The process of that name, waited for a moment where it is being started."""
        until_s = time.monotonic() + APPEAR_S
        while True:
            pid = self.world.state.process(name).pid
            with contextlib.suppress(psutil.NoSuchProcess):
                found = psutil.Process(pid) if pid is not None else None
                if found is not None and process.runs(found):
                    return found
            if time.monotonic() > until_s:
                return None
            self.pause(0.05)

    def _strike(self, names: tuple[str, ...], number: signal.Signals, tally: Counter[str]) -> None:
        """One signal to each, all in one moment."""
        found = {name: self._find(name) for name in names}
        for name, target in found.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                if target is not None and process.runs(target):
                    target.send_signal(number)
                    tally[name] += 1

    def _kill(self, fault: Fault) -> None:
        self._strike(fault.names, signal.SIGKILL, self.tally.killed)

    def _kill_again(self, fault: Fault) -> None:
        self._kill(fault)
        for gap_s in fault.gaps_s:
            self.pause(gap_s)
            self._kill(fault)

    def _kill_waiting(self, fault: Fault) -> None:
        """What the worker sends arrives, what Kafka answers does not: it dies at an await, between one acknowledged write and the next."""
        self._trouble(fault, "hold_answers", cut_after=True)
        self.pause(fault.seconds)
        self._kill(fault)

    def _terminate(self, fault: Fault) -> None:
        self._strike(fault.names, signal.SIGTERM, self.tally.terminated)

    def _roll(self, fault: Fault) -> None:
        for name, gap_s in zip(fault.names, fault.gaps_s, strict=True):
            self._strike((name,), signal.SIGTERM, self.tally.terminated)
            self.pause(gap_s)

    def _everything(self, fault: Fault) -> None:
        """The supervisor's death is everybody's; then the same directory comes up again."""
        running = [each.name for each in self.world.state.processes if each.pid is not None]
        stack.kill(self.world.directory, "supervisor")
        self.tally.killed.update(["supervisor", *running])
        gone_by_s = time.monotonic() + GONE_S
        while pids_of(self.world.directory):
            if time.monotonic() > gone_by_s:
                raise AssertionError(f"processes outlived their supervisor: {pids_of(self.world.directory)}")
            time.sleep(0.1)
        self.world.up()

    def _freeze(self, fault: Fault) -> None:
        for name in fault.names:
            found = self._find(name)
            if found is not None:
                found.suspend()
                self.tally.frozen[name] += 1
                self._later(fault.seconds, partial(thaw, found))

    def _scale(self, fault: Fault) -> None:
        leaving = {each.name for each in self.world.state.processes if each.pid is not None and each.name in WORKERS} - set(fault.names)
        self.tally.terminated.update(leaving)
        stack.rest(self.world.directory, set(WORKERS) - set(fault.names))

    def _trouble(self, fault: Fault, do: str, *, cut_after: bool = False) -> None:
        (name,) = fault.names
        # A report's receipts and an archive's raw log are written and read under the name of their group.
        whose = {"who": f"{name},tidemark-{name.partition('-')[0]}"} if name in WORKERS else {"link": name}
        seconds = fault.seconds + (KILLED_S if fault.kind == "kill waiting" else 0.0)
        how = {"share": fault.share, "seed": fault.number, "delay_s": fault.delay_s, "cut_after": cut_after}
        self.tally.connections += self._proxy("trouble", {"do": do, "seconds": seconds, **how, **whose}).get("met", 0)

    def _cut(self, fault: Fault) -> None:
        self._trouble(fault, "cut")

    def _refuse(self, fault: Fault) -> None:
        self._trouble(fault, "refuse")

    def _slow(self, fault: Fault) -> None:
        self._trouble(fault, "slow")

    def _hold(self, fault: Fault) -> None:
        self._trouble(fault, HOLDS[fault.do.removesuffix(" (then cut)")], cut_after=fault.do.endswith("(then cut)"))

    def _proxy(self, path: str, body: dict[str, object]) -> dict[str, int]:
        """Asks the proxy; one that was killed a moment ago has no trouble left to end and is asked again when it is back."""
        until_s = time.monotonic() + APPEAR_S * 2
        request = urllib.request.Request(f"{self.world.state.process('proxy').http}/{path}", json.dumps(body).encode())
        while True:
            try:
                with urllib.request.urlopen(request, timeout=APPEAR_S) as answer:
                    found: dict[str, int] = json.loads(answer.read())
                    return found
            except OSError:
                if time.monotonic() > until_s:
                    return {}
                self.pause(0.1)

    def _disk_full(self, fault: Fault) -> None:
        """No file of the process may grow: each write beyond what stands fails with EFBIG, in the very place where a full disk fails it.

        The limit goes with the process; one that ends of it comes back to a disk that has room again. The engine does not merge meanwhile:
        it looks at no answer of write(2), which makes its merge an empty part; what we send it is refused before (infra/embedded/engine).
        """
        for name in fault.names:
            found = self._find(name)
            if found is None or (name == "clickhouse" and not self._merges("STOP")):
                continue
            with contextlib.suppress(ProcessLookupError):
                hard = resource.prlimit(found.pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(found.pid, resource.RLIMIT_FSIZE, (0, hard))
                self._later(fault.seconds, partial(self._make_room, name, found, hard))
                self.tally.filled[name] += 1

    def _make_room(self, name: str, full: psutil.Process, hard: int) -> None:
        make_room(full, hard)
        if name == "clickhouse":
            self._merges("START")

    def _merges(self, word: str) -> bool:
        """Whether the engine heard that it shall not merge, or shall again; one that was killed merges again by itself."""
        try:
            with clickhouse_connect.get_client(dsn=self.world.state.clickhouse_url, send_receive_timeout=5, connect_timeout=2) as client:
                client.command(f"SYSTEM {word} MERGES")
        except (ClickHouseError, OSError):
            return False
        return True


def thaw(frozen: psutil.Process) -> None:
    """Lets a process go on, where it is still there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        frozen.resume()


def make_room(full: psutil.Process, hard: int) -> None:
    """Gives a process its disk back, where it is still there."""
    with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
        if full.is_running():
            resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (hard, hard))

