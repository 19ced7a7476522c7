"""A producer may compress with any of Kafka's codecs; which one is his choice, not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster  # noqa: F401 - fixtures
from tests.agents.delivery_harness import make_topic, until, worker

pytestmark = [pytest.mark.system, *FAUST_LEAVES]
RECORDS = 500


async def test_every_codec_of_kafka_is_read(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """Records that librdkafka compressed with gzip, snappy, lz4 and zstd arrive byte for byte, none of them stops the partition."""
    topic = await make_topic(bootstrap)
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 50})
        for number in range(RECORDS):
            producer.produce(topic, f"{codec} {number} {'x' * 100}".encode(), key=b"k", partition=0)
        assert producer.flush(30) == 0
    async with worker(bootstrap, topic, tmp_path) as running:
        await until(lambda: (running.flow.position((topic, 0)) or 0) >= RECORDS * len(codecs), "all of them handed over")
    values = [value for batch in running.mini.batches for value in batch.values]
    assert values == [f"{codec} {number} {'x' * 100}".encode() for codec in codecs for number in range(RECORDS)]
