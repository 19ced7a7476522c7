"""Kills while events flow: SIGKILL to one process after another, each at its share of the traffic; then proof that it came back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from infra.embedded import stack
from infra.target import read_state
from topics.errors import TidemarkError

AT_SHARE = (("meter-0", 0.12), ("report", 0.30), ("archive", 0.48), ("meter-1", 0.64), ("kafka", 0.80))
"""Which process dies once which share of the events is acknowledged."""
BACK_TIMEOUT_S = 60.0
LOOK_EVERY_S = 0.2


class Kill(NamedTuple):
    """One kill: the process, its old and new pid, and how long it was away."""

    name: str
    pid: int
    new_pid: int
    away_s: float


@dataclass
class Kills:
    """Kills as the traffic reaches their share; `survived` lists those that came back."""

    directory: Path
    total: int
    plan: tuple[tuple[str, float], ...] = AT_SHARE
    survived: list[Kill] = field(default_factory=list)
    _waiting: list[asyncio.Task[None]] = field(default_factory=list)
    _done: int = 0

    @property
    def names(self) -> list[str]:
        """Who was killed so far."""
        return [name for name, _ in self.plan[: self._done]]

    async def at(self, acknowledged: int) -> None:
        """Called with the number of acknowledged records."""
        while self._done < len(self.plan) and acknowledged >= self.plan[self._done][1] * self.total:
            name = self.plan[self._done][0]
            self._done += 1
            pid = stack.kill(self.directory, name)
            self._waiting.append(asyncio.create_task(self._back(name, pid)))

    async def finish(self) -> None:
        """Waits until every killed process runs again. Raises TidemarkError where one does not."""
        await self.at(self.total)
        await asyncio.gather(*self._waiting)

    async def _back(self, name: str, pid: int) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        while loop.time() - started_s < BACK_TIMEOUT_S:
            await asyncio.sleep(LOOK_EVERY_S)
            state = read_state(self.directory)
            for process in state["processes"] if state else ():
                if process["name"] == name and process["state"] == "running" and process["pid"] not in {None, pid}:
                    self.survived.append(Kill(name, pid, process["pid"], loop.time() - started_s))
                    return
        raise TidemarkError(f"{name} was killed and did not come back within {BACK_TIMEOUT_S:g} s; see {self.directory / 'logs' / (name + '.log')}")
