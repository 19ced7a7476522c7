"""Meter workers of one group as processes of a benchmark: start, stop, kill, how much CPU they took, and which partitions they count."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from infra import group_members
from infra.embedded import process
from infra.embedded.ports import free_port
from tests.benchmarks.load import PARTITIONS

READY_S = 90.0
"""How long a group may take until it holds every partition; a loaded machine needs many times what an idle one does."""
LEAVES_S = 20.0


@dataclass
class Worker:
    """One process."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """User and system time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def held(self) -> set[int]:
        """The partitions that it says it counts; none where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=2) as response:
                found: dict[str, Any] = json.load(response)
        except (OSError, ValueError):
            return set()
        return {line["partition"] for line in found["partitions"]}


@dataclass
class Group:
    """Workers over one broker; `session_s` is how long a silent one keeps its partitions."""

    bootstrap: str
    config: Path
    logs: Path
    session_s: int
    workers: dict[str, Worker] = field(default_factory=dict)

    def start(self, name: str) -> Worker:
        """Start a worker; it has joined when `wait` returns."""
        port = free_port()
        environment = {
            "TIDEMARK_CONFIG": str(self.config), "TIDEMARK_KAFKA__BOOTSTRAP": self.bootstrap, "TIDEMARK_WORKER__NAME": name,
            "TIDEMARK_WORKER__HTTP": f"127.0.0.1:{port}", "TIDEMARK_WORKER__SESSION_TIMEOUT_S": str(self.session_s), "TIDEMARK_EMBEDDED": "1",
            "TIDEMARK_WORKER__DIR": str(self.logs / name),
        }  # fmt: skip
        command = [sys.executable, "-m", "infra", "worker", "meter"]
        started = process.start(command, self.logs / f"{name}.log", {**os.environ, **environment})
        self.workers[name] = Worker(name, port, started)
        return self.workers[name]

    def wait(self, count: int) -> None:
        """Return when `count` workers hold all partitions, each some. Raises TimeoutError with what they hold."""
        deadline_s = time.monotonic() + READY_S
        while not self.shared_by(count):
            if time.monotonic() > deadline_s:
                held = {name: worker.held() for name, worker in self.workers.items()}
                raise TimeoutError(f"{count} workers do not share {PARTITIONS} partitions after {READY_S} s: {held}")
            time.sleep(0.1)

    def shared_by(self, count: int) -> bool:
        """Whether `count` workers hold all partitions, each some. Raises RuntimeError with the log of one that has ended by itself."""
        for worker in self.workers.values():
            if worker.process.poll() is not None:
                log = (self.logs / f"{worker.name}.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{worker.name} ended with {worker.process.returncode}:\n{log[-2000:]}")
        busy = [partitions for worker in self.workers.values() if (partitions := worker.held())]
        return len(busy) == count and sorted(number for partitions in busy for number in partitions) == list(range(PARTITIONS))

    def signal(self, number: int) -> None:
        """To every worker."""
        for worker in self.workers.values():
            worker.process.send_signal(number)

    def leave(self, name: str) -> None:
        """SIGTERM, and wait until it is gone."""
        worker = self.workers.pop(name)
        worker.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(LEAVES_S)
        worker.process.kill()
        worker.process.wait()

    def end(self) -> None:
        """All leave, and none is waited for."""
        for name in list(self.workers):
            self.leave(name)
            self.take_out(name)

    def take_out(self, name: str) -> None:
        """It does not come back: the others need not wait for its session time-out."""
        asyncio.run(group_members.take_out(self.bootstrap, "tidemark-meter", name))

    def kill(self, name: str) -> None:
        """SIGKILL."""
        worker = self.workers.pop(name)
        worker.process.kill()
        worker.process.wait()


@contextmanager
def group(bootstrap: str, config: Path, logs: Path, session_s: int) -> Iterator[Group]:
    """A group without workers; whatever was started is gone afterwards."""
    found = Group(bootstrap, config, logs, session_s)
    try:
        yield found
    finally:
        for worker in found.workers.values():
            with suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGCONT)
            worker.process.kill()
            worker.process.wait()


def until(done: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Wait for something. Raises TimeoutError, naming it."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.05)
