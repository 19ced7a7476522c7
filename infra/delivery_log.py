"""An absent broker is said once, not at every retry of every connection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

QUIET_AFTER_S = 60.0
"""A sentence that was not repeated for so long is news again: the outage it belonged to is over."""

NAMES = ("aiokafka", "aiokafka.conn", "aiokafka.client", "aiokafka.cluster", "aiokafka.consumer.consumer", "aiokafka.consumer.fetcher",
         "aiokafka.consumer.group_coordinator", "aiokafka.consumer.subscription_state", "aiokafka.producer.producer",
         "aiokafka.producer.sender", "aiokafka.producer.message_accumulator", "mode.timers")  # fmt: skip
"""A filter acts only on the logger it hangs on, not on that logger's children. `mode.timers` is Faust's commit timer, which says at each turn
that a commit took longer than the pause between two: a broker that is slow or away."""


class OncePerOutage(logging.Filter):
    """Lets each warning or error through once, then again only after it has been silent for `QUIET_AFTER_S`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Judge by the sentence, not by its arguments: the next retry names another correlation id."""
        if record.levelno < logging.WARNING:
            return True
        now = self._clock()
        key = (record.name, str(record.msg))
        last = self._last_at.get(key)
        self._last_at[key] = now
        return last is None or now - last >= QUIET_AFTER_S


_OUTAGES = OncePerOutage()


def say_outages_once() -> None:
    """Quieten these loggers; calling it again changes nothing."""
    for name in NAMES:
        logging.getLogger(name).addFilter(_OUTAGES)
