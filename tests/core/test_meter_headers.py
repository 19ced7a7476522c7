"""Header names that are no UTF-8 are read like any other record's; nobody can stop a partition with one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from infra.delivery_headers import MendingRecords

TP = TopicPartition("usage.events", 0)


def batches(rng: random.Random, codec: int, *, spoil: bool) -> bytes:
    """Three batches of records with keys, values and headers of all sizes; some header names hold bytes that no UTF-8 has."""
    out = b""
    for number in range(3):
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
        for index in range(40):
            names = [rng.choice(("trace", "ü" * rng.randrange(1, 70), "")) for _ in range(rng.randrange(4))]
            headers = [(name, rng.choice((None, b"", rng.randbytes(200)))) for name in names]
            if rng.random() < 0.2:
                headers.append(("SPOILT-é", b"x"))
            key, value = rng.choice((None, b"", rng.randbytes(9))), rng.choice((None, b"", rng.randbytes(300)))
            builder.append(index, 1000 + index, key, value, headers)
        built = bytearray(builder.build())
        built[0:8] = (number * 40).to_bytes(8, "big")
        out += bytes(built)
    # as long as before, so that no length changes; compressed batches are spoilt before they are compressed
    return out.replace("SPOILT-é".encode(), b"SPOILT-\xff\xfe") if spoil else out


def read(kind: Any, data: bytes) -> list[tuple[Any, ...]]:
    """All records, as the fetcher reads them."""
    records = PartitionRecords(TP, kind(data), [], 0, None, None, False, 1)
    return [(record.offset, record.timestamp, record.key, record.value, tuple(record.headers)) for record in records]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("codec", [0, 1])
def test_other_records_are_read_as_aiokafka_reads_them(seed: int, codec: int) -> None:
    """Without spoilt names nothing differs, compressed or not."""
    data = batches(random.Random(seed), codec, spoil=False)
    assert read(MendingRecords, data) == read(MemoryRecords, data)


@pytest.mark.parametrize("seed", range(10))
def test_a_name_that_is_no_text_does_not_stop_the_partition(seed: int) -> None:
    """aiokafka raises on it; here every record arrives, the same but for the spoilt bytes of the names."""
    data = batches(random.Random(seed), 0, spoil=True)
    with pytest.raises(UnicodeDecodeError):
        read(MemoryRecords, data)
    wanted = [
        (*record[:4], tuple((name.replace("SPOILT-é", "SPOILT-??"), held) for name, held in record[4]))
        for record in read(MemoryRecords, batches(random.Random(seed), 0, spoil=False))
    ]
    assert read(MendingRecords, data) == wanted
