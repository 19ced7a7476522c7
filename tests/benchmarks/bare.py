"""Contestant: a bare aiokafka loop that decodes, sums per customer and minute in a dict, and commits.

Nothing durable, no ids: the client's ceiling.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer


class Data(msgspec.Struct, gc=False):
    """The event's quantity."""

    units: int


class Event(msgspec.Struct, gc=False):
    """What the sum needs of an event."""

    subject: str
    time: str
    data: Data


async def main() -> None:
    """Read from the start until killed; commit every half second."""
    decode = msgspec.json.Decoder(Event).decode
    consumer = AIOKafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=os.environ["BENCH_BOOTSTRAP"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    sums: dict[tuple[str, str], int] = defaultdict(int)
    next_commit_s = time.monotonic() + 0.5
    while True:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            add(sums, decode, records)
        if time.monotonic() >= next_commit_s:
            await consumer.commit()
            next_commit_s = time.monotonic() + 0.5


def add(sums: dict[tuple[str, str], int], decode: Callable[[bytes], Event], records: list[Any]) -> None:
    """Decode and sum one fetch of one partition."""
    for record in records:
        try:
            event = decode(record.value)
        except msgspec.ValidationError:
            continue  # the meters record that Tidemark needs
        sums[event.subject, event.time[:16]] += event.data.units


if __name__ == "__main__":
    asyncio.run(main())
