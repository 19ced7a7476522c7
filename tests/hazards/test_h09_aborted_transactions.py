"""H9, law 7: a producer aborts a transaction; a consumer with Faust's defaults reads its records all the same."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from infra.delivery_columns import ColumnRecords, Columns
from infra.delivery_headers import MendingRecords
from infra.delivery_thread import Session, batches_of
from tests.core.meterlog import NOW_MS, Disk, Log, customers, fresh, meters_record, usage
from tests.hazards.apps import built_app
from tests.hazards.fold import clean
from topics.catalog import EVENTS
from topics.instants import format_us
from topics.meters import Meter

ATTRIBUTES, CONTROL_BIT = 22, 0x20
"""Byte of a record batch (format 2) with its low attributes, and the bit that makes it a transaction's marker."""
NAME = customers(1)[0]
READ_COMMITTED = 1


async def isolation_level() -> str:
    """What the consumer of a worker would ask the broker for."""
    app = built_app()
    consumer = app.consumer.thread._create_worker_consumer(app.transport)
    consumer._closed = True  # it never connected
    level: str = consumer._isolation_level
    return level


class Broker:
    """One partition's log as bytes of Kafka's own format, with transactions of several producers."""

    def __init__(self) -> None:
        self.data, self.end = b"", 0
        self.open: dict[int, int] = {}
        self.aborted: list[tuple[int, int]] = []

    def append(self, records: list[tuple[bytes | None, bytes]], producer: int = -1) -> None:
        """A batch of records (key, value), of a transaction where a producer is named."""
        if producer >= 0:
            self.open.setdefault(producer, self.end)
        self._batch(records, producer, 0)

    def finish(self, producer: int, *, commit: bool) -> None:
        """The transaction's marker."""
        first = self.open.pop(producer)
        if not commit:
            self.aborted.append((producer, first))
        self._batch([(b"\0\0" + (b"\0\1" if commit else b"\0\0"), b"\0" * 6)], producer, CONTROL_BIT)

    def _batch(self, records: list[tuple[bytes | None, bytes]], producer: int, bits: int) -> None:
        whose = {"is_transactional": int(producer >= 0), "producer_id": producer, "producer_epoch": 0, "base_sequence": 0}
        builder = DefaultRecordBatchBuilder(magic=2, compression_type=0, batch_size=1 << 20, **whose)
        for number, (key, value) in enumerate(records):
            builder.append(offset=number, timestamp=NOW_MS + self.end + number, key=key, value=value, headers=[])
        built = bytearray(builder.build())
        built[:8] = self.end.to_bytes(8, "big")
        built[ATTRIBUTES] |= bits
        self.data += bytes(built)
        self.end += len(records)

    def fetch(self, start: int, level: str) -> tuple[list[Columns], int]:
        """Delivery's reading of a fetch from `start`: its columns and the position after them."""
        aborted = self.aborted if level == "read_committed" else None
        wanted = READ_COMMITTED if level == "read_committed" else 0
        found = ColumnRecords(TopicPartition(EVENTS, 0), MendingRecords(self.data), aborted, start, None, None, False, wanted)
        return list(found), found.next_fetch_offset


def _story(rng: random.Random) -> tuple[Broker, int]:
    """Transactions of three producers, some of which abort, between plain records; how many usage events are committed."""
    log, broker, committed = Log(), Broker(), 0
    log.add(*meters_record((Meter(slug="calls", event_type="api.request", window_s=60),)), NOW_MS)
    broker.append([(log.records[0].key, log.records[0].value or b"")])
    waiting: dict[int, int] = {}
    for number in range(40):
        producer = rng.choice((-1, 1, 2, 3))
        records = [(NAME.encode(), usage(NAME, f"e{number}-{at}", format_us(NOW_MS * 1000))) for at in range(rng.randrange(1, 5))]
        broker.append([*records], producer)
        if producer < 0:
            committed += len(records)
            continue
        waiting[producer] = waiting.get(producer, 0) + len(records)
        if rng.random() < 0.5:
            commit = rng.random() < 0.5
            broker.finish(producer, commit=commit)
            held = waiting.pop(producer)
            committed += held if commit else 0
    for producer, count in waiting.items():
        commit = rng.random() < 0.5
        broker.finish(producer, commit=commit)
        committed += count if commit else 0
    return broker, committed


def seeded(seed: int) -> list[str]:
    """Fetched with the isolation that the worker's consumer asks for, and folded: exactly the committed events count."""
    rng = random.Random(seed)
    broker, committed = _story(rng)
    level = asyncio.run(isolation_level())
    partition = fresh(Disk(), rng)
    found, position = broker.fetch(0, level)
    for batch in batches_of((EVENTS, 0), Session(1, 0), found, position):
        partition.apply(batch)
    counters = partition.counters
    if (counters.counted, counters.rejected, counters.residual, counters.next_offset) == (committed, 0, 0, broker.end):
        return []
    fate = f"{counters.counted} counted and {counters.rejected} rejected to offset {counters.next_offset} of {broker.end}"
    return [f"{fate}, {committed} were committed"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_h09_aborted_usage_is_not_billed() -> None:
    """Of interleaved transactions that commit and abort, exactly the committed events count, and markers are passed as skipped."""
    assert not clean(seeded, 30)
