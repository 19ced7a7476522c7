"""What a rebalance costs: while events flow, workers join, leave, are killed; how long until every partition's events are counted again.

Read from the marks on `usage.verdicts`: a worker writes one for each partition after each durable flush, with how far it has counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Producer, TopicPartition

from infra.embedded.testing import KafkaCluster
from tests.benchmarks.group import Group, until
from tests.benchmarks.load import PARTITIONS, events
from topics.catalog import EVENTS, VERDICTS
from topics.home import home_of
from topics.verdict import Mark, decode_verdict

RATE = 2_000
"""Events a second that flow meanwhile: little work, so that what is seen is waiting and not counting."""
QUIET_S = 1.5
"""A partition is counted again once its marks have followed the log for so long."""
WATCHED_S = 10.0
"""At least: longer than the session time-out, so that a worker that is silent has been missed."""
LONGEST_S = 120.0


class Trickle:
    """Sends `RATE` events a second to all partitions until it is ended; keeps what it sent."""

    def __init__(self, bootstrap: str, seed: int) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all"})
        self._source = events(10**9, seed, time.time())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Trickle:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if left := self._producer.flush(60):
            raise RuntimeError(f"{left} events were not acknowledged")

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            for _ in range(RATE // 20):
                customer, value = next(self._source)
                self._producer.produce(EVENTS, value, key=customer, partition=home_of(customer.encode(), PARTITIONS))
                self.sent.append((customer, value))
            self._producer.poll(0)


@dataclass
class Marks:
    """How far each partition was counted, and when that was seen."""

    consumer: Consumer
    seen: dict[int, list[tuple[float, int]]] = field(default_factory=lambda: {number: [] for number in range(PARTITIONS)})

    def look(self) -> None:
        """Read what has come."""
        for message in self.consumer.consume(500, timeout=0.05):
            value = message.value()
            if message.error() or value is None:
                continue
            found = decode_verdict(value, VERDICTS)
            if isinstance(found, Mark):
                self.seen[found.partition].append((time.monotonic(), found.next_offset))

    def end_offsets(self) -> dict[int, int]:
        """The log's ends now."""
        return {number: self.consumer.get_watermark_offsets(TopicPartition(EVENTS, number), timeout=10)[1] for number in range(PARTITIONS)}

    def next_offset(self, partition: int) -> int:
        """As last seen."""
        return self.seen[partition][-1][1] if self.seen[partition] else 0


@dataclass(frozen=True)
class Move:
    """One event in the group's life: seconds from it until every partition is counted again, and the longest pause of any partition."""

    name: str
    counted_again_s: float
    pause_s: float


def moves(cluster: KafkaCluster, group: Group, seed: int, say: Callable[[str], None]) -> tuple[list[Move], list[tuple[str, bytes]]]:
    """One worker; a second joins; a third; one is killed and comes back; one leaves for good; one is killed and missed. What was sent, too."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "bench-marks", "enable.auto.commit": False})
    consumer.assign([TopicPartition(VERDICTS, number) for number in range(PARTITIONS)])
    marks = Marks(consumer)
    found: list[Move] = []

    def one(name: str, act: Callable[[], object], workers: int) -> None:
        found.append(observed(name, act, lambda: group.shared_by(workers), marks))
        say(f"{name:44} {found[-1].counted_again_s:6.1f} s until all is counted again, longest pause {found[-1].pause_s:5.1f} s")

    def killed_and_back() -> None:
        group.kill("meter-1")
        group.start("meter-1")

    def left_for_good() -> None:
        group.leave("meter-2")
        group.take_out("meter-2")

    group.start("meter-0")
    group.wait(1)
    try:
        with Trickle(cluster.bootstrap, seed) as trickle:
            one("one worker, nothing happens", lambda: None, 1)
            one("a second joins", lambda: group.start("meter-1"), 2)
            one("a third joins", lambda: group.start("meter-2"), 3)
            one("kill -9, started again under its name", killed_and_back, 3)
            one("SIGTERM, and taken out", left_for_good, 2)
            one("kill -9, does not come back", lambda: group.kill("meter-1"), 1)
        ends = marks.end_offsets()
        until(lambda: _counted(marks, ends), "all that was sent is counted", LONGEST_S)
    finally:
        consumer.close()
    return found, trickle.sent


def _counted(marks: Marks, ends: dict[int, int]) -> bool:
    marks.look()
    return all(marks.next_offset(partition) >= end for partition, end in ends.items())


def observed(name: str, act: Callable[[], object], is_shared: Callable[[], bool], marks: Marks) -> Move:
    """Do it and watch the marks until the partitions are shared as they must be and each has followed the log for `QUIET_S` since its longest pause.

    Counted again is the end of the last partition's longest pause; where none is longer than a second, nothing was interrupted.
    """
    marks.look()
    begun_s = time.monotonic()
    for lines in marks.seen.values():
        del lines[:-1]
    act()
    while time.monotonic() < begun_s + LONGEST_S:
        marks.look()
        now_s = time.monotonic()
        ends = marks.end_offsets()
        behind = any(marks.next_offset(partition) < end - RATE * 1.2 / PARTITIONS for partition, end in ends.items())
        recent = all(lines and now_s - pause_of(lines, begun_s)[1] > QUIET_S and now_s - lines[-1][0] < 1.0 for lines in marks.seen.values())
        if not behind and recent and now_s - begun_s > WATCHED_S and is_shared():
            break
    pauses = [pause_of(lines, begun_s) for lines in marks.seen.values()]
    longest_s = max(pause_s for pause_s, _ in pauses)
    last_s = max(end_s for pause_s, end_s in pauses if pause_s > 1.0) if longest_s > 1.0 else begun_s
    return Move(name, last_s - begun_s, longest_s)


def pause_of(lines: Iterable[tuple[float, int]], begun_s: float) -> tuple[float, float]:
    """(length, end) of the longest time without a mark after `begun_s`."""
    before_s, longest = begun_s, (0.0, begun_s)
    for at_s, _ in lines:
        if at_s > begun_s:
            longest = max(longest, (at_s - before_s, at_s))
            before_s = at_s
    return longest

