"""Kafka without Faust: readers that end, offsets that mean what they say, and one sentence when no broker answers."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import ProducerFenced
from aiokafka.structs import BrokerMetadata

from infra import kafka_io
from infra.embedded.ports import free_port
from tests.agents.delivery_broker import bootstrap, cluster  # noqa: F401 - fixtures
from tests.agents.delivery_harness import make_topic
from topics.errors import Unreachable

pytestmark = pytest.mark.system


async def read(bootstrap: str, topic: str, start: int, isolation: kafka_io.Isolation = "read_committed") -> list[bytes | None]:  # noqa: F811
    """The bodies of partition 0 from `start`."""
    async with aclosing(kafka_io.reader(bootstrap, topic, 0, start, isolation)) as records:
        return [record.value async for record in records]


async def test_a_reader_ends_behind_markers_and_before_open_transactions(bootstrap: str) -> None:  # noqa: F811
    """Committed records up to the last stable offset and no more; the reader ends though no record stands at the end."""
    topic = await make_topic(bootstrap)
    assert await read(bootstrap, topic, 0) == []
    async with kafka_io.producer(bootstrap, transactional_id=f"t-{topic}") as client:
        for commit in (True, False):
            await client.begin_transaction()
            for number in range(3):
                await client.send(topic, b"%d" % number, partition=0)
            await (client.commit_transaction() if commit else client.abort_transaction())
        assert await read(bootstrap, topic, 0) == [b"0", b"1", b"2"]
        assert await read(bootstrap, topic, 2) == [b"2"]
        assert len(await read(bootstrap, topic, 0, "read_uncommitted")) == 6
        await client.begin_transaction()
        await client.send_and_wait(topic, b"open", partition=0)
        assert await kafka_io.end_offsets(bootstrap, topic, [0, 1]) == {0: 8, 1: 0}
        assert await kafka_io.end_offsets(bootstrap, topic, [0], "read_uncommitted") == {0: 9}
        assert await read(bootstrap, topic, 0) == [b"0", b"1", b"2"]
        await client.abort_transaction()


async def test_a_reader_starts_at_the_first_offset_left(bootstrap: str) -> None:  # noqa: F811
    """A start that retention has passed means the log's first offset."""
    topic = await make_topic(bootstrap)
    async with kafka_io.producer(bootstrap) as client:
        for number in range(10):
            await client.send_and_wait(topic, b"%d" % number, partition=0)
    async with kafka_io.admin(bootstrap) as client:
        await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=7)})
    assert await kafka_io.begin_offsets(bootstrap, topic, [0]) == {0: 7}
    assert await read(bootstrap, topic, 0) == [b"7", b"8", b"9"]


async def test_a_second_producer_of_a_name_fences_the_first(bootstrap: str) -> None:  # noqa: F811
    """A paused worker's transactional write fails once its successor has started, and what was committed before is then readable."""
    topic = await make_topic(bootstrap)
    async with kafka_io.producer(bootstrap, transactional_id=f"t-{topic}") as old:
        await old.begin_transaction()
        await old.send_and_wait(topic, b"old", partition=0)
        async with kafka_io.producer(bootstrap, transactional_id=f"t-{topic}") as new:
            await new.begin_transaction()
            await new.send(topic, b"new", partition=0)
            await new.commit_transaction()
        with pytest.raises(ProducerFenced):
            await old.commit_transaction()
    # A commit is answered before its markers are in the log; starting a successor waits for them.
    async with kafka_io.producer(bootstrap, transactional_id=f"t-{topic}"):
        assert await read(bootstrap, topic, 0) == [b"new"]


async def test_nobody_there_is_one_sentence() -> None:
    """A server that does not answer is `Unreachable`, exit code 3, with its address and a remedy."""
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=f"Kafka at {address} does not answer") as found:
        async with kafka_io.admin(address):
            pass
    assert found.value.exit_code == 3
    with pytest.raises(Unreachable):
        async with kafka_io.producer(address):
            pass
    with pytest.raises(Unreachable):
        await kafka_io.end_offsets(address, "events", [0])


async def test_of_several_brokers_one_that_is_there_is_asked(bootstrap: str) -> None:  # noqa: F811
    """While some brokers of a cluster are down, a question goes to one that is up, every time."""
    topic = await make_topic(bootstrap)
    async with kafka_io.admin(bootstrap) as client:
        known = client._client.cluster
        for number in (98, 99):
            known._brokers[number] = BrokerMetadata(number, "127.0.0.1", free_port(), None)
        for _ in range(10):
            assert [found["topic"] for found in await client.describe_topics([topic])] == [topic]
            for number in (98, 99):
                known._brokers[number] = BrokerMetadata(number, "127.0.0.1", free_port(), None)
