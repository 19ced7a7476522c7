"""What goes wrong around delivery: absent brokers, dead coordinators, apps that raise, changelogs that end in a marker."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError

from infra import kafka_io
from infra.embedded.ports import free_port
from infra.embedded.testing import KafkaCluster
from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster  # noqa: F401 - fixtures
from tests.agents.delivery_harness import Ledger, Miniature, exact, make_topic, send, until, worker
from topics.errors import Unreachable

pytestmark = [pytest.mark.system, *FAUST_LEAVES]


async def test_a_broker_that_is_away_is_waited_for(
    cluster: KafkaCluster,  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the broker was killed and came back the worker goes on by itself, exactly, and each trouble was said once."""
    topic, ledger = await make_topic(cluster.bootstrap), Ledger()
    async with worker(cluster.bootstrap, topic, tmp_path, ledger=ledger) as running:
        await send(cluster.bootstrap, topic, 400)
        await until(lambda: ledger.total() == 400, "counting")
        caplog.clear()
        cluster.nodes[0].kill()
        await asyncio.sleep(12)  # two sessions
        cluster.nodes[0].start()
        await asyncio.to_thread(cluster.wait)
        await send(cluster.bootstrap, topic, 400)
        await until(lambda: ledger.total() == 800, "counting again", 60)
        assert not running.task.done()
    assert list(exact(ledger, dict.fromkeys(range(4), 200))) == []
    said = Counter((r.name, r.msg) for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith("aiokafka"))
    assert said
    assert max(said.values()) == 1, said


async def test_an_absent_broker_at_start_ends_the_worker(tmp_path: Path) -> None:
    """A worker that finds no broker ends with exit code 1; whoever starts it waits for the broker first."""
    address = f"127.0.0.1:{free_port()}"
    async with worker(address, "events", tmp_path) as running:
        assert await asyncio.wait_for(running.task, 30) == 1
    with pytest.raises(Unreachable, match="does not answer"):
        await kafka_io.wait_until_reachable(address, 0.5)


async def test_an_app_that_raises_ends_the_worker(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """An agent that raises does not carry on after the batch it lost: the worker ends with exit code 1 and commits nothing of it."""
    topic = await make_topic(bootstrap)

    async def refuse(batch: Any) -> None:
        raise ValueError(f"cannot count {batch.tp}")

    def set_up(mini: Miniature) -> None:
        mini.handle = refuse  # type: ignore[method-assign]

    await send(bootstrap, topic, 4)
    async with worker(bootstrap, topic, tmp_path, set_up=set_up) as running:
        assert await asyncio.wait_for(running.task, 45) == 1
        assert running.mini.revokes == [], "a crashed app flushes nothing"
    assert set((await kafka_io.committed_offsets(bootstrap, f"group-{topic}", topic, range(4))).values()) == {None}


async def test_a_start_that_cannot_be_computed_ends_the_worker(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """When the app cannot say where to start, nothing is read and the worker ends with exit code 1."""
    topic = await make_topic(bootstrap)
    await send(bootstrap, topic, 4)

    def set_up(mini: Miniature) -> None:
        mini.refuse_starts = RuntimeError("the receipts cannot be read")

    async with worker(bootstrap, topic, tmp_path, set_up=set_up) as running:
        assert await asyncio.wait_for(running.task, 45) == 1
        assert running.mini.batches == []


async def test_a_dead_coordinator_ends_the_worker(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """An error that aiokafka's coordinator only hands to who asks ends the worker; stock Faust never asks and hangs."""
    topic = await make_topic(bootstrap)
    async with worker(bootstrap, topic, tmp_path) as running:
        await until(lambda: len(running.flow.assigned()) == 4, "assigned")
        thread = running.app.consumer.thread

        async def refuse() -> None:
            thread._consumer._coordinator._pending_exception = GroupAuthorizationFailedError("group")

        await thread.in_thread(refuse())
        assert await asyncio.wait_for(running.task, 45) == 1
        assert isinstance(running.flow.failure, GroupAuthorizationFailedError)


async def test_waiting_for_room_is_no_silence(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """A worker that waits for room longer than the poll interval (ClickHouse is down for an hour) stays in the group and goes on."""
    topic, ledger = await make_topic(bootstrap, config={"max.message.bytes": "1048576"}), Ledger()

    def short(app: Any) -> None:
        app.conf.broker_max_poll_interval = 3.0

    for partition in range(4):
        await send(bootstrap, topic, 100, partition=partition, size=100_000)
    async with worker(bootstrap, topic, tmp_path, ledger=ledger, prepare=short) as running:
        running.mini.hold.clear()
        await until(lambda: len(running.flow.assigned()) == 4, "assigned")
        await asyncio.sleep(9)
        running.mini.hold.set()
        await until(lambda: ledger.total() == 400, "counted")
        assert running.mini.revokes == []
    assert list(exact(ledger, dict.fromkeys(range(4), 100))) == []


async def test_recovery_ends_at_a_marker(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """A table whose changelog ends in aborted records and markers is recovered with what was committed; stock Faust waits for ever."""
    topic, state = await make_topic(bootstrap), await make_topic(bootstrap, config={"cleanup.policy": "compact"})
    async with kafka_io.producer(bootstrap, transactional_id=f"t-{topic}") as client:
        for commit in (True, False):
            await client.begin_transaction()
            for number in range(3):
                await client.send(state, b"%d" % number, key=b"%s-%d" % (b"yes" if commit else b"no", number), partition=1)
            await (client.commit_transaction() if commit else client.abort_transaction())
    tables: list[Any] = []

    def prepare(app: Any) -> None:
        changelog = app.topic(state, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", partitions=4)
        tables.append(app.Table("usage", changelog_topic=changelog, partitions=4, key_type=bytes, value_type=bytes))

    await send(bootstrap, topic, 40)
    ledger = Ledger()
    async with worker(bootstrap, topic, tmp_path, ledger=ledger, prepare=prepare) as running:
        await until(lambda: len(running.flow.assigned()) == 4, "recovered and opened")
        assert sorted(tables[0].data.data) == [b"yes-0", b"yes-1", b"yes-2"]
        await until(lambda: ledger.total() == 40, "counting")
