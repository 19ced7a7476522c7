"""Contestant: a bare aiokafka loop that decodes, sums per customer and minute in a dict, and commits.

Nothing durable, no ids: the client's ceiling. When it is asked to end it prints what it summed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from typing import Any

from aiokafka import AIOKafkaConsumer

from tests.benchmarks.sums import Sums, add, say

COMMIT_S = 0.5


async def main() -> None:
    """Read from the start until asked to end; commit every half second."""
    consumer = AIOKafkaConsumer(
        os.environ["BENCH_TOPIC"],
        bootstrap_servers=os.environ["BENCH_BOOTSTRAP"],
        group_id=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    sums: Sums = defaultdict(int)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    next_commit_s = time.monotonic() + COMMIT_S
    while not ended.is_set():
        fetched: dict[Any, list[Any]] = await consumer.getmany(timeout_ms=200)
        for records in fetched.values():
            add(sums, [record.value for record in records])
        if time.monotonic() >= next_commit_s:
            await consumer.commit()
            next_commit_s = time.monotonic() + COMMIT_S
    say(sums)
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
