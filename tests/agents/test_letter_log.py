"""Replays of dead letters on a real Kafka: one run at a time, whole transactions, and nothing overlooked behind somebody else's open one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import NewTopic

from infra import kafka_io
from infra.letters import tail as tails
from infra.letters.kafka_log import KafkaLog
from infra.letters.replay import Outgoing
from tests.agents.delivery_broker import bootstrap, cluster  # noqa: F401 - fixtures
from tests.core.meterlog import usage
from topics.catalog import EVENTS
from topics.errors import TidemarkError
from topics.origin import replay_headers

pytestmark = pytest.mark.system


@pytest.fixture
async def events(bootstrap: str) -> AsyncIterator[str]:  # noqa: F811
    """usage.events with two partitions, gone afterwards."""
    async with kafka_io.admin(bootstrap) as client:
        await client.create_topics([NewTopic(EVENTS, 2, 1)])
        for _ in range(100):
            if EVENTS in await client.list_topics():
                break
            await asyncio.sleep(0.1)
        yield bootstrap
        await client.delete_topics([EVENTS])
        for _ in range(100):
            if EVENTS not in await client.list_topics():
                break
            await asyncio.sleep(0.1)


def letter(number: int, partition: int = 0) -> Outgoing:
    """A letter that was rejected at 1:`number`, with a header that has no value."""
    headers = replay_headers((("trace", b"\x00\xff"), ("empty", None)), 1, number, 1000 + number, b"{}")  # type: ignore[arg-type]
    return Outgoing(partition, b"acme", usage("acme", f"e{number}", None, {"n": 1}), headers)


async def test_a_later_run_fences_an_earlier_one_and_sees_what_it_sent(events: str) -> None:
    """After a second run has begun the first can commit nothing more; what it committed is in the second one's tail, with its origin."""
    async with KafkaLog(events) as first, KafkaLog(events) as second:
        assert first.partitions == 2
        await first.open()
        await first.send([letter(1), letter(2, 1)])
        await second.open()
        found = await second.tail({})
        assert set(found.replays) == {(1, 1, 1001), (1, 2, 1002)}
        assert {event: [fate.partition for fate in fates] for event, fates in found.ids.items()} == {
            ("acme", "gw", "e1"): [0], ("acme", "gw", "e2"): [1],
        }  # fmt: skip
        with pytest.raises(TidemarkError, match="another `dead-letters replay` has begun"):
            await first.send([letter(3)])
        await second.send([letter(4)])
        assert set((await second.tail({})).replays) == {(1, 1, 1001), (1, 2, 1002), (1, 4, 1004)}


async def test_what_a_dead_run_left_half_sent_is_nothing(events: str) -> None:
    """A run that died in a transaction sent none of it, as soon as the next run begins; headers come back as they were, also without a value."""
    async with KafkaLog(events) as dead:
        await dead.open()
        await dead.send([letter(1)])
        await dead._producer.begin_transaction()
        await dead._producer.send_and_wait(EVENTS, letter(2).value, b"acme", partition=0, headers=list(letter(2).headers))
        async with KafkaLog(events) as alive:
            await alive.open()
            assert set((await alive.tail({})).replays) == {(1, 1, 1001)}
            (record,) = [record async for record in kafka_io.reader(events, EVENTS, 0, 0)]
            assert tuple(record.headers)[:2] == (("trace", b"\x00\xff"), ("empty", None))


async def test_an_open_transaction_of_a_producer_is_waited_for(events: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A committed replay behind another producer's open transaction is seen once that ends; where it does not end, nothing is sent."""
    monkeypatch.setattr(tails, "STABLE_WAIT_S", 1.0)
    async with kafka_io.producer(events, transactional_id="somebody") as other, KafkaLog(events) as log:
        await other.begin_transaction()
        await other.send_and_wait(EVENTS, usage("beta", "x", None), b"beta", partition=0)
        await log.open()
        await log.send([letter(1)])
        with pytest.raises(TidemarkError, match="transaction has been open"):
            await log.tail({})
        monkeypatch.setattr(tails, "STABLE_WAIT_S", 60.0)
        reading = asyncio.ensure_future(log.tail({}))
        await asyncio.sleep(0.5)
        assert not reading.done()
        await other.abort_transaction()
        assert set((await reading).replays) == {(1, 1, 1001)}


async def test_a_log_that_does_not_join_on_to_the_archive_is_refused(events: str) -> None:
    """Where the archive says that it is further than the log, or the log begins after it, nobody knows what was sent: nothing is."""
    async with KafkaLog(events) as log:
        await log.open()
        await log.send([letter(1)])
        assert not (await log.tail({0: 2})).replays
        with pytest.raises(TidemarkError, match="what lies between is not known"):
            await log.tail({0: 99})
