"""Fetches of a consumer without a group, in columns: for the archive's own reader, which asks for one partition at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import ConsumerStoppedError

from infra.delivery_columns import Columns, in_columns
from topics.batch import Batch

NO_EPOCH = 0
"""Who reads without a group has no assignments to tell apart."""


async def fetched(consumer: Any, tp: KafkaPartition, timeout_s: float) -> Sequence[Batch]:
    """What has been fetched of a partition, a batch at most; waits so long where that is nothing. Moves the consumer's position.

    As `AIOKafkaConsumer.getmany`, but never reads a fetch that is not in columns yet: a fetch is one or the other from its beginning to its end.
    """
    if consumer._closed:
        raise ConsumerStoppedError
    consumer._coordinator.check_errors()
    with consumer._subscription.fetch_context():
        if found := await _arrived(consumer, tp):
            return found
        waiter = consumer._fetcher._create_fetch_waiter()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return ()
        return await _arrived(consumer, tp)


async def _arrived(consumer: Any, tp: KafkaPartition) -> Sequence[Batch]:
    in_columns(consumer._fetcher, tp)
    found = (await consumer._fetcher.fetched_records([tp], timeout=0, max_records=1)).get(tp, ())
    return [batch_of(tp, columns) for columns in found]


def batch_of(tp: KafkaPartition, found: Any) -> Batch:
    """What a fetch holds, as a batch; a record that came while nobody could look is one of its own."""
    if isinstance(found, Columns):
        columns = found
    else:
        columns = Columns(found.offset)
        columns.read([found])
    return columns.batch((tp.topic, tp.partition), NO_EPOCH, 0, columns.next_offset)
