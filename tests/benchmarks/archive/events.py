"""The events of the insert benchmark, as Kafka record batches: what a fetch response holds, nothing read out of it yet."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from topics.meters import BEGINNING_S, Meter, MeterVersion

BEGIN_MS = 1_790_812_800_000
"""2026-10-01T00:00:00Z."""
BATCH_RECORDS = 1_000
"""Records of one batch: about what a producer with linger sends at 330 bytes each."""
CUSTOMERS = 2_000
METER = Meter(slug="tokens", event_type="llm.completion", value="tokens", window_s=3_600)
DEFINITION = MeterVersion(meter=METER, valid_from_s=BEGINNING_S, offset=-1, digest="bench")
_REGIONS = ("eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-south-1")
_MODELS = ("small", "medium", "large", "xl")
_ENDPOINTS = ("chat/completions", "completions", "embeddings", "images/generations", "audio/transcriptions", "moderations", "files", "batches")


def events(partition: int, count: int, seed: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(LogAppendTime, key, value): 200 events a second in order of arrival, of customers of very different size."""
    rng = random.Random(f"{seed} {partition}")
    for number in range(count):
        at_ms = BEGIN_MS + number * 5
        customer = f"cus_{int(CUSTOMERS * rng.random() ** 3):08d}-{partition}"
        happened_ms = at_ms - int(20 + 400 * rng.random() ** 4)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(happened_ms // 1000))
        value = (
            f'{{"specversion":"1.0","id":"{uuid.UUID(int=rng.getrandbits(128), version=4)}","source":"/gateway/eu-{1 + partition % 3}",'
            f'"type":"llm.completion","subject":"{customer}","time":"{moment}.{happened_ms % 1000:03d}Z","datacontenttype":"application/json",'
            f'"data":{{"tokens":{int(rng.lognormvariate(6.2, 1.2))},"region":"{rng.choice(_REGIONS)}","model":"{rng.choice(_MODELS)}",'
            f'"endpoint":"/v1/{rng.choice(_ENDPOINTS)}","trace_id":"{rng.getrandbits(64):016x}"}}}}'
        )
        yield at_ms, customer.encode(), value.encode()


def log(partition: int, count: int, seed: int) -> list[bytes]:
    """A partition's record batches from offset 0 on."""
    made: list[bytes] = []
    found = events(partition, count, seed)
    for base in range(0, count, BATCH_RECORDS):
        size = min(BATCH_RECORDS, count - base)
        builder = DefaultRecordBatchBuilder(
            magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30
        )
        for at in range(size):
            stamp_ms, key, value = next(found)
            builder.append(at, stamp_ms, key, value, [])
        data = bytearray(builder.build())
        data[:8] = base.to_bytes(8, "big")  # the base offset lies outside of the checksum
        made.append(bytes(data))
    return made
