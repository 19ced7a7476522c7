"""What a worker shows over HTTP, from its first moment: waiting, then working, then perhaps halted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from aiokafka.errors import ConsumerStoppedError, KafkaError

from infra.clock import now_ms, steady_s
from infra.metrics import WorkerMetrics
from infra.readiness import Limits, Memory, Now, look
from topics.errors import TidemarkError

log = logging.getLogger(__name__)

Kind = Literal["meter", "report", "archive"]

REFRESH_TIMEOUT_S = 2.0
"""How long `/status` waits for the ends of the log; after that it shows the ones it knew, rather than nothing."""

LOOK_TIMEOUT_S = 20.0
"""How long the watch waits for them, partition by partition: a worker of a thousand partitions must not look as if Kafka were silent."""

LOOK_S = 2.0
"""Between two looks at whether billing is stuck, and so the most by which a metric is old. A question to one broker each time."""

NO_WINDOWS: Mapping[Kind, dict[str, int]] = {
    "meter": {"open": 0, "due": 0, "reopened": 0},
    "report": {"delivered": 0, "undelivered": 0, "parked": 0, "unbound": 0},
    "archive": {},
}


def group(kind: Kind) -> str:
    """The consumer group, and Faust app id, of a kind of worker. Fixed: another name is another worker with no offsets."""
    return f"tidemark-{kind}"


class Work(Protocol):
    """The part of a worker that does something: the meter, the report or the archive."""

    @property
    def halted(self) -> str | None:
        """Why it has stopped rather than guess, in one sentence, or None."""
        ...

    def status(self) -> dict[str, Any]:
        """Its part of `/status`, from memory."""
        ...

    async def refresh(self) -> None:
        """Ask the servers for what `status` shows of them."""
        ...


class WorkerFace:
    """See `infra.http.Face`. `waiting` is why nothing is done yet; None once the app runs."""

    def __init__(
        self,
        kind: Kind,
        name: str,
        limits: Limits | None = None,
        *,
        steady_s: Callable[[], float] = steady_s,
        now_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._kind = kind
        self._name = name
        self._limits = limits or Limits()
        self._steady_s = steady_s
        self._now_ms = now_ms
        self._memory = Memory()
        self._alarms: list[str] = []
        self._work: Work | None = None
        self.waiting: str | None = "starting"
        self.metrics = WorkerMetrics(group(kind), self.snapshot, delivers=kind == "report")

    def attach(self, work: Work) -> None:
        """From now on show this."""
        self._work = work

    def snapshot(self) -> dict[str, Any]:
        """The whole of `/status` as last known."""
        head: dict[str, Any] = {"name": self._name, "kind": self._kind, "alarms": self._alarms, "ready": self.unready() is None}
        if self._work is not None:
            return head | self._work.status()
        empty: dict[str, Any] = {"partitions": [], "halted": None, "progress": 0}
        return head | empty | ({"windows": NO_WINDOWS[self._kind]} if NO_WINDOWS[self._kind] else {})

    async def status(self) -> Mapping[str, Any]:
        """See `infra.http.Face`."""
        await self._refresh(REFRESH_TIMEOUT_S)
        return self.snapshot()

    async def _refresh(self, timeout_s: float) -> bool:
        """Whether the ends of the log are fresh now; if not, `/status` shows the ones it knew."""
        if self._work is None or self._work.halted is not None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._work.refresh()
        except (TimeoutError, KafkaError, TidemarkError, ConsumerStoppedError, RuntimeError) as error:
            # The last two: the consumer or its loop is gone, the worker is leaving.
            log.debug("the ends of the log are as last known: %r", error)
            return False
        return True

    async def watch(self) -> None:
        """Look again and again, for as long as the worker lives, so that what `/ready` and `/metrics` say is never older than `LOOK_S`."""
        while True:
            try:
                await self.look()
            except Exception:  # what only watches must neither end the billing nor stop watching; it is said each time
                log.exception("looking whether billing is stuck failed")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look at whether billing is stuck; what begins and what ends is said once."""
        is_asked = await self._refresh(LOOK_TIMEOUT_S)
        if self._work is None or self._work.halted is not None or not self._work.status()["progress"]:
            return  # why it does nothing is said already
        now = Now(self._steady_s(), self._now_ms() / 1000)
        status = {"kind": self._kind, **self._work.status()}
        before = bool(self._alarms)
        self._memory, self._alarms = look(self._memory, status, now, self._limits, is_asked=is_asked)
        if self._alarms and not before:
            log.error("not ready: %s", "; ".join(self._alarms))
        elif before and not self._alarms:
            log.warning("ready again: nothing is stuck any more")

    def unready(self) -> str | None:
        """See `infra.http.Face`."""
        if self._work is None:
            return self.waiting or "starting"
        if self._work.halted is not None:
            return self._work.halted
        if not self._work.status()["progress"]:
            return "joining its group and reading its state"
        return "; ".join(self._alarms) or None

    def exposition(self) -> bytes:
        """See `infra.http.Face`."""
        return self.metrics.exposition()
