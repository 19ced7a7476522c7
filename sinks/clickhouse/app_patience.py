"""Trying again until ClickHouse or Kafka answers: said once when it begins and once when it is over, with back-off. Nothing is dropped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sinks.clickhouse.ports import Refused
from topics.errors import Unreachable

log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_S: Final = 0.2
"""A restart of the embedded engine takes half a second."""
MOST_S: Final = 5.0
"""What an outage may add to the delay after it; shorter only asks a dead server more often."""


class Patience:
    """`attempts` counts failed calls: a worker that waits for a server is alive, and shows it."""

    def __init__(self) -> None:
        self.attempts = 0
        self.waiting: str | None = None
        """What is waited for, in one sentence; None while everything answers."""

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of `call`, however long that takes. Every `call` may be repeated: rows have identities."""
        pause_s = FIRST_S
        while True:
            try:
                answer = await call()
            except (Unreachable, Refused) as error:
                self.attempts += 1
                if self.waiting is None:
                    log.warning("%s. Trying again until it does; nothing is lost meanwhile", error)
                self.waiting = str(error)
                await asyncio.sleep(pause_s)
                pause_s = min(MOST_S, pause_s * 1.7)
            else:
                if self.waiting is not None:
                    log.info("the archive goes on")
                self.waiting = None
                return answer
