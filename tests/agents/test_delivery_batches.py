"""What delivery hands over: whole batches of committed records, each epoch starting exactly where the app says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from infra import kafka_io
from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster  # noqa: F401 - fixtures
from tests.agents.delivery_harness import Ledger, Miniature, Running, exact, make_topic, send, until, worker

pytestmark = [pytest.mark.system, *FAUST_LEAVES]


async def read_to(running: Running, tp: tuple[str, int], offset: int) -> None:
    """Wait until everything below `offset` was handed over."""
    await until(lambda: (running.flow.position(tp) or 0) >= offset, f"{tp} handed over to {offset}")


async def test_whole_batches_in_order(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """Thousands of records arrive in a few batches, in order, with their keys, bodies, headers and times, and are committed."""
    topic = await make_topic(bootstrap, config={"message.timestamp.type": "LogAppendTime"})
    async with kafka_io.producer(bootstrap) as client:
        for number in range(5_000):
            await client.send(topic, b"v%d" % number, key=None if number % 5 == 0 else b"k%d" % number, partition=1, headers=[("n", b"%d" % number)])
        await client.send(topic, None, key=b"tombstone", partition=1)
        await client.flush()
    async with worker(bootstrap, topic, tmp_path) as running:
        await read_to(running, (topic, 1), 5_001)
        batches = running.mini.batches
        await until(lambda: running.mini.ledger.next_offset(1) == 5_001, "flushed")
        await asyncio.sleep(1.5)  # one commit interval
        assert await running.flow.committed((topic, 1)) == 5_001
        assert await running.flow.committed((topic, 0)) is None
        assert await running.flow.last_stable_offset((topic, 1)) == 5_001
        assert await running.flow.beginning_offset((topic, 1)) == 0
        assert running.flow.assigned() == {(topic, p) for p in range(4)}
    assert running.mini.offsets(1) == list(range(5_001))
    assert len(batches) < 50
    assert [b.start_offset for b in batches] == [0, *(b.next_offset for b in batches[:-1])]
    columns = [row for b in batches for row in zip(b.offsets, b.keys, b.values, b.headers, b.timestamps_ms, strict=True)]
    for offset, key, value, headers, stamp_ms in columns[:-1]:
        assert value == b"v%d" % offset
        assert key == (None if offset % 5 == 0 else b"k%d" % offset)
        assert list(headers) == [("n", b"%d" % offset)]
        assert stamp_ms > 1_600_000_000_000
    assert columns[-1][1:3] == (b"tombstone", None)


async def test_a_restart_starts_where_the_app_says(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """The group's committed offset is not used: the next run reads from what start_offsets answers, below or above it."""
    topic = await make_topic(bootstrap)
    await send(bootstrap, topic, 100, partition=0)
    async with worker(bootstrap, topic, tmp_path) as running:
        await read_to(running, (topic, 0), 100)
        assert await running.end() == 0
    for start in (40, 100):
        # The group has 100 committed by now; the app says where, nobody else.
        def begin(mini: Miniature, start: int = start) -> None:
            mini.start_at = {(topic, 0): start}

        async with worker(bootstrap, topic, tmp_path, set_up=begin) as running:
            await read_to(running, (topic, 0), 100)
            await send(bootstrap, topic, 1, partition=3)
            await until(lambda: len(running.mini.offsets(3)) > 0, "another partition is read")
            assert running.mini.offsets(0) == list(range(start, 100))


