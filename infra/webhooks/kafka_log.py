"""The log over Kafka: one producer that stays open, and what is in force read on from where it was last read to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from infra import topics_admin
from infra.apply import answers
from infra.kafka_io import end_offsets, producer, reader, unreachable
from infra.proposal import Answer, Publication
from infra.webhooks.log import Outgoing
from topics.catalog import DEFINITIONS, EVENTS, VERDICTS
from topics.definitions import Definitions, decode_definition

ANSWER_S = 6.0
"""How long a meter may take to put a binding in force: it folds within a second. Stripe waits some ten seconds for our answer, and tries
again later where none comes."""


class KafkaLog:
    """`start` first; `stop` at the end."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._ending = AsyncExitStack()
        self._client: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._definitions: list[Definitions] = []
        self._next: list[int] = []
        self._reading: list[asyncio.Lock] = []

    @property
    def partitions(self) -> int:
        """Of `usage.events`."""
        return len(self._definitions)

    async def start(self) -> None:
        """Learns how many partitions there are. Raises Unreachable, or TidemarkError where the topic is missing."""
        count = await topics_admin.partition_count(self._bootstrap, EVENTS)
        self._definitions = [Definitions() for _ in range(count)]
        self._next = [0] * count
        self._reading = [asyncio.Lock() for _ in range(count)]

    async def stop(self) -> None:
        """Closes the producer."""
        await self._ending.aclose()
        self._client = None

    async def held(self, partition: int) -> Definitions:
        """What the partition has published as in force by now."""
        async with self._reading[partition]:
            found = self._definitions[partition]
            async for record in reader(self._bootstrap, DEFINITIONS, partition, self._next[partition]):
                if record.value is not None:
                    found.apply(decode_definition(record.value, f"{record.topic}-{partition}@{record.offset}"))
                self._next[partition] = record.offset + 1
            return found

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """All acknowledged, or Unreachable."""
        await self._sent(records)

    async def _sent(self, records: Sequence[Outgoing]) -> list[int]:
        client = await self._opened()
        try:
            # In this order; an idempotent producer keeps it within a partition.
            under_way = [await client.send(each.topic, each.value, each.key, partition=each.partition) for each in records]
            return [(await one).offset for one in under_way]
        except KafkaError as error:
            await self._reopen(client)
            raise unreachable(self._bootstrap, error) from error

    async def _opened(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._client is None:
                self._client = await self._ending.enter_async_context(producer(self._bootstrap))
            return self._client

    async def _reopen(self, failed: AIOKafkaProducer) -> None:
        """A producer that failed may have lost its place: the next publication opens another."""
        async with self._opening:
            if self._client is failed:
                await self.stop()

    async def put_in_force(self, publication: Publication) -> Answer:
        """Publishes a binding and waits for the meter."""
        starts = {topic: await end_offsets(self._bootstrap, topic, [publication.partition]) for topic in (DEFINITIONS, VERDICTS)}
        offsets = await self._sent([Outgoing(EVENTS, publication.partition, publication.event.key, publication.event.value)])
        (answer,) = await answers(self._bootstrap, [publication], offsets, starts, ANSWER_S)
        return answer
