"""`make bench`: the meter with everything on, a bare aiokafka loop, and stock Faust's windowed table, on one real Kafka in one run.

Broker on the first core, contestant on the last. Prints events/s and ratios; `--json FILE` keeps them for a later comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import psutil
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.applying import apply_topics, publish_meters
from infra.embedded.testing import kafka_broker
from infra.settings import load_settings
from tests.benchmarks import load
from tests.benchmarks.measure import Result, Source, pin, run
from topics.catalog import EVENTS

GOAL_STOCK = 30
"""Issue "The main job": the meter does at least 30 times stock Faust's windowed table."""
METERS = """
[kafka]
partitions = 4
replication = 1
min_insync = 1
[[meters]]
slug = "units"
event_type = "api.request"
value = "units"
window = "1m"
grace = "5m"
"""


def main() -> None:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="events for the meter and the bare loop (default 2,000,000)")
    parser.add_argument("--stock-events", type=int, default=100_000, help="events for stock Faust, which is slow (default 100,000)")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as name:
        results = measure(Path(name), arguments.events, arguments.stock_events)
    report(results)
    if arguments.json:
        document = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "results": [r.as_dict() for r in results]}
        arguments.json.write_text(json.dumps(document, indent=1))


def measure(directory: Path, events: int, stock_events: int) -> list[Result]:
    """Publish once, then run each contestant over the same log (stock Faust over a shorter one)."""
    with kafka_broker(directory, heap="1g") as cluster:
        for node in cluster.nodes:
            if node.process is not None:
                pin(psutil.Process(node.process.pid), 0)
        config = directory / "tidemark.toml"
        config.write_text(METERS)
        environment = {"TIDEMARK_CONFIG": str(config), "TIDEMARK_KAFKA__BOOTSTRAP": cluster.bootstrap}
        settings = load_settings(config, environment)
        apply_topics(settings)
        publish_meters(settings)
        say(f"publishing {events:,} events …")
        load.publish(cluster.bootstrap, EVENTS, events, seed=1)
        asyncio.run(create(cluster.bootstrap, "bench.stock"))
        load.publish(cluster.bootstrap, "bench.stock", stock_events, seed=2)
        return contend(directory, cluster.bootstrap, config, events + load.PARTITIONS, stock_events)


def contend(directory: Path, bootstrap: str, config: Path, end: int, stock_end: int) -> list[Result]:
    """Run one contestant after the other; `end` and `stock_end` are the offsets (summed) at which they are done."""

    def one(name: str, command: list[str], group: str, topic: str, upto: int, **more: str) -> Result:
        common = {"BENCH_BOOTSTRAP": bootstrap, "BENCH_GROUP": group, "BENCH_TOPIC": topic}
        source = Source(bootstrap, group, topic, load.PARTITIONS, upto)
        result = run(name, command, common | more, directory / f"{group}.log", source)
        show(result)
        return result

    worker = {"TIDEMARK_CONFIG": str(config), "TIDEMARK_KAFKA__BOOTSTRAP": bootstrap, "TIDEMARK_WORKER__NAME": "meter-0"}
    worker |= {"TIDEMARK_WORKER__HTTP": "127.0.0.1:0", "TIDEMARK_EMBEDDED": "1"}
    stock = ["-m", "tests.benchmarks.stock", "worker", "-l", "warn", "--without-web"]
    return [
        one("tidemark meter", ["-m", "infra", "worker", "meter"], "tidemark-meter", EVENTS, end, **worker),
        one("bare aiokafka loop", ["-m", "tests.benchmarks.bare"], "bench-bare", EVENTS, end),
        one("stock Faust windowed table", stock, "bench-stock", "bench.stock", stock_end),
    ]


async def create(bootstrap: str, topic: str) -> None:
    """A topic for stock Faust, which cannot share `usage.events` with a group of its own table."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, load.PARTITIONS, 1)])
        await admin.create_topics([NewTopic("bench-stock-sums-changelog", load.PARTITIONS, 1)])
    finally:
        await admin.close()


def say(text: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def show(result: Result) -> None:
    """One contestant's figures."""
    say(f"{result.name:28} {result.events_per_s:10,.0f} events/s  {result.cpu_us_per_event:7.2f} µs CPU/event  {result.resident_mb:6.0f} MB")


def report(results: list[Result]) -> None:
    """The ratios, and how they stand to the goal."""
    ours = results[0]
    for other in results[1:]:
        say(f"meter : {other.name:28} {ours.events_per_s / other.events_per_s:8.2f} ×")
    ratio = ours.events_per_s / results[-1].events_per_s
    say(f"goal: at least {GOAL_STOCK} × stock Faust's windowed table: {'reached' if ratio >= GOAL_STOCK else 'NOT reached'}")


if __name__ == "__main__":
    main()
