"""Is a contestant's sum right? A quick number that is wrong is worth nothing, so each is asked after its run.

Those with a changelog are asked what lies in it, committed: what a successor would recover. The bare loops say what they hold.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from infra.auditing.sources import KafkaSource, table_state
from tests.benchmarks.load import PARTITIONS
from tests.benchmarks.shapes import Expected
from tests.benchmarks.sums import MARK
from topics.quantity import ONE

READ_S = 120
QUIX_WINDOW = re.compile(rb'"c[0-9]{6}"\|.{8}\|.{8}', re.DOTALL)


def meter_answer(bootstrap: str, expected: Expected, meters: int) -> str:
    """What is wrong with the meter's table, as it stands in usage.state; empty where nothing is."""
    counted = duplicate = residual = rows = 0
    scaled = 0
    for partition in range(PARTITIONS):
        state = asyncio.run(table_state(KafkaSource(bootstrap, partition), partition, PARTITIONS))
        counted += state.counters.counted
        duplicate += state.counters.duplicate
        residual += state.counters.residual
        for row in state.rows.all():
            scaled += row.scaled
            rows += row.events
    told = (
        ("events counted", counted, expected.unique_events),
        ("duplicates", duplicate, expected.events - expected.unique_events),
        ("residual", residual, 0),
        ("postings in rows", rows, expected.unique_events * meters),
        ("units", scaled / ONE, expected.unique_units),
    )
    return "; ".join(f"{what} {found}, expected {wanted}" for what, found, wanted in told if found != wanted)


def units_answer(found: int | None, expected: Expected) -> str:
    """What is wrong with the sum of a contestant that knows no ids: it must be that of all events, copies too."""
    if found is None:
        return "it did not say its sum"
    return "" if found == expected.units else f"units {found}, expected {expected.units}"


def said(log: Path) -> int | None:
    """The sum that a bare loop printed when it was asked to end."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(MARK)]
    return int(json.loads(lines[-1].removeprefix(MARK))["units"]) if lines else None


def faust_value(key: bytes, value: bytes) -> int:
    """Stock Faust's changelog: a JSON number."""
    return int(value)


def streams_value(key: bytes, value: bytes) -> int:
    """Kafka Streams' changelog of a window store of longs."""
    return int(struct.unpack(">q", value)[0])


def quix_value(key: bytes, value: bytes) -> int:
    """Quix Streams' changelog: a window's key has its start and end of eight bytes each; other keys are what it remembers of time."""
    return int(json.loads(value)) if QUIX_WINDOW.fullmatch(key) else 0


def changelog_sum(bootstrap: str, topics: list[str], value_of: Callable[[bytes, bytes], int]) -> int:
    """Σ of the last committed value of each key of changelog topics, tombstoned keys left out."""
    places = [(topic, partition) for topic in topics for partition in range(PARTITIONS)]
    return sum(sum(value_of(key, value) for key, value in latest(bootstrap, *place).items()) for place in places)


def latest(bootstrap: str, topic: str, partition: int) -> dict[bytes, bytes]:
    """The last committed value of each key of a partition. Raises RuntimeError where it cannot be read."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-answers",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 5,
        }
    )
    found: dict[bytes, bytes] = {}
    deadline_s = time.monotonic() + READ_S
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        # `consume` waits until it has that many or the time is over, also at the end of the partition.
        while not _take(consumer.consume(5_000, 0.1), found):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{topic} {partition}: not read within {READ_S} s")
    finally:
        consumer.close()
    return found


def _take(messages: Iterable[Any], found: dict[bytes, bytes]) -> bool:
    """Put messages into `found`; whether the partition's end was among them."""
    for message in messages:
        if (error := message.error()) is not None:
            if error.name() == "_PARTITION_EOF":
                return True
            raise RuntimeError(f"{message.topic()} {message.partition()}: {error}")
        if message.value() is None:
            found.pop(message.key() or b"", None)
        else:
            found[message.key() or b""] = message.value()
    return False


def written_bytes(data: Path, topics: list[str]) -> int:
    """Bytes of topics' log segments in a broker's data directory. The cleaner must not have run (`contest.BROKER`), or it is less."""
    return sum(file.stat().st_size for topic in topics for file in data.glob(f"{topic}-[0-9]*/*.log"))
