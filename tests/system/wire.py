"""Real producers and a real consumer: aiokafka, and librdkafka with its own default partitioner."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import Producer

from tests.oracle.reading import Stored
from tests.system.traffic import Message

EVENTS = "usage.events"
GUARD_S = 120.0


class Acked(NamedTuple):
    """A record that the broker acknowledged."""

    message: Message
    partition: int
    offset: int


async def _started(bootstrap: str, **options: Any) -> AIOKafkaProducer:
    """A producer that is connected; a broker that was killed a moment ago is waited for."""
    deadline_s = asyncio.get_running_loop().time() + GUARD_S
    while True:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **options)
        try:
            await producer.start()
        except KafkaConnectionError:
            await producer.stop()
            assert asyncio.get_running_loop().time() < deadline_s, "Kafka does not come back"
            await asyncio.sleep(0.2)
        else:
            return producer


def send_aiokafka(bootstrap: str, messages: Iterable[Message]) -> list[Acked]:
    """Sends with an idempotent aiokafka producer, whose partitioner is Kafka's own; returns when all are acknowledged."""

    async def run() -> list[Acked]:
        producer = await _started(bootstrap, enable_idempotence=True, acks="all", request_timeout_ms=120_000, linger_ms=5)
        try:
            futures = [(each, await producer.send(EVENTS, each.value, each.key, each.partition, headers=list(each.headers))) for each in messages]
            done = [(each, await asyncio.wait_for(future, GUARD_S)) for each, future in futures]
        finally:
            await producer.stop()
        return [Acked(each, found.partition, found.offset) for each, found in done]

    return asyncio.run(run())


def send_librdkafka(bootstrap: str, messages: Iterable[Message]) -> list[Acked]:
    """Sends with librdkafka as it comes: keys are placed by CRC32, not where Kafka's own clients put them."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0, "message.max.bytes": 1_048_576})
    acked: list[Acked] = []
    failed: list[str] = []

    def answered(message: Message, error: Any, record: Any) -> None:
        if error is None:
            acked.append(Acked(message, record.partition(), record.offset()))
        else:
            failed.append(str(error))

    for each in messages:
        options: dict[str, Any] = {} if each.partition is None else {"partition": each.partition}
        producer.produce(
            EVENTS, value=each.value, key=each.key, headers=list(each.headers), on_delivery=lambda e, r, m=each: answered(m, e, r), **options
        )
        producer.poll(0)
    left = producer.flush(GUARD_S)
    assert not left and not failed, f"{left} records were not acknowledged, {failed[:3]}"
    return acked


def send_transactions(bootstrap: str, kept: Iterable[Message], dropped: Iterable[Message]) -> list[Acked]:
    """Sends `dropped` in a transaction that is aborted, then `kept` in one that is committed."""

    async def run() -> list[Acked]:
        producer = await _started(bootstrap, transactional_id="system-test")
        try:
            await producer.begin_transaction()
            for each in dropped:
                await producer.send(EVENTS, each.value, each.key)
            await producer.flush()
            await producer.abort_transaction()
            async with producer.transaction():
                futures = [(each, await producer.send(EVENTS, each.value, each.key)) for each in kept]
            done = [(each, await future) for each, future in futures]
        finally:
            await producer.stop()
        return [Acked(each, found.partition, found.offset) for each, found in done]

    return asyncio.run(run())


class Log(NamedTuple):
    """What a topic holds for a reader of committed records, and each partition's last stable offset."""

    records: list[Stored]
    ends: dict[int, int]


def read_log(bootstrap: str, topic: str) -> Log:
    """All committed records of a topic, each partition in its order."""

    async def run() -> Log:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="none")
        await consumer.start()
        try:
            pairs = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or await _partitions(consumer, topic))]
            consumer.assign(pairs)
            ends = await consumer.end_offsets(pairs)
            for pair, begin in (await consumer.beginning_offsets(pairs)).items():
                consumer.seek(pair, begin)
            found: list[Stored] = []
            async with asyncio.timeout(GUARD_S):
                while any([await consumer.position(pair) < ends[pair] for pair in pairs]):
                    found += [_stored(each) for batch in (await consumer.getmany(timeout_ms=200)).values() for each in batch]
        finally:
            await consumer.stop()
        order = sorted(found, key=lambda each: (each.partition, each.offset))
        return Log(order, {pair.partition: end for pair, end in ends.items()})

    return asyncio.run(run())


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The partitions of a topic that the client has not heard of yet."""
    cluster = await consumer._client.fetch_all_metadata()
    return set(cluster.partitions_for_topic(topic))


def _stored(record: Any) -> Stored:
    return Stored(record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
