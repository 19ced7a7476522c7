"""Workers that join, leave, are killed and freeze: each record is counted once, by the owner of its partition's current epoch."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from infra import delivery, kafka_io
from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster  # noqa: F401 - fixtures
from tests.agents.delivery_harness import Ledger, exact, make_topic, send, until, worker
from topics.batch import Batch

pytestmark = [pytest.mark.system, *FAUST_LEAVES]

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def traffic(bootstrap: str, topic: str) -> AsyncIterator[None]:  # noqa: F811
    """About 1,000 records a second over four partitions while the block runs."""
    stop = asyncio.Event()

    async def produce() -> None:
        async with kafka_io.producer(bootstrap) as client:
            number = 0
            while not stop.is_set():
                for _ in range(50):
                    await client.send(topic, b"%d" % number, partition=number % 4)
                    number += 1
                await asyncio.sleep(0.05)
            await client.flush()

    task = asyncio.ensure_future(produce())
    try:
        yield
    finally:
        stop.set()
        await task


async def counts_more_than(ledger: Ledger, total: int) -> None:
    """Wait until the file says that so many were counted."""
    await until(lambda: ledger.load().total() > total, f"more than {total} counted")


async def assert_exact(bootstrap: str, topic: str, ledger: Ledger) -> None:  # noqa: F811
    """Everything written is counted once, sooner or later."""
    ends = await kafka_io.end_offsets(bootstrap, topic, range(4))
    await until(lambda: all(ledger.load_if_file().next_offset(p) == end for p, end in ends.items()), "the ledger holds the whole log", 60)
    assert sum(ends.values()) > 500
    assert list(exact(ledger, ends)) == []


async def test_joining_and_leaving_loses_and_doubles_nothing(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """While records flow, a second worker joins, the first leaves and comes back: the shared ledger is exact and was never forked."""
    topic, ledger = await make_topic(bootstrap), Ledger()
    async with traffic(bootstrap, topic), worker(bootstrap, topic, tmp_path, name="a", ledger=ledger) as first:
        await until(lambda: len(first.flow.assigned()) == 4, "the first worker holds all")
        first.mini.flush_s = 0.3
        async with worker(bootstrap, topic, tmp_path, name="b", ledger=ledger) as second:
            await until(lambda: len(first.flow.assigned()) == len(second.flow.assigned()) == 2, "they share")
            assert not first.flow.assigned() & second.flow.assigned()
            assert first.mini.revokes == [frozenset((topic, p) for p in range(4))]
            await asyncio.sleep(1)
            assert await first.end() == 0
            # a static member keeps its place: until it returns or its session ends nobody reads its partitions
            async with worker(bootstrap, topic, tmp_path / "again", name="a", ledger=ledger) as third:
                await until(lambda: len(third.flow.assigned()) == 2, "the first worker's place is taken again", 5)
                await asyncio.sleep(1)
        await until(lambda: sum(ledger.next_offset(p) for p in range(4)) > 500, "some traffic")
    async with worker(bootstrap, topic, tmp_path / "last", name="c", ledger=ledger):
        await assert_exact(bootstrap, topic, ledger)


async def test_a_put_that_waits_does_not_hold_up_a_rebalance(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """A worker whose channel is full lets go at once; the batches that waited are stale and counted by the next owner only (H1)."""
    topic, ledger = await make_topic(bootstrap, config={"max.message.bytes": "1048576"}), Ledger()
    for partition in range(4):
        await send(bootstrap, topic, 150, partition=partition, size=100_000)
    async with worker(bootstrap, topic, tmp_path, name="a", ledger=ledger) as first:
        first.mini.hold.clear()
        await until(lambda: len(first.flow.assigned()) == 4, "assigned")
        await asyncio.sleep(1)  # the channel is full and a put waits
        async with worker(bootstrap, topic, tmp_path, name="b", ledger=ledger) as second:
            await until(lambda: len(second.flow.assigned()) == 2, "the second worker gets its share while the first is stuck", 20)
            first.mini.hold.set()
            await assert_exact(bootstrap, topic, ledger)
        assert first.mini.stale


async def test_a_put_that_waits_is_given_up_on_revoke(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """A put into anything, not only a Faust channel, ends with its epoch, and batches of the next epoch are put though the last never was."""
    topic, ledger = await make_topic(bootstrap), Ledger()
    put: list[Batch] = []

    async def no_room(batch: Batch) -> None:
        put.append(batch)
        await asyncio.Event().wait()

    await send(bootstrap, topic, 400)
    async with worker(bootstrap, topic, tmp_path, name="a", ledger=ledger) as first:
        first.flow.attach(first.mini, no_room)
        await until(lambda: len(put) == 1, "a put waits")
        async with worker(bootstrap, topic, tmp_path, name="b", ledger=ledger):
            await until(lambda: len(put) == 2, "a batch of the next epoch is put")
            assert put[1].epoch == first.flow.epoch(put[1].tp) > put[0].epoch


async def test_a_flush_that_never_ends_is_left_behind(bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """An app that does not let go in time loses its unflushed work, not its place: the rebalance goes on and the sum is exact."""
    monkeypatch.setattr(delivery, "REVOKE_TIMEOUT_S", 1.0)
    topic, ledger = await make_topic(bootstrap), Ledger()
    await send(bootstrap, topic, 1_000)
    async with worker(bootstrap, topic, tmp_path, name="a", ledger=ledger) as first:
        await until(lambda: len(first.flow.assigned()) == 4, "assigned")
        first.mini.wedge_revoke = True
        async with worker(bootstrap, topic, tmp_path, name="b", ledger=ledger):
            await until(lambda: len(first.mini.revokes) == 1, "revoked")
            first.mini.wedge_revoke = False
            await assert_exact(bootstrap, topic, ledger)


@contextlib.contextmanager
def process(bootstrap: str, topic: str, name: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:  # noqa: F811
    """A worker in a process of its own, killed at the end."""
    with (folder / f"{name}.log").open("ab") as log:
        command = [sys.executable, "-m", "tests.agents.delivery_worker", bootstrap, topic, name, str(folder)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


async def test_sigkill_and_a_static_rejoin(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """A worker killed with SIGKILL while records flow and started again under its name goes on within the session, exactly."""
    topic, ledger = await make_topic(bootstrap), Ledger(tmp_path / "ledger.jsonl")
    async with traffic(bootstrap, topic):
        for _ in range(2):
            before = ledger.load().total()
            with process(bootstrap, topic, "a", tmp_path) as child:
                await counts_more_than(ledger, before + 300)
                os.kill(child.pid, signal.SIGKILL)
    with process(bootstrap, topic, "a", tmp_path) as child:
        await assert_exact(bootstrap, topic, ledger)
        log = tmp_path / "a.log"
        await until(lambda: log.read_bytes().count(b" reading ") == 3, "it reads, so it handles SIGTERM")
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, 30) == 0


async def test_a_frozen_worker_that_thaws_counts_nothing_twice(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """A worker frozen beyond its session wakes up to partitions that others hold: it drops what it had and shares again."""
    topic, ledger = await make_topic(bootstrap), Ledger(tmp_path / "ledger.jsonl")
    with process(bootstrap, topic, "a", tmp_path) as frozen, process(bootstrap, topic, "b", tmp_path):
        async with traffic(bootstrap, topic):
            await until(lambda: sorted(Counter(ledger.load().writers.values()).values()) == [2, 2], "both count, two partitions each")
            frozen.send_signal(signal.SIGSTOP)
            await until(lambda: frozen.pid not in ledger.load().writers.values(), "the other took over")
            frozen.send_signal(signal.SIGCONT)
            await until(lambda: frozen.pid in ledger.load().writers.values(), "they share again")
        await assert_exact(bootstrap, topic, ledger)
        assert frozen.poll() is None
