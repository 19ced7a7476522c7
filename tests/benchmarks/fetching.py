"""What a record costs from a fetched answer to a batch, on one core: aiokafka's own records and our columns, in one run.

    python -m tests.benchmarks.fetching --records 400000

Kafka's bytes are in memory, uncompressed, in record batches of a producer's usual size and of a busy one's; no broker takes part, and
checksums are checked by both. Microseconds of CPU a record, the best of several rounds.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from infra.delivery_columns import MAX_RECORDS, in_columns
from infra.delivery_headers import MendingRecords
from infra.delivery_thread import Session, batch_of, batches_of
from infra.faust_app import PARTITION_FETCH_BYTES
from tests.benchmarks.load import events

TP = TopicPartition("usage.events", 0)
SIZES = {"16 KiB": 16 * 1024, "1 MB": 1_000_000}
"""Bytes of a record batch: Kafka's default of a producer, and what a busy producer with some linger reaches."""
CRC, COVERED_FROM, LOW_ATTRIBUTES, LOG_APPEND_TIME_BIT = 17, 21, 22, 0x08
"""Fields of a record batch's head: a broker sets its own time on `usage.events`, and the checksum anew."""
ROUNDS = 5


def answers(records: int, batch_bytes: int) -> list[tuple[int, bytes]]:
    """Fetch answers (first offset, bytes) of a log of usage events."""
    found: list[tuple[int, bytes]] = []
    answer, first, offset = bytearray(), 0, 0
    source = events(records, 1, time.time())
    left = next(source, None)
    while left is not None:
        builder, count = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, batch_bytes), 0
        while left is not None and builder.append(count, 1_700_000_000_000 + offset + count, left[0].encode(), left[1], []) is not None:
            count += 1
            left = next(source, None)
        built = bytearray(builder.build())
        built[:8] = offset.to_bytes(8, "big")
        built[LOW_ATTRIBUTES] |= LOG_APPEND_TIME_BIT
        built[CRC:COVERED_FROM] = calc_crc32c(bytes(built[COVERED_FROM:])).to_bytes(4, "big")
        if len(answer) + len(built) > PARTITION_FETCH_BYTES:
            found.append((first, bytes(answer)))
            answer, first = bytearray(), offset
        answer += built
        offset += count
    return [*found, (first, bytes(answer))]


def fetched(first: int, data: bytes) -> FetchResult:
    """An answer as aiokafka holds it before anybody read of it."""
    state = SimpleNamespace(paused=False, position=first, consumed_to=lambda _position: None)
    assignment = SimpleNamespace(active=True, state_value=lambda _tp: state)
    records = PartitionRecords(TP, MendingRecords(data), [], first, None, None, True, READ_COMMITTED)
    return FetchResult(TP, assignment=assignment, partition_records=records, backoff=0)


def ordinary(first: int, data: bytes) -> int:
    """aiokafka's ConsumerRecords, as any consumer gets them."""
    return len(fetched(first, data).getall())


def undressed(first: int, data: bytes) -> int:
    """aiokafka's records without their last dress, made into a batch: what delivery did before."""
    result = fetched(first, data)
    result._partition_records._consumer_record = lambda _tp, record: record
    found = result.getall()
    return len(batch_of(TP, Session(1, first), found, first + len(found)))


def columns(first: int, data: bytes) -> int:
    """Delivery's batches."""
    result = fetched(first, data)
    in_columns(SimpleNamespace(_records={TP: result}), TP)
    found: list[Any] = result.getall()
    return sum(len(batch) for batch in batches_of(TP, Session(1, first), found, found[-1].next_offset))


def us_a_record(read: Callable[[int, bytes], int], log: list[tuple[int, bytes]], records: int) -> float:
    """CPU microseconds, the best of the rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        begun_s = time.process_time()
        if sum(read(first, data) for first, data in log) != records:
            raise RuntimeError(f"{read.__name__} lost records")
        best = min(best, time.process_time() - begun_s)
    return best / records * 1e6


def main() -> None:
    """Build the logs, read them, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fetching", description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    records: int = parser.parse_args().records
    print(f"{records:,} usage events, at most {MAX_RECORDS:,} a batch; µs of CPU a record")
    for name, size in SIZES.items():
        log = answers(records, size)
        found = {read.__name__: us_a_record(read, log, records) for read in (ordinary, undressed, columns)}
        print(f"record batches of {name:7} " + "  ".join(f"{read} {us:.2f}" for read, us in found.items()), end="  ")
        print(f"ordinary : columns {found['ordinary'] / found['columns']:.1f} ×", flush=True)


if __name__ == "__main__":
    main()
