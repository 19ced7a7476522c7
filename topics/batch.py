"""What delivery hands to an app and what it asks of it: pure types, no Kafka, no Faust.

`infra/delivery.py` implements `Flow`; the meter, the report and the archive each implement `Listener` and
receive `Batch`. They live here because `streams` and `sinks` never import `infra`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol, TypeAlias

TopicPartition: TypeAlias = tuple[str, int]
"""(topic, partition). Faust's and aiokafka's named tuples compare and hash equal to it."""

Headers: TypeAlias = Sequence[tuple[str, bytes]]
"""One record's headers in the order they were produced; a name may occur more than once."""

NOT_ASSIGNED = -1
"""The epoch of a partition that this worker does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The records of one fetch of one partition, as columns of equal length in offset order.

    `start_offset` is the consumer's position before the batch: the `next_offset` of the batch before it in this epoch,
    or what `Listener.start_offsets` answered. A receiver applies a batch only when this is exactly its own next offset
    (law 2); anything else is a defect of delivery, which it must refuse, not repair.
    `next_offset` is the consumer's position after the batch: at least the last offset + 1, and beyond it where
    transaction markers or aborted records follow. A batch may hold no record and only move `next_offset`
    (law 9: without that a log that ends in a marker never reaches its barrier).
    `epoch` is the assignment the records were fetched in: a receiver drops the batch when
    `flow.epoch(batch.tp) != batch.epoch`, and asks again after every await (law 2).
    Offsets may have holes: aborted records and markers are never delivered (law 7 counts them as `skipped`). Where there is none,
    delivery gives a `range`.
    `stamp_runs` and `headed_at` are what delivery knows already of `runs()` and `headed()`; None: they are counted when asked for.
    """

    topic: str
    partition: int
    epoch: int
    start_offset: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]
    next_offset: int
    stamp_runs: Sequence[tuple[int, int]] | None = field(default=None, repr=False, compare=False)
    headed_at: Sequence[int] | None = field(default=None, repr=False, compare=False)

    @property
    def tp(self) -> TopicPartition:
        """The partition that the batch was read from."""
        return (self.topic, self.partition)

    def __len__(self) -> int:
        """How many records the batch holds; 0 where it only moves `next_offset`."""
        return len(self.offsets)

    def runs(self) -> Sequence[tuple[int, int]]:
        """Neighbours of one timestamp, as (end, timestamp in ms): from the end before (else 0) up to `end`, exclusive.

        Under `LogAppendTime` all records of a producer's request share one, so there are few.
        """
        if self.stamp_runs is not None:
            return self.stamp_runs
        found, end = [], 0
        for stamp_ms, run in groupby(self.timestamps_ms):
            end += sum(1 for _ in run)
            found.append((end, stamp_ms))
        return found

    def headed(self) -> Sequence[int]:
        """Positions of the records that carry headers, rising; usually there are none."""
        if self.headed_at is not None:
            return self.headed_at
        return [at for at, found in enumerate(self.headers) if found]

    def __bool__(self) -> bool:
        """A batch is never false: one without records still moves `next_offset`."""
        return True


class Flow(Protocol):
    """What an app may ask of its delivery. One object per app, valid from wiring until the process ends."""

    @property
    def progress(self) -> int:
        """A number that only rises: with each batch delivered and each poll that found nothing to deliver.

        It stands still when the consumer hangs or when a receiver takes no more batches; the supervisor kills a
        worker that has lag while it stands still.
        """
        ...

    def epoch(self, tp: TopicPartition) -> int:
        """Current assignment epoch of the partition, or `NOT_ASSIGNED`. It rises on each revoke, assign and seek."""
        ...

    def assigned(self) -> frozenset[TopicPartition]:
        """The batch partitions this worker holds and reads now (after `Listener.start_offsets`)."""
        ...

    def position(self, tp: TopicPartition) -> int | None:
        """`next_offset` of the newest batch handed over in this epoch (else its start offset); None if not held."""
        ...

    def commit(self, tp: TopicPartition, next_offset: int) -> None:
        """Mark everything below `next_offset` as done; the next commit cycle sends it.

        Monotone: a lower offset than one already marked is ignored, and so is a partition that is not held.
        """
        ...

    async def committed(self, tp: TopicPartition) -> int | None:
        """The offset the group has committed on the server, or None. May be asked inside `start_offsets`."""
        ...

    async def last_stable_offset(self, tp: TopicPartition) -> int:
        """The end of the partition for a `read_committed` reader, asked of the server now."""
        ...

    async def beginning_offset(self, tp: TopicPartition) -> int:
        """The first offset that retention has left in the partition, asked of the server now."""
        ...


class Listener(Protocol):
    """What delivery asks of an app. All calls come from the app's event loop, never two at once."""

    async def start_offsets(
        self, tps: frozenset[TopicPartition], epoch: int
    ) -> Mapping[TopicPartition, int]:
        """Where to read each newly assigned batch partition from.

        Called after Faust recovered the tables and before the first batch of this epoch. Every partition of `tps`
        must be in the answer; the group's committed offset is never used by itself (law 5).
        """
        ...

    async def on_revoked(self, tps: frozenset[TopicPartition]) -> None:
        """Flush what is pending for `tps`, mark it with `flow.commit`, let go of their state.

        The epochs of `tps` have already ended, so batches still queued are stale. Delivery waits a bounded time,
        commits what was marked, and lets the partitions go: what was not clean is dropped.
        """
        ...

    async def on_out_of_range(self, tp: TopicPartition, wanted: int, begin: int, end: int) -> None:
        """The log does not hold `wanted`: retention passed it (`wanted < begin`) or the log was cut (`wanted > end`).

        The partition stays assigned but is not read; it is never reset silently. The app says so and halts.
        """
        ...
