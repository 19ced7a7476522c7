"""Kafka came up empty beside an archive that knows better: nothing may be counted before somebody has decided.

A meter that began at 0 again would emit small totals, and the report would set them at the provider. No meter counts anything before the first
meters record of its partition, so it is enough that nobody publishes that: `apply` and an embedded stack's start ask here first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from infra import topics_admin
from infra.kafka_io import end_offsets
from infra.reading import clickhouse
from infra.replaying.archived import Reader
from sinks.clickhouse.ports import Refused
from topics.catalog import DEFINITIONS, EVENTS
from topics.errors import TidemarkError

if TYPE_CHECKING:
    from infra.settings import Settings

ARCHIVED = "SELECT kafka_partition, max((generation, next_offset)) AS reach FROM mark_log GROUP BY kafka_partition HAVING reach > (0, 0)"


class KafkaIsLost(TidemarkError):
    """The archive has counted partitions of which Kafka holds nothing."""


def lost_partitions(settings: Settings) -> list[int]:
    """Partitions that the archive knows and of which Kafka has nothing in force. ClickHouse is only asked where Kafka has partitions of that kind.

    Raises Unreachable: before the first event is counted, an archive that does not answer is no archive that knows nothing.
    """
    empty = asyncio.run(_without_definitions(settings.kafka.bootstrap))
    if not empty:
        return []
    connection = clickhouse(settings)
    try:
        return sorted(counted_partitions(connection) & empty)
    finally:
        connection.close()


def counted_partitions(reader: Reader) -> set[int]:
    """Partitions of which the archive knows that something was counted; none where there is no such database or table. Raises Unreachable."""
    try:
        return {int(row[0]) for row in reader.rows(ARCHIVED)}
    except Refused:
        return set()


async def _without_definitions(bootstrap: str) -> set[int]:
    count = await topics_admin.partition_count(bootstrap, EVENTS)
    ends = await end_offsets(bootstrap, DEFINITIONS, range(count))
    return {partition for partition, end in ends.items() if end == 0}


def refuse_where_lost(settings: Settings) -> None:
    """Raises KafkaIsLost."""
    if lost := lost_partitions(settings):
        names = ", ".join(map(str, lost))
        raise KafkaIsLost(
            f"Kafka holds nothing of partition {names}, and ClickHouse has counted events of it: Kafka's data was lost, or this is another cluster. "
            "Nothing is counted until `tidemark restore` has built it again from the archive (or clickhouse.database names an empty one)"
        )
