"""The archive's reader of usage.events against a real broker: committed records only, up to the mark and no further, past markers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from infra.delivery_headers import read_any_header_name
from infra.delivery_raw import fetched
from infra.embedded.ports import free_port
from infra.embedded.testing import kafka_broker
from infra.kafka_io import admin, producer
from sinks.clickhouse.raw_log import KafkaRawLog
from topics.catalog import EVENTS
from topics.errors import LostLog, Unreachable


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One broker for the module."""
    with kafka_broker(tmp_path_factory.mktemp("broker")) as cluster:
        yield cluster.bootstrap


@pytest.fixture(params=[False, True], ids=["plain", "columns"])
async def raw_log(bootstrap: str, request: pytest.FixtureRequest) -> AsyncIterator[KafkaRawLog]:
    """A reader over a fresh usage.events of three partitions, alone and as the worker wires it."""
    async with admin(bootstrap) as client:
        if EVENTS in await client.list_topics():
            await client.delete_topics([EVENTS])
            while EVENTS in await client.list_topics():
                continue
        await client.create_topics([NewTopic(EVENTS, 3, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})])
    if request.param:
        read_any_header_name()
    reader = KafkaRawLog(bootstrap, fetched) if request.param else KafkaRawLog(bootstrap)
    yield reader
    await reader.close()


async def send(client: AIOKafkaProducer, count: int, partition: int = 0, prefix: str = "v") -> None:
    """Numbered records."""
    futures = [await client.send(EVENTS, b"%s%d" % (prefix.encode(), n), b"k", partition, headers=[("h", b"\xff")]) for n in range(count)]
    for future in futures:
        await future


async def read_all(reader: KafkaRawLog, partition: int, start: int, end: int, limit: int = 100) -> list[tuple[int, bytes | None]]:
    """Everything of [start, end), in as many reads as it takes."""
    found: list[tuple[int, bytes | None]] = []
    while start < end:
        chunk = await reader.read(partition, start, end, limit)
        assert all(start <= record.offset < end for record in chunk.records)
        assert len(chunk.records) <= limit
        found += [(record.offset, record.value) for record in chunk.records]
        start = chunk.next_offset
    return found


async def test_reads_exactly_the_wanted_stretch(bootstrap: str, raw_log: KafkaRawLog) -> None:
    """Each record of a stretch comes once, in order and never beyond its end, however it is cut, also when several partitions take turns."""
    async with producer(bootstrap) as client:
        for partition in range(3):
            await send(client, 700, partition, f"p{partition}-")
    places = dict.fromkeys(range(3), 0)
    found: dict[int, list[bytes | None]] = {0: [], 1: [], 2: []}
    for end in (1, 2, 90, 91, 350, 699, 700):
        for partition in (2, 0, 1):
            found[partition] += [value for _, value in await read_all(raw_log, partition, places[partition], end, 37)]
            places[partition] = end
    assert found == {p: [b"p%d-%d" % (p, n) for n in range(700)] for p in range(3)}
    chunk = await raw_log.read(1, 5, 6, 10)  # a jump back, as after a check of the log
    while not chunk.records:
        chunk = await raw_log.read(1, 5, 6, 10)
    record = chunk.records[0]
    assert (record.offset, record.key, record.value, record.headers) == (5, b"k", b"p1-5", (("h", b"\xff"),))
    raw_log.forget([0, 1])
    assert [offset for offset, _ in await read_all(raw_log, 2, 690, 700)] == list(range(690, 700))
    assert len(await read_all(raw_log, 0, 0, 700)) == 700


async def test_aborted_records_are_not_read_and_markers_are_passed(bootstrap: str, raw_log: KafkaRawLog) -> None:
    """Of a hundred aborted and a hundred committed records a hundred are read, and the end is reached although the log ends in markers."""
    async with producer(bootstrap, transactional_id="raw-log") as client:
        await client.begin_transaction()
        await send(client, 100, prefix="gone")
        await client.abort_transaction()
        async with client.transaction():
            await send(client, 100, prefix="kept")
        await client.begin_transaction()
        await send(client, 3, prefix="gone")
        await client.abort_transaction()
    begin, end = (await raw_log.bounds([(EVENTS, 0)]))[(EVENTS, 0)]
    assert (begin, end) == (0, 206)
    found = await read_all(raw_log, 0, 0, end)
    assert [value for _, value in found] == [b"kept%d" % n for n in range(100)]


async def test_what_retention_removed_is_lost_not_skipped(bootstrap: str, raw_log: KafkaRawLog) -> None:
    """Reading from an offset that the log no longer has says so, and reading from its first one goes on."""
    async with producer(bootstrap) as client:
        await send(client, 50)
    async with admin(bootstrap) as client:
        await client.delete_records({TopicPartition(EVENTS, 0): RecordsToDelete(before_offset=20)})
    assert (await raw_log.bounds([(EVENTS, 0)]))[(EVENTS, 0)] == (20, 50)
    with pytest.raises(LostLog, match="no longer has offset 3"):
        await read_all(raw_log, 0, 3, 50)
    assert [offset for offset, _ in await read_all(raw_log, 0, 20, 50)] == list(range(20, 50))


async def test_no_broker_is_unreachable() -> None:
    """Without a broker a read says which address does not answer."""
    reader = KafkaRawLog(f"127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match="does not answer"):
        await reader.bounds([(EVENTS, 0)])
    with pytest.raises(Unreachable, match="does not answer"):
        await reader.read(0, 0, 1, 1)
    await reader.close()
