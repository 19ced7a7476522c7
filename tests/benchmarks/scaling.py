"""Scale-out: one, two and four meters over the same load in one group, and what a rebalance costs; totals compared exactly afterwards.

    python -m tests.benchmarks.scaling [--events 200000] [--json FILE]

Each number of workers starts, joins, is suspended while its events are published, and goes on all at once: so neither start-up nor producer is in
the measure. CPU per event is what all workers took together; rates say something only where each worker has a core beside the broker's.
Prints, asserts no time; wrong totals end it with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
from confluent_kafka import Consumer

from infra.applying import apply_topics, publish_meters
from infra.embedded.testing import KafkaCluster, kafka_broker
from infra.kafka_io import reader
from infra.settings import load_settings
from streams.changelog import Changelog
from streams.recovery import recover
from tests.benchmarks import load
from tests.benchmarks.goals import Figure
from tests.benchmarks.group import Group, group
from tests.benchmarks.measure import committed
from tests.benchmarks.moving import Move, moves
from topics.catalog import EVENTS, STATE

EVENTS_EACH = 2_000_000
"""For each number of workers, at full size."""
LONGEST_S = 900.0
SUSPENDED_SESSION_S = 90
"""A suspended worker must keep its partitions while events are published; Faust takes no more than its request time-out."""
SESSION_S = 6
"""The embedded stack's: the rebalances are measured with it."""
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


