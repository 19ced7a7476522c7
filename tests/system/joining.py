"""A meter of its own beside those of a stack: it joins their group, holds partitions, and may be killed or told to leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from infra.embedded import process
from infra.embedded.ports import free_port
from tests.system.cli import ROOT
from tests.system.world import PARTITIONS, World

JOINS_S = 120.0
"""A loaded machine starts a worker in many times the three seconds that an idle one takes."""


@dataclass
class Joined:
    """The process, and where it says what it holds."""

    process: subprocess.Popen[bytes]
    port: int

    def holds(self) -> int:
        """How many partitions it counts; 0 where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as response:
                return len(json.load(response)["partitions"])
        except (OSError, ValueError):
            return 0

    def until_it_holds(self, counts: Collection[int], what: str) -> None:
        """Wait until it counts one of these numbers of partitions."""
        deadline_s = time.monotonic() + JOINS_S
        while self.holds() not in counts:
            assert self.process.poll() is None, f"{what}: the worker ended with {self.process.returncode}"
            assert time.monotonic() < deadline_s, f"{what}: it holds {self.holds()} partitions, not one of {sorted(counts)}"
            time.sleep(0.2)


@contextmanager
def joined(world: World, name: str) -> Iterator[Joined]:
    """One more meter under this name, from when it counts at least one partition; gone at the end of the block."""
    port = free_port()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TIDEMARK_WORKER__NAME": name,
        "TIDEMARK_WORKER__HTTP": f"127.0.0.1:{port}",
        "TIDEMARK_WORKER__SESSION_TIMEOUT_S": "6",
    }
    command = [sys.executable, "-m", "infra", "worker", "meter", "--dir", str(world.directory)]
    found = Joined(process.start(command, world.directory.parent / f"{name}.log", environment), port)
    try:
        found.until_it_holds(range(1, PARTITIONS + 1), f"{name} joins")
        yield found
    finally:
        found.process.kill()
        found.process.wait()
