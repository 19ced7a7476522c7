"""The measure: a contestant's rate is events between 15 % and 100 % of the source offsets that its group has committed, so durability is in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

WARM = 0.15
"""Start-up, imports, joining and first fetches lie in the first 15 %."""
POLL_S = 0.05
LONGEST_S = 900


@dataclass(frozen=True)
class Result:
    """One contestant's run: events per wall second, CPU microseconds per event of its process, its resident memory."""

    name: str
    events: int
    events_per_s: float
    cpu_us_per_event: float
    resident_mb: float

    def as_dict(self) -> dict[str, object]:
        """For the JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """What a contestant reads: done when `group` has committed `end` (summed over partitions) of `topic`."""

    bootstrap: str
    group: str
    topic: str
    partitions: int
    end: int


def committed(group: Consumer, topic: str, partitions: int) -> int:
    """Sum of the group's committed offsets; 0 while its coordinator still loads."""
    try:
        found = group.committed([TopicPartition(topic, number) for number in range(partitions)], timeout=10)
    except KafkaException:
        return 0
    return sum(max(0, part.offset) for part in found)


def run(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, source: Source) -> Result:
    """Start a contestant on the last core and time it until it is done with its source. Ends it, whatever happens."""
    watched = Consumer({"bootstrap.servers": source.bootstrap, "group.id": source.group, "enable.auto.commit": False})
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, *command], stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    try:
        process = psutil.Process(child.pid)
        pin(process, -1)
        return _watch(name, child, process, lambda: committed(watched, source.topic, source.partitions), source.end, log)
    finally:
        watched.close()
        child.kill()
        child.wait()


def pin(process: psutil.Process, core: int) -> None:
    """Keep a process to the first (0) or last (−1) core, where the system allows it and there are two."""
    if hasattr(process, "cpu_affinity") and (os.cpu_count() or 1) > 1:
        process.cpu_affinity([range(os.cpu_count() or 1)[core]])


def _watch(name: str, child: subprocess.Popen[bytes], process: psutil.Process, position: Callable[[], int], end: int, log: Path) -> Result:
    deadline_s = time.monotonic() + LONGEST_S
    begun: tuple[float, float, int] | None = None
    while time.monotonic() < deadline_s:
        if child.poll() is not None:
            raise RuntimeError(f"{name} ended with {child.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        at = position()
        now_s, cpu = time.monotonic(), process.cpu_times()
        cpu_s = cpu.user + cpu.system
        if begun is None and at >= WARM * end:
            begun = (now_s, cpu_s, at)
        if at >= end:
            if begun is None or now_s == begun[0]:
                raise RuntimeError(f"{name} was done before it could be measured: use more events")
            events = at - begun[2]
            memory_mb = process.memory_info().rss / 1e6
            return Result(name, events, events / (now_s - begun[0]), (cpu_s - begun[1]) / events * 1e6, memory_mb)
        time.sleep(POLL_S)
    raise RuntimeError(f"{name} was not done within {LONGEST_S} s:\n{log.read_text(errors='replace')[-2000:]}")
