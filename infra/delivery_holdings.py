"""Which batch partitions this worker holds, in which epoch, how far they were handed over and what may be committed.

Pure bookkeeping of law 2 (nothing crosses an assignment) and law 5 (what may be committed); the Kafka around it is
`infra/delivery_consumer.py`. All of it belongs to the app's event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from topics.batch import NOT_ASSIGNED, Batch, TopicPartition


class Phase(Enum):
    """Where a held partition is between its assignment and its revocation."""

    OPENING = "the app is asked where to start"
    OPEN = "batches are handed over"
    CLOSED = "the log does not hold what was asked for; held, not read"
    LEAVING = "revoked: its epoch has ended, the app flushes, marks are still taken"


@dataclass(slots=True)
class Holding:
    """One partition of one epoch. `position` is the next offset to hand over, `marked` the offset to commit."""

    epoch: int
    phase: Phase = Phase.OPENING
    position: int | None = None
    marked: int | None = None


class Holdings:
    """Every batch partition this worker holds. Epochs are numbers that only rise, shared by all partitions."""

    def __init__(self) -> None:
        self._epoch = 0
        self._held: dict[TopicPartition, Holding] = {}

    def begin(self, tps: Iterable[TopicPartition]) -> int:
        """Start a new epoch for `tps`, newly assigned; returns it. They are not read before `open`."""
        self._epoch += 1
        for tp in tps:
            self._held[tp] = Holding(self._epoch)
        return self._epoch

    def open(self, starts: Mapping[TopicPartition, int], epoch: int) -> None:
        """From here on batches of `starts` are handed over, beginning exactly at these offsets."""
        for tp, offset in starts.items():
            held = self._held.get(tp)
            if held is not None and held.epoch == epoch and held.phase is not Phase.LEAVING:
                held.phase, held.position = Phase.OPEN, offset

    def close(self, tp: TopicPartition) -> None:
        """Hold the partition but read it no further."""
        held = self._held.get(tp)
        if held is not None and held.phase is not Phase.LEAVING:
            held.phase = Phase.CLOSED

    def leave(self) -> frozenset[TopicPartition]:
        """End the epoch of everything held; returns what the app must let go of."""
        self._epoch += 1
        for held in self._held.values():
            held.phase = Phase.LEAVING
        return frozenset(self._held)

    def forget(self, tps: Iterable[TopicPartition]) -> None:
        """The partitions are gone: marks that come later than this are ignored."""
        for tp in tps:
            self._held.pop(tp, None)

    def epoch(self, tp: TopicPartition) -> int:
        """Current epoch of the partition, or `NOT_ASSIGNED` when it is not held or being let go."""
        held = self._held.get(tp)
        return NOT_ASSIGNED if held is None or held.phase is Phase.LEAVING else held.epoch

    def open_epochs(self) -> dict[TopicPartition, int]:
        """The partitions that may be read now, each with its epoch."""
        return {tp: held.epoch for tp, held in self._held.items() if held.phase is Phase.OPEN}

    def position(self, tp: TopicPartition) -> int | None:
        """The offset the next batch starts at, or None when the partition is not held or not yet opened."""
        held = self._held.get(tp)
        return None if held is None else held.position

    def admits(self, batch: Batch) -> bool:
        """Whether the batch belongs to the partition's current epoch and may be handed over."""
        held = self._held.get(batch.tp)
        return held is not None and held.phase is Phase.OPEN and held.epoch == batch.epoch

    def follows(self, batch: Batch) -> bool:
        """Whether the batch starts exactly where the one before it ended."""
        return batch.start_offset == self.position(batch.tp)

    def advance(self, batch: Batch) -> None:
        """The batch was handed over."""
        if self.admits(batch):
            self._held[batch.tp].position = batch.next_offset

    def mark(self, tp: TopicPartition, next_offset: int) -> None:
        """Everything below `next_offset` is done. Marks only rise; marks for what is not held are ignored."""
        held = self._held.get(tp)
        if held is not None and (held.marked is None or next_offset > held.marked):
            held.marked = next_offset

    def marked(self, tp: TopicPartition) -> int | None:
        """The offset to commit, or None."""
        held = self._held.get(tp)
        return None if held is None else held.marked

    def committable(self) -> list[TopicPartition]:
        """The partitions with a mark."""
        return [tp for tp, held in self._held.items() if held.marked is not None]
