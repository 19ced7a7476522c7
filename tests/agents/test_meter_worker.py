"""A meter worker's manners on a real Kafka: it waits, refuses, halts visibly, recovers from a compacted changelog, leaves cleanly."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from infra import kafka_io, topics_admin
from infra.control import meters_event
from infra.embedded import process
from infra.settings import load_settings
from tests.agents.meter_rig import METERS, PARTITIONS, TIMING, Rig, Traffic, rig


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Rig]:
    """A broker of its own: these tests break it."""
    with rig(tmp_path) as one:
        yield one


def traffic(made: Rig, seed: int, records: int = 1500) -> Traffic:
    """Some usage, sent."""
    one = Traffic(seed)
    made.send([one.next() for _ in range(records)])
    return one


def counted(made: Rig) -> bool:
    """Everything that is in the log is durable."""
    lines = made.lines()
    return len(lines) == PARTITIONS and all(line["durable_offset"] == line["end_offset"] > 1 for line in lines.values())


def delete_topic(made: Rig, name: str) -> None:
    """And wait until it is gone."""

    async def delete() -> None:
        async with kafka_io.admin(made.broker.bootstrap) as admin:
            await admin.delete_topics([name])
            while name in await admin.list_topics():
                await asyncio.sleep(0.1)

    asyncio.run(delete())


def make_topics(made: Rig) -> None:
    """Those that are missing."""
    asyncio.run(topics_admin.apply(load_settings(None, made.environment("any")).kafka))


def delete_records(made: Rig, offsets: dict[int, int]) -> None:
    """As retention would: the log of each partition begins at its offset."""

    async def delete() -> None:
        async with kafka_io.admin(made.broker.bootstrap) as admin:
            await admin.delete_records(
                {TopicPartition("usage.events", partition): RecordsToDelete(before_offset=offset) for partition, offset in offsets.items()}
            )

    asyncio.run(delete())


def halted(made: Rig) -> str:
    """The sentence of a worker that has halted: on /status, on /ready, once in its log; and the process stays."""
    made.until(lambda: bool(made.status("meter-0").get("halted")), "halted")
    sentence = str(made.status("meter-0")["halted"])
    code, body = made.get("meter-0", "/ready")
    assert (code, body.strip()) == (503, sentence)
    time.sleep(1)
    assert made.workers["meter-0"].poll() is None
    assert (made.folder / "meter-0.log").read_text().count(sentence) == 1
    return sentence


def missing(sentence: str, *words: str) -> list[str]:
    """Which of these the sentence does not say."""
    return [word for word in words if word not in sentence]


def test_a_stopped_worker_leaves_nothing_undone(made: Rig) -> None:
    """SIGTERM ends the process within ten seconds and with exit code 0; everything it took is flushed and committed."""
    made.start("meter-0")
    one = traffic(made, 1)
    made.until(lambda: sum(line["next_offset"] for line in made.lines().values()) > 500, "at work")
    before = time.monotonic()
    made.signal("meter-0", signal.SIGTERM)
    assert time.monotonic() - before < 10
    assert made.workers["meter-0"].returncode == 0
    committed = asyncio.run(kafka_io.committed_offsets(made.broker.bootstrap, "tidemark-meter", "usage.events", range(PARTITIONS)))
    made.start("meter-0")
    made.until(lambda: len(made.lines()) == PARTITIONS, "back")
    bases = {partition: line["next_offset"] for partition, line in made.lines().items()}
    assert all(bases[partition] >= (offset or 0) > 0 for partition, offset in committed.items())
    assert made.wrongs(one.truth, made.settle()) == []


def test_partitions_that_stay_are_not_read_again(made: Rig) -> None:
    """Another meter joins, counts, and leaves again: what the first one holds on to goes on with the state in memory, what it gets back is read."""
    made.start("meter-0")
    one = traffic(made, 4)
    made.until(lambda: counted(made), "counted")
    made.start("meter-1")
    made.until(lambda: all(len(made.status(name).get("partitions", [])) == PARTITIONS // 2 for name in ("meter-0", "meter-1")), "shared", 60)
    stayed = {line["partition"] for line in made.status("meter-0")["partitions"]}
    assert kept(made, "meter-0") == stayed
    assert not kept(made, "meter-1")
    made.send([one.next() for _ in range(500)])
    made.until(lambda: counted(made), "counted by both")
    made.signal("meter-1", signal.SIGTERM)
    made.until(lambda: len(made.status("meter-0").get("partitions", [])) == PARTITIONS, "all of it again", 60)
    assert kept(made, "meter-0") == stayed
    made.send([one.next() for _ in range(500)])
    assert made.wrongs(one.truth, made.settle()) == []


def kept(made: Rig, name: str) -> set[int]:
    """The partitions whose state a worker has gone on with, in any assignment so far."""
    lines = (made.folder / f"{name}.log").read_text().splitlines()
    return {int(line.split("usage.state-")[1].split()[0]) for line in lines if "goes on with the state in memory" in line}


def test_it_waits_for_a_kafka_that_is_not_there(made: Rig) -> None:
    """Without a broker the worker says so once, is live but not ready, and counts as soon as there is one; an outage later costs nothing."""
    node = made.broker.nodes[0]
    node.kill()
    made.start("meter-0")
    made.until(lambda: made.get("meter-0", "/live")[0] == 200, "live")
    time.sleep(3)
    code, body = made.get("meter-0", "/ready")
    assert (code, "does not answer yet" in body) == (503, True)
    assert (made.folder / "meter-0.log").read_text().count("does not answer") == 1
    node.start()
    made.broker.wait()
    one = traffic(made, 2)
    made.until(lambda: counted(made), "counted")
    node.kill()
    time.sleep(4)
    node.start()
    made.broker.wait()
    made.send([one.next() for _ in range(800)])
    assert made.wrongs(one.truth, made.settle()) == []


def test_wrong_topics_are_refused_in_one_message(made: Rig) -> None:
    """Missing and wrong topics end the worker at once with exit code 2, each named with what is wrong and how it is put right."""

    async def spoil() -> None:
        async with kafka_io.admin(made.broker.bootstrap) as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "usage.state", configs={"cleanup.policy": "delete"})])

    asyncio.run(spoil())
    delete_topic(made, "usage.verdicts")
    made.start("meter-0")
    assert made.workers["meter-0"].wait(30) == 2
    text = process.tail(made.folder / "meter-0.log", 30)
    assert "usage.verdicts: the topic does not exist" in text
    assert "usage.state: cleanup.policy is delete, must be compact" in text
    assert "tidemark topics apply" in text


def test_a_compacted_changelog_with_holes_is_recovered(made: Rig) -> None:
    """After compaction has taken most of the changelog, tombstones too, recovery ends and the state is complete, several times over."""
    fast = {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.0", "delete.retention.ms": "0", "max.compaction.lag.ms": "200"}

    async def compact_soon() -> None:
        async with kafka_io.admin(made.broker.bootstrap) as admin:
            configs = {**fast, "cleanup.policy": "compact", "max.message.bytes": str(2 * 1024 * 1024), "min.insync.replicas": "1"}
            configs |= {"unclean.leader.election.enable": "false"}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "usage.state", configs=configs)])

    asyncio.run(compact_soon())
    one = Traffic(3)
    made.start("meter-0")
    for _ in range(15):
        made.send([one.next() for _ in range(200)])
        time.sleep(0.4)
    made.until(lambda: _is_holed(made, one), "compacted", 60)
    for _ in range(3):
        made.signal("meter-0", signal.SIGKILL)
        made.start("meter-0")
        made.send([one.next() for _ in range(100)])
        made.until(lambda: counted(made), "recovered")
    assert made.wrongs(one.truth, made.settle()) == []


def _is_holed(made: Rig, one: Traffic) -> bool:
    """Whether a third is gone; a little traffic meanwhile, since only an append closes a segment of Kafka's."""
    made.send([one.next() for _ in range(8)])
    ends = asyncio.run(kafka_io.end_offsets(made.broker.bootstrap, "usage.state", range(PARTITIONS)))
    return len(made.read("usage.state")) < sum(ends.values()) * 2 / 3


