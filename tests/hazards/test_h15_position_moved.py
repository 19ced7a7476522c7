"""H15, law 2, at the fetch: a rebalance moves the consumer's position, or is under way, while records of the assignment before are still buffered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition as KafkaPartition

from infra.delivery_columns import Columns
from infra.delivery_errors import DeliveryBroken
from infra.delivery_thread import BatchConsumerThread, Session
from tests.hazards.fold import clean
from topics.catalog import EVENTS

TP = (EVENTS, 0)
KAFKA = KafkaPartition(EVENTS, 0)


class Consumer:
    """aiokafka's consumer as far as delivery looks into it: one partition whose buffered records lie at its position."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.log_end = rng, 200
        self.state = SimpleNamespace(has_valid_position=True, position=0)
        assignment = SimpleNamespace(tps={KAFKA}, state_value=lambda _tp: self.state)
        self._subscription = SimpleNamespace(reassignment_in_progress=False, subscription=SimpleNamespace(assignment=assignment))
        self._fetcher = SimpleNamespace(_records={}, fetched_records=self._fetched)

    async def _fetched(self, wanted: Iterable[Any], *, timeout: float) -> dict[Any, list[Columns]]:
        if KAFKA not in set(wanted):
            return {}
        upto = min(self.log_end, self.state.position + self.rng.randrange(0, 9) + int(timeout))
        found = [SimpleNamespace(offset=at, timestamp=0, key=None, value=b"", headers=()) for at in range(self.state.position, upto)]
        columns = Columns(self.state.position)
        columns.read(found)
        self.state.position = upto
        return {KAFKA: [columns]}


async def _life(rng: random.Random) -> list[str]:
    consumer, faults = Consumer(rng), list[str]()
    thread: Any = object.__new__(BatchConsumerThread)
    thread._sessions = {}
    client: Any = consumer
    epoch, expected = 0, 0
    for _ in range(40):
        deed = rng.random()
        moved = False
        if deed < 0.2:
            epoch, expected = epoch + 1, rng.randrange(50)
            consumer.state.position, thread._sessions[TP] = expected, Session(epoch, expected)
        elif deed < 0.3:
            moved = consumer.state.position > 0
            consumer.state.position = rng.randrange(max(1, consumer.state.position))  # to the committed offset, by nobody of ours
        consumer._subscription.reassignment_in_progress = is_moving = rng.random() < 0.2
        wanted = {TP: epoch if rng.random() < 0.8 else epoch + 1}
        may = TP in thread._sessions and wanted[TP] == epoch and not is_moving
        try:
            polled = await BatchConsumerThread._take(thread, client, wanted, {})
        except DeliveryBroken:
            if not may or not moved:
                return [*faults, "delivery broke although nothing moved"]
            return faults
        for batch in polled.batches:
            if not may:
                faults.append(f"records are taken while {'a rebalance is under way' if is_moving else 'another epoch is asked for'}")
            if batch.start_offset != expected or list(batch.offsets) != list(range(expected, batch.next_offset)):
                faults.append(f"a batch from {batch.start_offset} to {batch.next_offset} holds {list(batch.offsets)[:3]}…, {expected} was due")
            expected = batch.next_offset
        if may and moved and consumer.state.position != expected:
            faults.append(f"the position fell back to {consumer.state.position}, {expected} is due, and nobody says so")
        if moved:
            return faults  # this worker must end
    return faults


def seeded(seed: int) -> list[str]:
    """Polls over rebalances and a position that somebody else moves: every batch begins where the last one ended, or the worker ends."""
    return asyncio.run(_life(random.Random(seed)))


def test_h15_a_position_that_somebody_moved_ends_the_worker() -> None:
    """Nothing is taken of another epoch or while a rebalance is under way, and a position that moved by itself ends the worker."""
    assert not clean(seeded, 100)
