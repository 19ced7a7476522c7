"""Contestant: a bare confluent-kafka (librdkafka) loop that decodes, sums per customer and minute in a dict, and commits.

Nothing durable, no ids. librdkafka fetches in threads of its own, on the same core as the loop.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict

from confluent_kafka import Consumer

from tests.benchmarks.sums import Sums, add, say

COMMIT_S = 0.5
AT_ONCE = 10_000


def main() -> None:
    """Read from the start until asked to end; commit every half second."""
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BENCH_BOOTSTRAP"],
            "group.id": os.environ["BENCH_GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            # What `commit` says is done is what `consume` has handed over, which is the default, and summed by then, since it is one thread.
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 5,  # its default of a second starves a loop that empties the queue in less
            "queued.max.messages.kbytes": 262_144,
        }
    )
    consumer.subscribe([os.environ["BENCH_TOPIC"]])
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    sums: Sums = defaultdict(int)
    next_commit_s = time.monotonic() + COMMIT_S
    has_more = False
    while not ended.is_set():
        messages = consumer.consume(AT_ONCE, 0.2)
        add(sums, [message.value() for message in messages if message.error() is None])
        has_more = has_more or bool(messages)
        if has_more and time.monotonic() >= next_commit_s:
            consumer.commit(asynchronous=False)
            has_more, next_commit_s = False, time.monotonic() + COMMIT_S
    say(sums)
    consumer.close()


if __name__ == "__main__":
    main()
