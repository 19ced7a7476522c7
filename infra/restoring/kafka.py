"""`ports.Cluster` on Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

from aiokafka.errors import KafkaError

from infra.auditing.sources import Kept
from infra.kafka_io import begin_offsets, end_offsets, producer, reader, unreachable
from infra.log_reader import KafkaLogReader
from infra.outbox import KafkaOutbox
from streams.sends import Send
from topics.catalog import RECEIPTS


class KafkaCluster:
    """See `ports.Cluster`. An async context: its producer is closed at the end."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._outbox = KafkaOutbox(bootstrap, "tidemark-restore")
        self._log = KafkaLogReader(bootstrap)

    async def __aenter__(self) -> KafkaCluster:
        """Connect. Raises Unreachable."""
        await self._outbox.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of the connection."""
        await self._outbox.stop()

    async def cluster_id(self) -> str:
        """See `ports.Cluster`."""
        return await self._log.cluster_id()

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See `ports.Cluster`."""
        begin = (await begin_offsets(self._bootstrap, topic, [partition]))[partition]
        return begin, (await end_offsets(self._bootstrap, topic, [partition]))[partition]

    async def kept(self, topic: str, partition: int) -> list[Kept]:
        """See `ports.Cluster`."""
        return [Kept(record.offset, record.key, record.value) async for record in reader(self._bootstrap, topic, partition, 0)]

    async def send(self, sends: Sequence[Send]) -> None:
        """See `ports.Cluster`."""
        if sends:
            await self._outbox.send_all(sends)

    async def write_receipts(self, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """See `ports.Cluster`. Under the report's own transactional id, so that a worker that still has the partition cannot write any more."""
        try:
            async with producer(self._bootstrap, transactional_id=f"tidemark-report-{partition}") as client, client.transaction():
                await asyncio.gather(*[await client.send(RECEIPTS, value, key, partition=partition) for key, value in records])
        except KafkaError as error:
            raise unreachable(self._bootstrap, error) from error
