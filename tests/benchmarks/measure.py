"""The measure: a contestant's rate is events between 15 % and 100 % of the source offsets that its group has committed, so durability is in it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

from infra.embedded import process

WARM = 0.15
"""Start-up, imports, joining and first fetches lie in the first 15 %."""
POLL_S = 0.05
LONGEST_S = 300
"""Ten times what any contestant needs that keeps to the pace of its number of events. One that is slower is ended and timed up to there, so that the
whole run ends too; its sum cannot be checked then."""
LEAVE_S = 20
"""A contestant that is asked to end says its sums and goes; one that does not is ended."""


class Sample(NamedTuple):
    """A look at a contestant: steady clock, CPU seconds used until then, source offsets committed."""

    at_s: float
    cpu_s: float
    committed: int


@dataclass(frozen=True)
class Result:
    """One contestant's run.

    `events_per_s` by the wall clock, `cpu_us_per_event` of its process, both over `events`; `resident_mb` at the end; `changelog_bytes` per event
    of the whole run (0: it keeps none); `wrong` says what of its sums is not as expected, empty where all is; `share` of the log that it was
    through with when it was ended, 1 where it was done.
    """

    name: str
    events: int
    events_per_s: float
    cpu_us_per_event: float
    resident_mb: float
    changelog_bytes: float = 0.0
    wrong: str = ""
    share: float = 1.0
    samples: tuple[Sample, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """For the JSON file."""
        return asdict(replace(self, samples=()))


@dataclass(frozen=True)
class Source:
    """What a contestant reads: done when `group` has committed `end` (summed over partitions) of `topic`."""

    bootstrap: str
    group: str
    topic: str
    partitions: int
    end: int


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Whatever this thread starts meanwhile, with all its own threads, stays on the first (0) or last (−1) core of those it may use.

    Set before the start and not after it: a JVM that runs already has threads that would not move. No pinning where the system has none (macOS).
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(allowed)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def committed(group: Consumer, topic: str, partitions: int) -> int:
    """Sum of the group's committed offsets; 0 while its coordinator still loads."""
    try:
        found = group.committed([TopicPartition(topic, number) for number in range(partitions)], timeout=10)
    except KafkaException:
        return 0
    return sum(max(0, part.offset) for part in found)


def run(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, source: Source) -> Result:
    """Start a contestant on the last core, time it until it is done with its source (or too slow), ask it to end. Ends it, whatever happens.

    Raises RuntimeError where it ends by itself, or commits nothing.
    """
    with pinned(-1):
        # Started before the consumer, which has threads; tied to this process, so that it is gone too where the benchmark is killed.
        child = process.start(command, log, {**os.environ, **environment})
    watched = Consumer({"bootstrap.servers": source.bootstrap, "group.id": source.group, "enable.auto.commit": False})
    try:
        samples, memory_mb = _watch(name, child, watched, source, log)
        child.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(LEAVE_S)
        done = samples[-1].committed
        return replace(summed(name, samples, min(done, source.end), memory_mb), share=min(1.0, done / source.end))
    finally:
        watched.close()
        child.kill()
        child.wait()


def _watch(name: str, child: subprocess.Popen[bytes], watched: Consumer, source: Source, log: Path) -> tuple[list[Sample], float]:
    """Samples until the source is done or the time is over, one whenever more was committed, and the resident memory then."""
    watching = psutil.Process(child.pid)
    deadline_s = time.monotonic() + LONGEST_S
    samples = [Sample(time.monotonic(), 0.0, 0)]
    while time.monotonic() < deadline_s:
        if child.poll() is not None:
            raise RuntimeError(f"{name} ended with {child.returncode}:\n{log.read_text(errors='replace')[-2000:]}")
        at = committed(watched, source.topic, source.partitions)
        if at > samples[-1].committed:
            cpu = watching.cpu_times()
            samples.append(Sample(time.monotonic(), cpu.user + cpu.system, at))
        if at >= source.end:
            break
        time.sleep(POLL_S)
    return samples, watching.memory_info().rss / 1e6


def summed(name: str, samples: Sequence[Sample], end: int, memory_mb: float) -> Result:
    """The result of a run's samples: from the first one at or past 15 % of `end` to the last. Raises RuntimeError where these are one."""
    begun, done = between(samples, WARM * end, end)
    if done.committed == begun.committed:
        raise RuntimeError(f"{name} was done before it could be measured, or committed nothing: use more events")
    events = done.committed - begun.committed
    rate = events / (done.at_s - begun.at_s)
    return Result(name, events, rate, (done.cpu_s - begun.cpu_s) / events * 1e6, memory_mb, samples=tuple(samples))


def between(samples: Sequence[Sample], low: float, high: float) -> tuple[Sample, Sample]:
    """The first samples at or past two positions (the last one where none is). A sample lies where a commit was seen: no span begins inside one."""
    first = next((sample for sample in samples if sample.committed >= low), samples[-1])
    last = next((sample for sample in samples if sample.committed >= high), samples[-1])
    return first, last
