"""The log on Kafka, as repairs need it (`applying.Log`).

Numbered effects of `publish`: 1 each record is acknowledged on its customer's home partition, in order. A crash between two leaves the first ones,
which act by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from infra import topics_admin
from infra.control import ControlEvent
from infra.kafka_io import begin_offsets, producer, reader
from infra.reconciling.applying import Wanted
from sinks.clickhouse.rows import RawRecord
from topics.batch import Headers
from topics.catalog import EVENTS, WINDOWS
from topics.errors import LostLog
from topics.home import home_of


class KafkaLog:
    """Every call opens a connection and closes it: repairs are few. `generations` tells the present one of each partition (by the
    archive's marks): the log of an earlier one is gone."""

    def __init__(self, bootstrap: str, generations: Callable[[], dict[int, int]]) -> None:
        self._bootstrap = bootstrap
        self._generations = generations
        self._partitions = 0

    def home(self, customer: str) -> int:
        """See Log."""
        if not self._partitions:
            self._partitions = asyncio.run(topics_admin.partition_count(self._bootstrap, EVENTS))
        return home_of(customer.encode(), self._partitions)

    def events(self, partition: int, generation: int, first: int, last: int, wanted: Wanted) -> list[RawRecord]:
        """See Log."""
        if generation != self._generations().get(partition, 0):
            raise LostLog(f"generation {generation} of {EVENTS} {partition} is a log that is gone")
        return asyncio.run(self._events(partition, first, last, wanted))

    async def _events(self, partition: int, first: int, last: int, wanted: Wanted) -> list[RawRecord]:
        found: list[RawRecord] = []
        begin = (await begin_offsets(self._bootstrap, EVENTS, [partition]))[partition]
        if begin > first:
            raise LostLog(f"{EVENTS} {partition} begins at {begin}: retention has removed what came before")
        async with aclosing(reader(self._bootstrap, EVENTS, partition, first)) as records:
            async for record in records:
                if record.offset > last:
                    break
                if wanted(record.offset, record.key):
                    found.append(RawRecord(record.offset, record.timestamp, record.key, record.value, tuple(record.headers)))
        return found

    def windows(self, partition: int, key: bytes) -> list[tuple[int, bytes, Headers]]:
        """See Log."""
        return asyncio.run(self._windows(partition, key))

    async def _windows(self, partition: int, key: bytes) -> list[tuple[int, bytes, Headers]]:
        records = reader(self._bootstrap, WINDOWS, partition, 0)
        return [(record.offset, record.value, tuple(record.headers)) async for record in records if record.key == key and record.value is not None]

    def publish(self, events: Sequence[ControlEvent]) -> None:
        """See Log."""
        for event in events:
            self.home(event.key.decode())
        asyncio.run(self._publish(events))

    async def _publish(self, events: Sequence[ControlEvent]) -> None:
        async with producer(self._bootstrap) as client:
            for event in events:
                await client.send_and_wait(EVENTS, event.value, event.key, partition=home_of(event.key, self._partitions))
