"""What a webhook is answered: verified, read, run, and only then 200. Everything else is a status that says whether to send again.

400 is for what did not come from Stripe, 413 for what is too large, 429 for too many wrong signatures, 503 for what has to be sent again. Nothing
of a body is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from infra.webhooks.errands import Errand, errand
from infra.webhooks.limiter import BadSignatures
from infra.webhooks.notification import Notification, read
from infra.webhooks.runner import Outcome
from infra.webhooks.signature import judged
from topics.errors import TidemarkError

log = logging.getLogger(__name__)

LARGEST_BYTES: Final = 1024 * 1024
"""Stripe's events have some kilobytes; an invoice shows ten lines at most. Above this nothing is read."""
AT_ONCE: Final = 8
"""Errands under way: each makes a handful of calls, and a test account takes 25 a second. What waits longer than Stripe does comes again."""
PATIENCE_S: Final = 9.0
"""An answer after about ten seconds is one that Stripe no longer waits for."""
REMEMBERED: Final = 10_000
"""Events that were done, by id: a second delivery of one is answered at once. Only in memory: forgetting costs a second look, nothing else."""


class Reply(NamedTuple):
    """Status, what it is counted as, and a sentence for the answer's body."""

    status: int
    outcome: str
    sentence: str = ""


class Errands(Protocol):
    """Who runs what a webhook asks for: `Runner`, or one that `Following` chooses."""

    async def run(self, errand: Errand, said: Notification) -> Outcome:
        """As Runner.run."""
        ...


@dataclass
class Receiver:
    """`livemode` is that of our key: an event of the other mode speaks of other objects. `runner` is None until Kafka was reached. `trouble`: why
    the last webhook that concerned us has to come again, until one is done. Secrets are in no repr."""

    runner: Errands | None
    secrets: Sequence[str] = field(repr=False)
    livemode: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    trouble: str | None = None
    _bad: BadSignatures = field(default_factory=BadSignatures)
    _done: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def take(self, body: bytes, signature: str | None, now_s: float) -> Reply:
        """The answer to one POST; `now_s` is real time, by which signatures age."""
        reply = await self._reply(body, signature, now_s)
        self.counts[reply.outcome] += 1
        return reply

    def refused(self, status: int, outcome: str, sentence: str) -> Reply:
        """An answer to what is not even read."""
        self.counts[outcome] += 1
        return Reply(status, outcome, sentence)

    async def _reply(self, body: bytes, signature: str | None, now_s: float) -> Reply:
        verdict = judged(body, signature, self.secrets, now_s)
        if verdict != "right":
            return self._unsigned(verdict)
        said = read(body)
        if said is None:
            return Reply(400, "malformed", "signed, but none of Stripe's events")
        if said.id in self._done:
            return Reply(200, "repeated")
        todo = errand(said)
        if todo is None or said.livemode != self.livemode:
            return Reply(200, "ignored")
        if self.runner is None:
            return self._later(said, "Kafka was not reached yet")
        try:
            async with asyncio.timeout(PATIENCE_S), self._room:
                outcome = await self.runner.run(todo, said)
        except TimeoutError:
            return self._later(said, "it took too long")
        except TidemarkError as error:
            return self._later(said, str(error))
        except Exception:
            log.exception("%s %s", said.type, said.id)
            self.trouble = f"{said.type} {said.id} has to come again: an error of ours, see the log"
            return Reply(503, "unavailable", "it failed; send it again")
        self.trouble = None
        self._remember(said.id)
        log.info("%s %s: %s", said.type, said.id, outcome)
        return Reply(200, outcome)

    def _unsigned(self, verdict: str) -> Reply:
        if not self._bad.allows(time.monotonic()):
            return Reply(429, "bad_signature", "too many wrong signatures")
        log.warning("a webhook was refused: its signature is %s", verdict)
        return Reply(400, "bad_signature", f"the signature is {verdict}")

    def _later(self, said: Notification, sentence: str) -> Reply:
        self.trouble = f"{said.type} {said.id} has to come again: {sentence}"
        log.warning("%s", self.trouble)
        return Reply(503, "unavailable", "not now; send it again")

    def _remember(self, event: str) -> None:
        self._done[event] = None
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
