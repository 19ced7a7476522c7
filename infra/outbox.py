"""The meter's writer: one idempotent producer, acks all; a call returns when every record is acknowledged (`streams.ports.Outbox`)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from infra.delivery_log import say_outages_once
from infra.faust_app import MAX_REQUEST_BYTES
from infra.kafka_io import unreachable
from streams.sends import Send
from topics.errors import TidemarkError

BATCH_BYTES = 256 * 1024
"""aiokafka's default of 16 KiB makes a request of every fifty verdicts; a packed segment is larger anyway."""

LINGER_MS = 2
"""A flush has three steps, each awaited, so it pays this three times; 0 would send the first record of each step alone."""

ACK_TIMEOUT_MS = 30_000
"""How long a record may wait for its acknowledgement: longer than a leader's fail-over. Beyond it the worker ends, and starts again by
reading what is durable: nothing was committed."""


class NotAcknowledged(TidemarkError):
    """A record was refused or not acknowledged in time; it may or may not be in the log."""


class KafkaOutbox:
    """See `streams.ports.Outbox`. Start it in the loop that uses it."""

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises Unreachable."""
        say_outages_once()
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=f"{self._client_id}-outbox",
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            request_timeout_ms=ACK_TIMEOUT_MS,
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise unreachable(self._bootstrap, error) from error
        self._producer = producer

    async def stop(self) -> None:
        """Close; everything that was awaited is acknowledged, nothing else matters."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def send_all(self, sends: Sequence[Send]) -> None:
        """See `streams.ports.Outbox`. A record that is no longer wanted by anybody cannot be taken back: whoever fails here must end."""
        if self._producer is None:
            raise NotAcknowledged("the producer is closed; nothing was sent")
        partitions: defaultdict[tuple[str, int], list[Send]] = defaultdict(list)
        for one in sends:
            partitions[one.topic, one.partition].append(one)
        try:
            await asyncio.gather(*(self._send_partition(topic, partition, group) for (topic, partition), group in partitions.items()))
        except KafkaError as error:
            topics = ", ".join(sorted({topic for topic, _ in partitions}))
            raise NotAcknowledged(f"Kafka did not take {len(sends)} record(s) for {topics}: {type(error).__name__}: {error}") from error

    async def _send_partition(self, topic: str, partition: int, sends: Sequence[Send]) -> None:
        """Whole batches: a file that is sent a second time makes a verdict of each event; aiokafka's `send` costs 8.7 µs a record, this 1.1."""
        producer: Any = self._producer
        acknowledged = []
        batch = producer.create_batch()
        for one in sends:
            if not _append(batch, one):
                acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                _append(batch, one)  # the first record of a batch is taken whatever its size; the topic's limit judges it
        acknowledged.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*acknowledged)


def _append(batch: Any, one: Send) -> bool:
    return batch.append(key=one.key, value=one.value, timestamp=None, headers=list(one.headers)) is not None
