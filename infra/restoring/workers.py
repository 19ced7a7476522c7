"""`ports.Workers`: those of an embedded stack are ended, and its supervisor starts them anew; those of servers must not run at all."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Final

from infra.status import ask
from infra.target import read_state
from topics.errors import TidemarkError, UsageError

if TYPE_CHECKING:
    from infra.target import Target

GONE_WITHIN_S: Final = 60.0
"""A worker flushes and leaves in a few seconds; its supervisor kills it after twenty."""
LOOK_EVERY_S: Final = 0.1


class StackWorkers:
    """The workers that a command's target has."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def refuse_where_working(self) -> None:
        """Raises UsageError while workers run that nobody starts anew. A stack's own idle ones are dealt with at the right moments."""
        if self._target.state is None and (working := await ask(self._target.processes)):
            raise UsageError(f"{working[0]['name']} runs; stop all workers (meter, report, archive), restore, then start them")

    async def end(self, kinds: frozenset[str]) -> None:
        """See `ports.Workers`."""
        if self._target.directory is None or self._target.state is None:
            return
        state = read_state(self._target.directory) or self._target.state
        pids = [each["pid"] for each in state["processes"] if each["pid"] and each["name"].partition("-")[0] in kinds]
        for pid in pids:
            _signal(pid, signal.SIGTERM)
        deadline_s = asyncio.get_running_loop().time() + GONE_WITHIN_S
        while any(_signal(pid, 0) for pid in pids):
            if asyncio.get_running_loop().time() > deadline_s:
                raise TidemarkError("a worker does not end; take the stack down and up again, then restore again")
            await asyncio.sleep(LOOK_EVERY_S)


def _signal(pid: int, number: int) -> bool:
    """False where there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
