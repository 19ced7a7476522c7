"""The log as the receiver needs it; `kafka_log.py` is the real one, tests have their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from infra.proposal import Answer, Publication
from topics.definitions import Definitions


class Outgoing(NamedTuple):
    """A record to be acknowledged; `partition` None: by its key."""

    topic: str
    partition: int | None
    key: bytes
    value: bytes


class Log(Protocol):
    """What is in force, and the way into the log."""

    @property
    def partitions(self) -> int:
        """Of `usage.events`."""
        ...

    async def held(self, partition: int) -> Definitions:
        """What the partition has published as in force by now. Raises Unreachable."""
        ...

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Returns when the broker has acknowledged all. Raises Unreachable; then some may stand there all the same."""
        ...

    async def put_in_force(self, publication: Publication) -> Answer:
        """Publishes a binding and waits for the meter: in force, refused, or no answer in time. Raises Unreachable."""
        ...
