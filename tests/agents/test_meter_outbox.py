"""The meter's writer on a real Kafka: every record once, in its partition, whatever its size; a refusal is said and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.admin import NewTopic

from infra import kafka_io
from infra.embedded.testing import kafka_broker, unique
from infra.outbox import KafkaOutbox, NotAcknowledged
from streams.sends import Send

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real broker."""
    with kafka_broker(tmp_path_factory.mktemp("outbox")) as broker:
        yield broker.bootstrap


async def topic_of(bootstrap: str) -> str:
    """A new topic of two partitions that takes what usage.state takes."""
    name = unique("outbox")
    async with kafka_io.admin(bootstrap) as admin:
        await admin.create_topics([NewTopic(name, 2, 1, topic_configs={"max.message.bytes": str(2 * MIB)})])
    return name


async def test_small_and_large_records_arrive_once_and_whole(bootstrap: str) -> None:
    """Thousands of small records, tombstones, headers and segments near the limit arrive once each, in their partition and in order."""
    topic = await topic_of(bootstrap)
    sends = [Send(topic, number % 2, b"%d" % number, b"v" * (number % 300), (("h", b"%d" % number), ("h", b"2"))) for number in range(5000)]
    sends += [Send(topic, 1, b"segment", b"s" * (2 * MIB - 4096)), Send(topic, 1, b"gone", None), Send(topic, 0, None, b"mark")]
    outbox = KafkaOutbox(bootstrap, "test")
    await outbox.start()
    try:
        await outbox.send_all([])
        await outbox.send_all(sends)
        await outbox.send_all(sends[-1:])
    finally:
        await outbox.stop()
    for partition in range(2):
        found = [Send(topic, partition, r.key, r.value, tuple(r.headers)) async for r in kafka_io.reader(bootstrap, topic, partition, 0)]
        assert found == [send for send in [*sends, sends[-1]] if send.partition == partition]


async def test_a_refused_record_fails_the_call(bootstrap: str) -> None:
    """A record that the topic does not take raises, so that its flush is never believed; a closed writer raises as well."""
    topic = await topic_of(bootstrap)
    outbox = KafkaOutbox(bootstrap, "test")
    await outbox.start()
    try:
        with pytest.raises(NotAcknowledged, match=topic):
            await outbox.send_all([Send(topic, 0, b"small", b"v"), Send(topic, 1, b"large", b"v" * (3 * MIB))])
    finally:
        await outbox.stop()
    with pytest.raises(NotAcknowledged, match="closed"):
        await outbox.send_all([Send(topic, 0, b"small", b"v")])


async def test_one_call_after_another_waits_for_the_broker(bootstrap: str) -> None:
    """When a call has returned, its records are readable: the next step of a flush may rely on them."""
    topic = await topic_of(bootstrap)
    outbox = KafkaOutbox(bootstrap, "test")
    await outbox.start()
    try:
        for number in range(5):
            await outbox.send_all([Send(topic, partition, b"%d" % number, b"v") for partition in range(2)])
            assert await kafka_io.end_offsets(bootstrap, topic, range(2)) == {0: number + 1, 1: number + 1}
        await asyncio.gather(*(outbox.send_all([Send(topic, 0, b"at once", b"v")]) for _ in range(20)))
        assert (await kafka_io.end_offsets(bootstrap, topic, [0]))[0] == 25
    finally:
        await outbox.stop()
