"""What the report worker's tests share: a flow that is an object, an item at the sandbox, and totals to report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sinks.stripe.app import ReportWorker
from topics.batch import Batch, TopicPartition
from topics.bindings import Item
from topics.catalog import WINDOWS
from topics.codec import encode
from topics.quantity import ONE
from topics.window_total import WindowTotal, window_total
from topics.windows import Window, window_key


@dataclass
class OneFlow:
    """`topics.batch.Flow` of a group with one member, which the test moves by hand."""

    epochs: dict[TopicPartition, int] = field(default_factory=dict)
    marked: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    progress: int = 0

    def epoch(self, tp: TopicPartition) -> int:
        """See Flow."""
        return self.epochs.get(tp, -1)

    def assigned(self) -> frozenset[TopicPartition]:
        """See Flow."""
        return frozenset(self.epochs)

    def position(self, tp: TopicPartition) -> int | None:
        """See Flow."""
        return self.ends.get(tp)

    def commit(self, tp: TopicPartition, next_offset: int) -> None:
        """See Flow."""
        self.marked[tp] = max(next_offset, self.marked.get(tp, 0))

    async def committed(self, tp: TopicPartition) -> int | None:
        """See Flow."""
        return self.marked.get(tp)

    async def last_stable_offset(self, tp: TopicPartition) -> int:
        """See Flow."""
        return self.ends.get(tp, 0)

    async def beginning_offset(self, tp: TopicPartition) -> int:
        """See Flow."""
        return 0


@dataclass
class Counted:
    """`app_ports.Metrics` as plain numbers."""

    outcomes: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def delivered(self, seconds_since_close: float) -> None:
        """See Metrics."""
        self.latencies.append(seconds_since_close)

    def outcome(self, provider: str, outcome: str) -> None:
        """See Metrics."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def tp_of(partition: int = 0) -> TopicPartition:
    """A partition of the source."""
    return (WINDOWS, partition)


def total_of(customer: str, start_s: int, units: int, through: int, *, size_s: int = 60) -> WindowTotal:
    """One revision of one window of meter `calls`."""
    window = Window(customer, "calls", start_s, start_s + size_s)
    return window_total(window, scaled=units * ONE, events=1, first_offset=0, revision=(1, through), partition=0, content_hash=through)


def item_of(name: str, anchor_s: int) -> Item:
    """An item of meter `calls`, of a customer on a test clock: the worker's own time ends none of its periods, whatever year the test is set in."""
    return Item(meter="calls", item=name, period_anchor_s=anchor_s, clock="clock_1")


def batch_of(totals: list[WindowTotal], start_offset: int, epoch: int, partition: int = 0) -> Batch:
    """Totals as delivery hands them over."""
    size = len(totals)
    return Batch(
        topic=WINDOWS,
        partition=partition,
        epoch=epoch,
        start_offset=start_offset,
        offsets=range(start_offset, start_offset + size),
        timestamps_ms=[0] * size,
        keys=[window_key(total.window).encode() for total in totals],
        values=[encode(total) for total in totals],
        headers=[(("closed_at_ms", b"1700000000000"),)] * size,
        next_offset=start_offset + size,
    )


async def until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until something holds; the test fails by time-out where it never does."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


async def all_delivered(worker: ReportWorker, timeout_s: float = 60.0) -> None:
    """Wait until the worker shows no undelivered window."""
    await until(lambda: worker.status()["windows"]["undelivered"] == 0, timeout_s)