def test_usage_that_retention_took_halts_with_the_range(made: Rig) -> None:
    """Events that were removed while no worker ran halt it with the exact offsets and the command that goes on (H8)."""
    made.start("meter-0")
    traffic(made, 4)
    made.until(lambda: counted(made), "counted")
    made.signal("meter-0", signal.SIGTERM)
    ends = asyncio.run(kafka_io.end_offsets(made.broker.bootstrap, "usage.events", range(PARTITIONS)))
    traffic(made, 5)
    delete_records(made, {0: ends[0] + 7})
    made.start("meter-0")
    assert missing(halted(made), "usage.events", f"{ends[0]} to {ends[0] + 6}", "tidemark adopt --partition 0") == []


def test_a_recreated_log_halts(made: Rig) -> None:
    """A topic that was deleted and filled anew is not the log that was counted: halt, never a silent zero (H10)."""
    made.start("meter-0")
    traffic(made, 6)
    made.until(lambda: counted(made), "counted")
    made.signal("meter-0", signal.SIGTERM)
    delete_topic(made, "usage.events")
    make_topics(made)
    event = meters_event(TIMING, METERS, None)
    made.send([(event.key, event.value, partition) for partition in range(PARTITIONS)])
    traffic(made, 7, 6000)
    made.start("meter-0")
    assert missing(halted(made), "the log is another one", "tidemark adopt") == []


def test_a_lost_changelog_is_rebuilt_from_the_log(made: Rig) -> None:
    """Where offsets survived and the state did not, a complete log is read again and says the same revisions (H7)."""
    made.start("meter-0")
    one = traffic(made, 8)
    made.settle()
    made.signal("meter-0", signal.SIGTERM)
    delete_topic(made, "usage.state")
    make_topics(made)
    made.start("meter-0")
    made.until(lambda: counted(made), "counted again")
    assert "state was lost" in (made.folder / "meter-0.log").read_text()
    made.send([one.next() for _ in range(200)])
    assert made.wrongs(one.truth, made.settle()) == []


def test_a_lost_changelog_and_a_cut_log_halt(made: Rig) -> None:
    """Where neither the state nor the log's beginning is left, nothing is guessed: halt with both offsets (H7, H8)."""
    made.start("meter-0")
    traffic(made, 9)
    made.until(lambda: counted(made), "counted")
    made.signal("meter-0", signal.SIGTERM)
    delete_topic(made, "usage.state")
    make_topics(made)
    delete_records(made, {1: 5})
    made.start("meter-0")
    assert missing(halted(made), "usage.events-1", "usage.state holds nothing", "begins at 5", "tidemark adopt --partition 1") == []
