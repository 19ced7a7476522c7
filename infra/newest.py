"""The newest receipt of every cell and window, read from `usage.receipts` itself: for verbs that act on what stands, not on what is archived."""

from __future__ import annotations

import asyncio

from infra import topics_admin
from infra.kafka_io import reader
from topics.catalog import RECEIPTS
from topics.receipt import Receipt, decode_receipt


async def newest_receipts(bootstrap: str) -> dict[str, Receipt]:
    """The last record of every key, tombstones left out. Raises Unreachable, MalformedRecord."""
    partitions = await topics_admin.partition_count(bootstrap, RECEIPTS)
    found = await asyncio.gather(*(_newest_on(bootstrap, partition) for partition in range(partitions)))
    return {key.decode(): receipt for part in found for key, receipt in part.items() if receipt is not None}


async def _newest_on(bootstrap: str, partition: int) -> dict[bytes, Receipt | None]:
    newest: dict[bytes, Receipt | None] = {}
    async for record in reader(bootstrap, RECEIPTS, partition, 0):
        newest[record.key] = None if record.value is None else decode_receipt(record.value, f"{RECEIPTS}-{partition}@{record.offset}")
    return newest
