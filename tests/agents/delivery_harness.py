"""A meter in miniature for delivery's tests: offsets are its state, a ledger its durable storage, the fence its law 2.

Every worker counts offsets per partition in memory and flushes them to the ledger, which refuses a flush that does not
continue exactly where the last one ended. Exact at the end: each offset of each partition in the ledger once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.admin import NewTopic

from infra import kafka_io
from infra.delivery import Delivery, install
from infra.faust_app import build_app, serve
from topics.batch import Batch, TopicPartition

SESSION_S = 6.0
"""The embedded stack's session time-out: the shortest that a broker with default settings accepts."""


@dataclass
class Ledger:
    """Durable storage: runs of offsets per partition, appended only where the last one ended; a file when `path` is given."""

    path: Path | None = None
    runs: dict[int, list[tuple[int, int, list[int]]]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    writers: dict[int, int] = field(default_factory=dict)  # who wrote each partition's last run, by process id

    def load(self) -> Ledger:
        """Read the file; a last line that was being written when its writer was killed does not count."""
        self.runs = {}
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path is not None and self.path.exists() else []
        for line in lines:
            partition, start, end, offsets, writer = json.loads(line)
            self.writers[partition] = writer
            self._append(partition, start, end, offsets)
        return self

    def load_if_file(self) -> Ledger:
        """What is durable now, wherever it is."""
        return self.load() if self.path is not None else self

    def _append(self, partition: int, start: int, end: int, offsets: list[int]) -> None:
        if start != self.next_offset(partition):
            self.refused.append(f"partition {partition}: a run starts at {start}, the ledger ends at {self.next_offset(partition)}")
            return
        self.runs.setdefault(partition, []).append((start, end, offsets))

    def next_offset(self, partition: int) -> int:
        """Where the partition continues."""
        runs = self.runs.get(partition)
        return runs[-1][1] if runs else 0

    def write(self, partition: int, start: int, end: int, offsets: list[int]) -> None:
        """Append one run, fenced."""
        if self.path is not None:
            with self.path.open("ab") as file:
                file.write(json.dumps([partition, start, end, offsets, os.getpid()]).encode() + b"\n")
        self._append(partition, start, end, offsets)

    def offsets(self, partition: int) -> list[int]:
        """Every offset counted, in the order it was."""
        return [offset for _start, _end, run in self.runs.get(partition, ()) for offset in run]

    def total(self) -> int:
        """How many records were counted."""
        return sum(len(self.offsets(p)) for p in self.runs)


@dataclass
class Miniature:
    """The listener and receiver of one worker. `hold` stops it from handling batches; `flush_s` is how slow a flush is."""

    ledger: Ledger
    flow: Delivery
    flush_s: float = 0.0
    start_at: dict[TopicPartition, int] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    stale: list[Batch] = field(default_factory=list)
    lost: list[tuple[TopicPartition, int, int, int]] = field(default_factory=list)
    revokes: list[frozenset[TopicPartition]] = field(default_factory=list)
    refuse_starts: BaseException | None = None
    wedge_revoke: bool = False
    pending: dict[TopicPartition, tuple[int, int, list[int]]] = field(default_factory=dict)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    async def start_offsets(self, tps: frozenset[TopicPartition], epoch: int) -> Mapping[TopicPartition, int]:
        """From the ledger, or from `start_at` where a test says so."""
        if self.refuse_starts is not None:
            raise self.refuse_starts
        if self.ledger.path is not None:
            self.ledger.load()
        starts = {tp: self.start_at.get(tp, self.ledger.next_offset(tp[1])) for tp in tps}
        self.pending = {tp: (offset, offset, []) for tp, offset in starts.items()}
        return starts

    async def on_revoked(self, tps: frozenset[TopicPartition]) -> None:
        """Flush, mark, let go."""
        self.revokes.append(tps)
        if self.wedge_revoke:
            await asyncio.sleep(3600)
        for tp in tps:
            await self.flush(tp)
        self.pending = {}

    async def on_out_of_range(self, tp: TopicPartition, wanted: int, begin: int, end: int) -> None:
        """Remember it."""
        self.lost.append((tp, wanted, begin, end))

    async def handle(self, batch: Batch) -> None:
        """Count one batch if its epoch is current and it continues exactly where this worker is."""
        await self.hold.wait()
        if self.flow.epoch(batch.tp) != batch.epoch:
            self.stale.append(batch)
            return
        self.batches.append(batch)
        start, end, offsets = self.pending[batch.tp]
        assert batch.start_offset == end, f"{batch.tp}: a batch from {batch.start_offset} after {end}"
        self.pending[batch.tp] = (start, batch.next_offset, [*offsets, *batch.offsets])

    async def flush(self, tp: TopicPartition) -> None:
        """Make durable what is pending, then mark it."""
        held = self.pending.get(tp)
        if held is None or held[0] == held[1]:
            return
        start, end, offsets = held
        await asyncio.sleep(self.flush_s)
        if self.pending.get(tp) is not held:
            return  # changed while we slept: the next flush takes all of it
        self.ledger.write(tp[1], start, end, offsets)
        self.pending[tp] = (end, end, [])
        self.flow.commit(tp, end)

    async def flush_all(self) -> None:
        """Flush what this worker holds now."""
        for tp in self.flow.assigned():
            await self.flush(tp)

    def offsets(self, partition: int) -> list[int]:
        """Offsets handed over so far."""
        return [offset for batch in self.batches if batch.partition == partition for offset in batch.offsets]


@dataclass
class Running:
    """One worker in this process."""

    app: Any
    flow: Delivery
    mini: Miniature
    stop: asyncio.Event
    task: asyncio.Task[int]

    async def end(self) -> int:
        """Stop it as SIGTERM would; returns its exit code."""
        self.stop.set()
        return await asyncio.wait_for(self.task, 45)


def app_of(bootstrap: str, group: str, topic: str, name: str, folder: Path, prepare: Callable[[Any], None] | None = None) -> tuple[Any, Delivery]:
    """A worker's app and its miniature, not yet started; `prepare` may add tables."""
    app = build_app(group, bootstrap=bootstrap, partitions=4, instance_id=name, session_timeout_s=SESSION_S, datadir=folder / name)
    flow = install(app, [topic])
    if prepare is not None:
        prepare(app)
    return app, flow


def wire(app: Any, flow: Delivery, mini: Miniature, flush_every_s: float = 0.2) -> None:
    """The agent that takes batches from a channel of two, and the flush timer."""
    channel = app.channel(maxsize=2)
    flow.attach(mini, channel.put)

    @app.agent(channel, name="miniature")
    async def miniature(stream: Any) -> None:
        async for batch in stream:
            await mini.handle(batch)

    @app.timer(flush_every_s, name="flush")
    async def flush() -> None:
        await mini.flush_all()


@contextlib.asynccontextmanager
async def worker(
    bootstrap: str,
    topic: str,
    folder: Path,
    *,
    name: str = "w0",
    group: str | None = None,
    ledger: Ledger | None = None,
    prepare: Callable[[Any], None] | None = None,
    set_up: Callable[[Miniature], None] | None = None,
) -> AsyncIterator[Running]:
    """A worker in this process, started; stopped at the end if the test did not."""
    app, flow = app_of(bootstrap, group or f"group-{topic}", topic, name, folder, prepare)
    mini = Miniature(ledger if ledger is not None else Ledger(), flow)
    if set_up is not None:
        set_up(mini)
    wire(app, flow, mini)
    stop = asyncio.Event()
    running = Running(app, flow, mini, stop, asyncio.ensure_future(serve(app, stop)))
    try:
        yield running
    finally:
        running.mini.hold.set()
        if not running.task.done():
            await running.end()
        gc.collect()  # so that what Faust left behind is complained about here and not in a later test


async def until(condition: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    """Wait until the condition holds; what it is has to be said, for the one who reads the failure."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never came true: {what}"
        await asyncio.sleep(0.05)


async def make_topic(bootstrap: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
    """A new topic of its own for one test."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    async with kafka_io.admin(bootstrap) as client:
        await client.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(config or {}))])
    return name


async def send(bootstrap: str, topic: str, count: int, *, partition: int | None = None, size: int = 8) -> None:
    """`count` records, round the partitions or all to one."""
    async with kafka_io.producer(bootstrap) as client:
        for number in range(count):
            body = str(number).encode().ljust(size, b".")
            await client.send(topic, body, key=str(number).encode(), partition=number % 4 if partition is None else partition)
        await client.flush()


def exact(ledger: Ledger, ends: Mapping[int, int]) -> Iterator[str]:
    """What is wrong with the ledger of a topic without transactions: nothing, when each offset is in it once."""
    yield from ledger.refused
    for partition, end in ends.items():
        if ledger.offsets(partition) != list(range(end)):
            yield f"partition {partition}: {len(ledger.offsets(partition))} offsets counted, {end} written"