async def test_aborted_records_are_invisible_and_markers_are_passed(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """100 aborted and 100 committed are 100, and a log that ends in a marker is read to its end (H9, H19)."""
    topic = await make_topic(bootstrap)
    async with worker(bootstrap, topic, tmp_path) as running, kafka_io.producer(bootstrap, transactional_id=f"t-{topic}") as client:
        await until(lambda: len(running.flow.assigned()) == 4, "assigned")
        for commit in (True, False):
            await client.begin_transaction()
            for number in range(100):
                await client.send(topic, b"%d" % number, partition=2)
            await (client.commit_transaction() if commit else client.abort_transaction())
        # 0..99, a marker at 100, 101..200 aborted, a marker at 201
        end = 202
        await read_to(running, (topic, 2), end)
        assert await kafka_io.end_offsets(bootstrap, topic, [2]) == {2: end}
        assert running.mini.offsets(2) == list(range(100))
        assert [b.start_offset for b in running.mini.batches] == [0, *(b.next_offset for b in running.mini.batches[:-1])]
        await until(lambda: running.mini.ledger.next_offset(2) == end, "the position behind the marker becomes durable")


async def test_an_open_transaction_ends_the_log(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """While a transaction is open its records and all after them wait, the last stable offset stands before it; then all come."""
    topic = await make_topic(bootstrap)
    async with worker(bootstrap, topic, tmp_path) as running, kafka_io.producer(bootstrap, transactional_id=f"t-{topic}") as client:
        await send(bootstrap, topic, 10, partition=0)
        await client.begin_transaction()
        await client.send_and_wait(topic, b"open", partition=0)
        await send(bootstrap, topic, 5, partition=0)
        await read_to(running, (topic, 0), 10)
        assert await running.flow.last_stable_offset((topic, 0)) == 10
        assert running.mini.offsets(0) == list(range(10))
        await client.commit_transaction()
        await read_to(running, (topic, 0), 17)
        assert running.mini.offsets(0) == list(range(16))


async def test_a_start_the_log_does_not_hold_is_reported(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """A start below the log's first offset or beyond its end is reported with the range and not read; the others are."""
    topic = await make_topic(bootstrap)
    await send(bootstrap, topic, 400)
    async with kafka_io.admin(bootstrap) as client:
        await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=50)})

    def begin(mini: Miniature) -> None:
        mini.start_at = {(topic, 0): 0, (topic, 1): 1_000, (topic, 2): 0, (topic, 3): 103}

    async with kafka_io.producer(bootstrap, transactional_id=f"t-{topic}") as client:
        await client.begin_transaction()  # 103 exists in partition 3, but no committed reader can have been there
        for _ in range(5):
            await client.send_and_wait(topic, b"open", partition=3)
        async with worker(bootstrap, topic, tmp_path, set_up=begin) as running:
            await read_to(running, (topic, 2), 100)
            assert sorted(running.mini.lost) == [((topic, 0), 0, 50, 100), ((topic, 1), 1_000, 0, 100), ((topic, 3), 103, 0, 100)]
            assert running.flow.assigned() == {(topic, 2)}
            assert {b.partition for b in running.mini.batches} == {2}
        await client.abort_transaction()


async def test_retention_that_overtakes_a_reader_is_reported(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """When the log loses what is to be fetched next, the worker is told the range instead of being reset."""
    topic = await make_topic(bootstrap, partitions=1, config={"max.message.bytes": "1048576"})
    # Eight fit into an answer, and some five answers are on their way: far more than that must be left in the log, however quick the reader is.
    await send(bootstrap, topic, 100, partition=0, size=500_000)
    async with worker(bootstrap, topic, tmp_path) as running:
        running.mini.hold.clear()  # the channel fills, the fetch stops after a few 4 MiB answers
        await until(lambda: (running.flow.position((topic, 0)) or 0) > 0, "the first batch is handed over")
        async with kafka_io.admin(bootstrap) as client:
            await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=-1)})
        running.mini.hold.set()
        await until(lambda: bool(running.mini.lost), "reported")
        (tp, wanted, begin, end) = running.mini.lost[0]
        assert (tp, begin, end) == ((topic, 0), 100, 100)
        assert wanted == running.mini.offsets(0)[-1] + 1 < 100


async def test_a_full_channel_holds_the_fetch(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """While the app takes nothing, two batches wait in the channel and progress stands still; then everything arrives."""
    topic = await make_topic(bootstrap, partitions=1, config={"max.message.bytes": "1048576"})
    ledger = Ledger()
    await send(bootstrap, topic, 60, partition=0, size=400_000)
    async with worker(bootstrap, topic, tmp_path, ledger=ledger) as running:
        running.mini.hold.clear()
        await until(lambda: (running.flow.position((topic, 0)) or 0) > 0, "the first batch is handed over")
        await asyncio.sleep(1.5)
        stuck, at = running.flow.progress, running.flow.position((topic, 0))
        await asyncio.sleep(2)
        assert (running.flow.progress, running.flow.position((topic, 0))) == (stuck, at)
        assert at is not None
        assert at < 60
        running.mini.hold.set()
        await read_to(running, (topic, 0), 60)
    assert not list(exact(ledger, {0: 60}))