class Run(NamedTuple):
    """One number of workers over one load."""

    workers: int
    events: int
    seconds: float
    cpu_s: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of all workers for an event."""
        return self.cpu_s / self.events * 1e6

    @property
    def events_per_s(self) -> float:
        """By committed offsets, from the moment at which all go on."""
        return self.events / self.seconds


class _Data(msgspec.Struct):
    units: int


class _Event(msgspec.Struct):
    data: _Data


def figures(directory: Path, scale: float, say: Callable[[str], None]) -> list[Figure]:
    """The part of `make bench`: CPU per event and rate of two workers against one."""
    runs, _ = measure(directory, max(20_000, int(EVENTS_EACH * scale)), (1, 2), say, moving=False)
    one, two = runs
    how = f"{one.events:,} events each, {load.PARTITIONS} partitions"
    cores = os.cpu_count() or 1
    rate = Figure("workers_rate", two.events_per_s / one.events_per_s, how=how)
    if cores < 4:
        rate = Figure("workers_rate", None, why=f"two workers and the broker need 4 cores to show a rate, there are {cores}")
    return [Figure("workers_cpu", two.cpu_us / one.cpu_us, how=how), rate]


def measure(directory: Path, count: int, sizes: Iterable[int], say: Callable[[str], None], *, moving: bool) -> tuple[list[Run], list[Move]]:
    """All runs, then the rebalances; raises ValueError where a total is not what was sent."""
    truth: Counter[str] = Counter()
    found: list[Run] = []
    moved: list[Move] = []
    with kafka_broker(directory, heap="768m") as cluster:
        config = directory / "tidemark.toml"
        config.write_text(METERS, encoding="utf-8")
        settings = load_settings(config, {"TIDEMARK_KAFKA__BOOTSTRAP": cluster.bootstrap})
        apply_topics(settings)
        publish_meters(settings)
        for at, size in enumerate(sizes):
            with group(cluster.bootstrap, config, directory, SUSPENDED_SESSION_S) as workers:
                run = _run(cluster, workers, size, count, seed=at, truth=truth)
                workers.end()
            found.append(run)
            say(f"{size} workers  {run.events_per_s:10,.0f} events/s  {run.cpu_us:6.2f} µs CPU/event of all workers together")
        check(cluster.bootstrap, truth)
        if moving:
            with group(cluster.bootstrap, config, directory, SESSION_S) as workers:
                moved, sent = moves(cluster, workers, 99, say)
            add(truth, sent)
            check(cluster.bootstrap, truth)
        say(f"all totals are exact: {sum(truth.values()):,} units of {len(truth):,} customers")
    return found, moved


def _run(cluster: KafkaCluster, workers: Group, size: int, count: int, *, seed: int, truth: Counter[str]) -> Run:
    for number in range(size):
        workers.start(f"meter-{number}")
    workers.wait(size)
    watched = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "tidemark-meter", "enable.auto.commit": False})
    try:
        workers.signal(signal.SIGSTOP)
        begin = committed(watched, EVENTS, load.PARTITIONS)
        now_s = time.time()
        load.publish(cluster.bootstrap, EVENTS, count, seed)
        before_s = sum(worker.cpu_s() for worker in workers.workers.values())
        started_s = time.monotonic()
        workers.signal(signal.SIGCONT)
        while committed(watched, EVENTS, load.PARTITIONS) < begin + count:
            if time.monotonic() > started_s + LONGEST_S:
                raise TimeoutError(f"{size} workers were not done within {LONGEST_S} s")
            time.sleep(0.05)
        run = Run(size, count, time.monotonic() - started_s, sum(worker.cpu_s() for worker in workers.workers.values()) - before_s)
    finally:
        watched.close()
    add(truth, load.events(count, seed, now_s))
    return run


def add(truth: Counter[str], sent: Iterable[tuple[str, bytes]]) -> None:
    """Count what was sent, by customer."""
    decode = msgspec.json.Decoder(_Event).decode
    for customer, value in sent:
        truth[customer] += decode(value).data.units


def check(bootstrap: str, truth: Counter[str]) -> int:
    """Compare each customer's total in the meter's own changelog with what was sent; returns the events. Raises ValueError for a difference."""
    totals: Counter[str] = Counter()
    count = 0
    for partition in range(load.PARTITIONS):
        records = asyncio.run(_changelog(bootstrap, partition))
        state = recover(partition, load.PARTITIONS, records, changelog=Changelog(b"b" * 8), id_key=b"k" * 16, base=0)
        if state.counters.residual:
            raise ValueError(f"partition {partition}: the residual is {state.counters.residual}")
        for row in state.rows.all():
            totals[row.window.customer] += row.scaled // 10**12
            count += row.events
    wrong = [f"{name}: {totals[name]:,} counted, {truth[name]:,} sent" for name in truth.keys() | totals.keys() if totals[name] != truth[name]]
    if wrong:
        raise ValueError(f"{len(wrong)} totals are wrong: {'; '.join(sorted(wrong)[:5])}")
    return count


async def _changelog(bootstrap: str, partition: int) -> list[tuple[bytes | None, bytes | None, int]]:
    return [(record.key, record.value, record.offset) async for record in reader(bootstrap, STATE, partition, 0)]


def say(text: str) -> None:
    """Progress, with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def main() -> None:
    """Parse arguments, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS_EACH, help=f"for each number of workers (default {EVENTS_EACH:,})")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="numbers of workers (default 1 2 4)")
    parser.add_argument("--no-moves", action="store_true", help="leave the rebalances out")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemark-scaling-") as name:
        runs, moved = measure(Path(name), arguments.events, arguments.workers, say, moving=not arguments.no_moves)
    first = runs[0]
    for run in runs[1:]:
        cpu, rate = run.cpu_us / first.cpu_us, run.events_per_s / first.events_per_s
        say(f"{run.workers} : {first.workers} workers  {cpu:5.2f} × CPU per event  {rate:5.2f} × rate")
    cores = os.cpu_count() or 1
    if cores < 2 * max(run.workers for run in runs):
        say(f"the rates are not to be judged: {max(run.workers for run in runs)} workers and a broker share {cores} cores")
    if arguments.json:
        document = {
            "machine": platform.processor() or platform.machine(),
            "cores": cores,
            "runs": [run._asdict() | {"cpu_us": run.cpu_us, "events_per_s": run.events_per_s} for run in runs],
            "moves": [{"name": move.name, "counted_again_s": move.counted_again_s, "pause_s": move.pause_s} for move in moved],
        }
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
