"""A real Kafka, meter workers as real processes, usage of every kind, and the truth about it counted here, without the product."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra import kafka_io, topics_admin
from infra.control import close_event, meters_event
from infra.embedded import process
from infra.embedded.testing import KafkaCluster, kafka_broker
from infra.settings import load_settings
from topics.home import home_of
from topics.meters import Meter, Timing

PARTITIONS = 4
WINDOW_S = 3600
METERS = (
    Meter(slug="calls", event_type="api.request", window_s=WINDOW_S, grace_ms=1000),
    Meter(slug="tokens", event_type="llm.call", value="n", window_s=WINDOW_S, grace_ms=1000),
)
TIMING = Timing(revision_delay_ms=300)
FATES = ("counted", "duplicate", "rejected", "too_late", "rerouted")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Truth:
    """What was sent, and what must come of it."""

    fates: Counter[str] = field(default_factory=Counter)
    totals: defaultdict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))
    events: Counter[tuple[str, str, int]] = field(default_factory=Counter)


class Traffic:
    """Seeded usage: most of it good, some sent twice, some to the wrong partition, some that is none, some from long ago."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.truth = Truth()
        self.sent: list[tuple[bytes, bytes]] = []
        self.number = 0
        self.start = datetime.now(UTC) - timedelta(hours=6)

    def _event(self, customer: str, at: datetime) -> tuple[bytes, dict[str, Any]]:
        self.number += 1
        meter = self.rng.choice(METERS)
        data = {"n": self.rng.randrange(1000)} if meter.slug == "tokens" else {}
        event = {
            "specversion": "1.0",
            "id": f"e{self.number}",
            "source": "rig",
            "type": meter.event_type,
            "subject": customer,
            "time": at.isoformat().replace("+00:00", "Z"),
            "data": data,
        }
        return customer.encode(), event

    def _count(self, event: dict[str, Any], at: datetime) -> None:
        slug = "tokens" if event["type"] == "llm.call" else "calls"
        row = (event["subject"], slug, int(at.timestamp()) // WINDOW_S * WINDOW_S)
        self.truth.totals[row] += event["data"].get("n", 1)
        self.truth.events[row] += 1

    def next(self) -> tuple[bytes | None, bytes, int]:
        """Key, value and partition of the next record."""
        if self.sent and self.rng.random() < 0.08:
            key, value = self.rng.choice(self.sent)
            self.truth.fates["duplicate"] += 1
            return key, value, home_of(key, PARTITIONS)
        customer = f"customer-{self.rng.randrange(40)}"
        home = home_of(customer.encode(), PARTITIONS)
        kind = self.rng.random()
        if kind < 0.03:
            self.truth.fates["rejected"] += 1
            bad = self.rng.choice((b"", b"no json", b'{"specversion":"1.0"}', b"\xff\xfe"))
            return customer.encode(), bad, home
        at = self.start + timedelta(seconds=self.rng.randrange(5 * 3600))
        if kind < 0.05:
            self.truth.fates["too_late"] += 1
            key, event = self._event(customer, at - timedelta(days=40))
            return key, json.dumps(event).encode(), home
        key, event = self._event(customer, at)
        value = json.dumps(event).encode()
        self._count(event, at)
        self.truth.fates["counted"] += 1
        self.sent.append((key, value))
        if kind < 0.10:
            self.truth.fates["rerouted"] += 1
            return key, value, (home + 1) % PARTITIONS
        return key, value, home


@dataclass
class Rig:
    """One broker and the workers of one test."""

    broker: KafkaCluster
    folder: Path
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    settled: dict[int, dict[str, Any]] = field(default_factory=dict)

    def environment(self, name: str) -> dict[str, str]:
        """What the supervisor would give this worker."""
        port = 20_000 + (os.getpid() * 7 + sum(name.encode()) * 13) % 20_000
        return {
            "TIDEMARK_KAFKA__BOOTSTRAP": self.broker.bootstrap,
            "TIDEMARK_KAFKA__REPLICATION": "1",
            "TIDEMARK_KAFKA__MIN_INSYNC": "1",
            "TIDEMARK_EMBEDDED": "1",
            "TIDEMARK_WORKER__NAME": name,
            "TIDEMARK_WORKER__HTTP": f"127.0.0.1:{port}",
            "TIDEMARK_WORKER__DIR": str(self.folder / name),
            "TIDEMARK_WORKER__SESSION_TIMEOUT_S": "6",
        }

    def prepare(self) -> None:
        """Topics, and the meters on every partition."""
        settings = load_settings(None, self.environment("any"))
        asyncio.run(topics_admin.apply(settings.kafka))
        event = meters_event(TIMING, METERS, None)
        self.send([(event.key, event.value, partition) for partition in range(PARTITIONS)])

    def send(self, records: list[tuple[bytes | None, bytes, int]]) -> None:
        """Produce, acknowledged."""

        async def produce() -> None:
            async with kafka_io.producer(self.broker.bootstrap) as producer:
                sent = [await producer.send("usage.events", value, key=key, partition=partition) for key, value, partition in records]
                await asyncio.gather(*sent)

        asyncio.run(produce())

    def start(self, name: str) -> None:
        """One worker; its log is in the test's folder."""
        command = [sys.executable, "-m", "infra.worker", "meter"]
        environment = {**os.environ, **self.environment(name)}
        self.workers[name] = process.start(command, self.folder / f"{name}.log", environment, directory=ROOT)

    def signal(self, name: str, number: signal.Signals) -> None:
        """SIGKILL and SIGTERM are waited for."""
        self.workers[name].send_signal(number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self.workers[name].wait(20)

    def get(self, name: str, path: str) -> tuple[int, str]:
        """Status code and body of one of a worker's addresses; 0 where it does not answer."""
        address = self.environment(name)["TIDEMARK_WORKER__HTTP"]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=3) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self, name: str) -> dict[str, Any]:
        """The worker's `/status`; empty where it does not answer."""
        code, body = self.get(name, "/status")
        return dict(json.loads(body)) if code == 200 else {}

    def lines(self) -> dict[int, dict[str, Any]]:
        """The partition lines of all workers."""
        return {line["partition"]: line for name in self.workers for line in self.status(name).get("partitions", [])}

    def settle(self, seconds: float = 60.0) -> dict[int, dict[str, Any]]:
        """Close every window, wait until all is durable and emitted; the partitions' lines."""
        close = close_event(f"{time.time_ns()}")
        self.send([(close.key, close.value, partition) for partition in range(PARTITIONS)])
        self.until(self._is_settled, "settled", seconds)
        return self.settled

    def _is_settled(self) -> bool:
        lines = self.settled = self.lines()
        windows = [self.status(name).get("windows", {}) for name in self.workers]
        behind = [line for line in lines.values() if line["durable_offset"] < line["end_offset"]]
        return len(lines) == PARTITIONS and not behind and not any(found.get("open", 0) + found.get("due", 0) for found in windows)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Wait; the tail of every worker's log when it never comes."""
        deadline = time.monotonic() + seconds
        while not condition():
            tails = "\n".join(process.tail(self.folder / f"{name}.log", 15) for name in self.workers) if time.monotonic() > deadline else ""
            assert time.monotonic() < deadline, f"never {what}: {self.lines()}\n{tails}"
            time.sleep(0.1)

    def read(self, topic: str) -> list[Any]:
        """Every committed record of a topic."""

        async def everything() -> list[Any]:
            return [record for partition in range(PARTITIONS) async for record in kafka_io.reader(self.broker.bootstrap, topic, partition, 0)]

        return asyncio.run(everything())

    def emitted(self) -> tuple[dict[tuple[str, str, int], tuple[int, int]], list[str]]:
        """(customer, meter, start) → (quantity, events) of its highest revision, and what contradicts itself."""
        faults: list[str] = []
        bodies: dict[tuple[bytes, int, int], bytes] = {}
        newest: dict[tuple[str, str, int], tuple[tuple[int, int], tuple[int, int]]] = {}
        for record in self.read("usage.windows"):
            total = json.loads(record.value)
            revision = (total["generation"], total["through_offset"])
            if bodies.setdefault((record.key, *revision), record.value) != record.value:
                faults.append(f"{record.key!r} {revision} names two totals")
            start = int(datetime.fromisoformat(total["start"]).timestamp())
            row = (total["customer"], total["meter"], start)
            if row not in newest or revision > newest[row][0]:
                newest[row] = (revision, (int(total["quantity"]), total["events"]))
            if total["partition"] != record.partition or record.partition != home_of(total["customer"].encode(), PARTITIONS):
                faults.append(f"{record.key!r} is not at home")
        return {row: total for row, (_, total) in newest.items()}, faults

    def wrongs(self, truth: Truth, lines: dict[int, dict[str, Any]]) -> list[str]:
        """Everything in which the outcome differs from the truth; nothing when all is exact."""
        found, faults = self.emitted()
        wanted = {row: (total, truth.events[row]) for row, total in truth.totals.items()}
        faults += [f"{row}: {found.get(row)} emitted, {wanted.get(row)} sent" for row in found.keys() | wanted if found.get(row) != wanted.get(row)]
        faults += [f"partition {line['partition']}: residual {line['residual']}" for line in lines.values() if line["residual"]]
        wanted_fates = self._fates(truth)
        counted = {fate: sum(line[fate] for line in lines.values()) for fate in FATES}
        if counted != wanted_fates:
            faults.append(f"counters {counted}, sent {wanted_fates}")
        said = [json.loads(record.value) for record in self.read("usage.verdicts")]
        verdicts = Counter({(each["partition"], each["offset"]): each["verdict"] for each in said if each["verdict"] != "mark"}.values())
        if verdicts != Counter({fate: number for fate, number in wanted_fates.items() if fate != "counted" and number}):
            faults.append(f"verdicts {verdicts}, sent {wanted_fates}")
        return faults

    def _fates(self, truth: Truth) -> dict[str, int]:
        """A crash between re-sending and the counters sends again: that copy is a duplicate of the first, and counted once all the same."""
        copies = sum(any(name == "tidemark-origin-offset" for name, _ in record.headers) for record in self.read("usage.events"))
        return {fate: truth.fates[fate] + (copies - truth.fates["rerouted"] if fate == "duplicate" else 0) for fate in FATES}


@contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    """A rig whose broker and workers are gone when the block ends. Its broker compacts as soon as a topic's settings let it."""
    with kafka_broker(folder, properties={"log.cleaner.backoff.ms": 300}) as broker:
        made = Rig(broker, folder)
        made.prepare()
        try:
            yield made
        finally:
            for worker in made.workers.values():
                worker.kill()
                worker.wait()
