"""One shape: a fresh broker on the first core, its log published, then one contestant after the other over it, on the last core."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Consumer, TopicPartition

from infra.applying import apply_topics, publish_meters
from infra.embedded.testing import kafka_broker
from infra.settings import load_settings
from tests.benchmarks.answers import written_bytes
from tests.benchmarks.contestants import FAUST, METER, Arena, Contestant
from tests.benchmarks.load import PARTITIONS
from tests.benchmarks.measure import LONGEST_S, Result, Source, pinned, run
from tests.benchmarks.publishing import publish
from tests.benchmarks.quix_home import Skipped
from tests.benchmarks.shapes import Expected, Shape
from topics.catalog import EVENTS

HEAP = "1g"
BROKER = {"log.cleaner.backoff.ms": 24 * 3_600_000}
"""Nothing is compacted during a run: the broker's core serves contestants only, and a changelog's files are all that was written to it."""
KAFKA = f"[kafka]\npartitions = {PARTITIONS}\nreplication = 1\nmin_insync = 1\n"
SEED = 7


@dataclass(frozen=True)
class Contest:
    """What one shape came to: results by contestant's key, and why some did not contend."""

    shape: str
    events: int
    event_bytes: float
    results: Mapping[str, Result]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def rate(self, key: str) -> float | None:
        """A contestant's events a second; None where it did not contend, or its sum was wrong."""
        found = self.results.get(key)
        return found.events_per_s if found is not None and not found.wrong else None

    @property
    def is_wrong(self) -> bool:
        """Whether a sum was wrong, or the meter could not run at all."""
        return "meter" in self.skipped or any(result.wrong for result in self.results.values())

    def as_dict(self) -> dict[str, object]:
        """For the JSON file."""
        results = {key: result.as_dict() for key, result in self.results.items()}
        return {"events": self.events, "event_bytes": self.event_bytes, "results": results, "skipped": dict(self.skipped)}


@contextmanager
def arena(directory: Path, shape: Shape) -> Iterator[Arena]:
    """A broker with the product's topics and this shape's meters in force, under an empty directory."""
    with pinned(0):
        # The broker keeps to the core it was started on; what this process does itself is not pinned.
        entered = kafka_broker(directory, heap=HEAP, properties=BROKER)
        cluster = entered.__enter__()
    try:
        config = directory / "tidemark.toml"
        config.write_text(KAFKA + shape.toml())
        settings = load_settings(config, {**os.environ, "TIDEMARK_KAFKA__BOOTSTRAP": cluster.bootstrap})
        apply_topics(settings)
        publish_meters(settings)
        yield Arena(cluster.bootstrap, config, directory, cluster.nodes[0].node.directory, shape)
    finally:
        entered.__exit__(None, None, None)


def contend(directory: Path, shape: Shape, events: int, contestants: Sequence[Contestant], slow_share: float = 1.0) -> Contest:
    """Publish a shape once, then run each contestant over it; slow ones over `slow_share` of the events that they mostly get, in a topic each."""
    results: dict[str, Result] = {}
    skipped: dict[str, str] = {}
    with arena(directory, shape) as where:
        begun_s = time.monotonic()
        expected = publish(where.bootstrap, EVENTS, shape, events, SEED)
        event_bytes = written_bytes(where.kafka_data, [EVENTS]) / events
        say(f"shape {shape.name}: {events:,} events of {event_bytes:.0f} bytes on the log, published in {time.monotonic() - begun_s:.0f} s")
        for contestant in contestants:
            if shape.meters not in contestant.meters:
                skipped[contestant.key] = f"it is written for one meter, the shape has {shape.meters}"
                continue
            try:
                results[contestant.key] = one(where, contestant, expected, round(contestant.slow_events * slow_share))
            except (Skipped, RuntimeError) as reason:
                # One that fails does not take the others with it; the last line says most.
                skipped[contestant.key] = str(reason).strip().splitlines()[-1]
                say(f"{contestant.name:30} skipped: {reason}")
    return Contest(shape.name, events, event_bytes, results, skipped)


def one(where: Arena, contestant: Contestant, expected: Expected, slow_events: int, prefix: Sequence[str] = ()) -> Result:
    """One contestant's run, its sum checked, shown. `prefix` stands for the `-m` of its command, for a wrapper. Raises Skipped."""
    (where.directory / contestant.key).mkdir(exist_ok=True)
    command = [*contestant.command(where)]
    if prefix:
        command[1:2] = prefix
    if contestant.slow_events:
        asyncio.run(_create(where.bootstrap, contestant))
        expected = publish(where.bootstrap, contestant.topic, where.shape, slow_events, SEED)
    log = where.directory / f"{contestant.key}.log"
    end = end_of(where.bootstrap, contestant.topic)
    source = Source(where.bootstrap, contestant.group, contestant.topic, PARTITIONS, end)
    result = run(contestant.name, command, contestant.environment(where), log, source)
    written = written_bytes(where.kafka_data, contestant.changelogs_on(where.shape))
    wrong = contestant.wrong(where, expected, log) if result.share == 1 or contestant is METER else ""
    result = replace(result, changelog_bytes=written / end / result.share, wrong=wrong)
    show(result, end)
    return result


async def _create(bootstrap: str, contestant: Contestant) -> None:
    """A slow contestant's own topic, and stock Faust's changelog, which it would wait long for."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        names = [contestant.topic, *(contestant.changelogs if contestant is FAUST else ())]
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    finally:
        await admin.close()


def end_of(bootstrap: str, topic: str) -> int:
    """The offsets at which a reader of the whole topic is done, summed over partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-ends"})
    try:
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in range(PARTITIONS))
    finally:
        consumer.close()


def say(text: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def show(result: Result, end: int) -> None:
    """One contestant's figures, loudly where its sum is wrong."""
    kept = f"{result.changelog_bytes:6.1f} B changelog/event" if result.changelog_bytes else "nothing durable"
    say(
        f"{result.name:30} {result.events_per_s:10,.0f} events/s  {result.cpu_us_per_event:7.2f} µs CPU/event  {result.resident_mb:6.0f} MB  "
        f"{kept}  (of {end:,})"
    )
    if result.share < 1:
        say(f"{result.name:30} was ended at {result.share:.0%} of the log, after {LONGEST_S} s: its sum is not checked")
    if result.wrong:
        say(f"{result.name:30} WRONG SUM, its rate does not count: {result.wrong}")
