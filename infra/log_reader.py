"""Looks at single records of the log beside the group's consumer, for law 3 (`streams.ports.LogReader`)."""

from __future__ import annotations

import contextlib

from infra.kafka_io import admin, reader
from streams.ports import RecordAt
from topics.batch import TopicPartition
from topics.errors import LostLog


class KafkaLogReader:
    """See `streams.ports.LogReader`; each look opens a connection and closes it, since it happens once per assignment."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._cluster_id: str | None = None

    async def cluster_id(self) -> str:
        """See `streams.ports.LogReader`. Asked once: a running process that meets another cluster loses its connections first."""
        if self._cluster_id is None:
            async with admin(self._bootstrap) as client:
                described = await client.describe_cluster()
            self._cluster_id = str(described["cluster_id"])
        return self._cluster_id

    async def record_at(self, tp: TopicPartition, offset: int) -> RecordAt | None:
        """See `streams.ports.LogReader`."""
        records = reader(self._bootstrap, tp[0], tp[1], offset)
        async with contextlib.aclosing(records):
            try:
                first = await anext(records, None)
            except LostLog:  # retention removed it while we looked
                return None
        return RecordAt(first.key, first.value, first.timestamp) if first is not None and first.offset == offset else None
