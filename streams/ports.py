"""What the meter's shell asks of the outside, as Protocols: `infra` implements them, tests hand in fakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streams.partition import MeterPartition
from streams.sends import Send
from topics.batch import TopicPartition


class RecordAt(NamedTuple):
    """One record of the log as it lies there: what law 3 digests again on each assignment."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int


class ChangelogRecord(NamedTuple):
    """One record of `usage.state`; `value` None is a tombstone."""

    key: bytes
    value: bytes | None
    offset: int


class Kept(NamedTuple):
    """A state that was let go of cleanly, and the bounds [begin, end) of the changelog that it is the state of."""

    core: MeterPartition
    begin: int
    end: int


class Base(NamedTuple):
    """What a partition's state stands on: every record of its changelog, or `core`, the state that they make. `bounds`: the changelog's [begin, end)
    that this covers; None where nobody knows."""

    records: Sequence[ChangelogRecord]
    bounds: tuple[int, int] | None
    core: MeterPartition | None = None


class Outbox(Protocol):
    """Writes records and waits for the broker."""

    async def send_all(self, sends: Sequence[Send]) -> None:
        """Return when all in-sync replicas have every one of `sends`; their order among each other is not promised.

        Raises when one was refused or not acknowledged in time; the others may or may not be in the log.
        """
        ...


class LogReader(Protocol):
    """Looks at the log beside the group's consumer, without moving it."""

    async def cluster_id(self) -> str:
        """The id of the Kafka cluster."""
        ...

    async def record_at(self, tp: TopicPartition, offset: int) -> RecordAt | None:
        """The record at exactly `offset`, or None when the log has none there (a marker, a hole)."""
        ...


class Changelog(Protocol):
    """What Faust's recovery read from `usage.state` in the current assignment, or need not read (`streams/bases.py`)."""

    def take(self, partition: int) -> Base:
        """The base of one partition, records in offset order; it is forgotten here. Raises when recovery is not complete (law 2)."""
        ...

    def keep(self, partition: int, kept: Kept) -> None:
        """Hold a state for the next assignment, in which `take` returns it if the partition comes back with its changelog unchanged."""
        ...
