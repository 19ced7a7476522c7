"""A world of chance around the meter's shell: one partition, a changelog, a broker that delays, fails and lets things land late.

The shell and the core in it are the real ones; only Kafka is replaced. One seed is one schedule: asyncio's order is fixed, pauses are
turns of the loop, the clock is a number.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from streams.bases import Bases
from streams.driver import Meter, MeterOptions
from streams.ports import Base, ChangelogRecord, Kept, RecordAt
from streams.sends import Send
from tests.agents.meter_verdict import disagreements
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, batch_of, customers, meters_record, usage
from tests.core.naive import Naive
from topics.batch import NOT_ASSIGNED, TopicPartition
from topics.catalog import EVENTS, STATE, WINDOWS
from topics.meters import Meter as MeterRecord
from topics.meters import Timing

Answer = TypeVar("Answer")

TP: TopicPartition = (EVENTS, 0)
WINDOW_S, GRACE_MS = 10, 1000
METERS = (
    MeterRecord(slug="calls", event_type="api.request", window_s=WINDOW_S, grace_ms=GRACE_MS),
    MeterRecord(slug="tokens", event_type="llm.call", value="n", window_s=WINDOW_S, grace_ms=GRACE_MS),
)
NAIVE_METERS: list[dict[str, Any]] = [
    {"slug": "calls", "type": "api.request", "value": "count", "window_s": WINDOW_S},
    {"slug": "tokens", "type": "llm.call", "value": "n", "window_s": WINDOW_S},
]
TIMING = Timing(revision_delay_ms=500, dedup_ms=2 * 3_600_000, horizon_ms=3 * 3_600_000)


def instant(ms: int) -> str:
    """RFC 3339, UTC."""
    return (datetime(1970, 1, 1) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"  # noqa: DTZ001 - it is UTC


class SendFailed(Exception):
    """The broker refused a record, or the acknowledgement never came."""


class Inline(ThreadPoolExecutor):
    """Runs at once what the shell hands to a thread, so that a seed is one schedule."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it belongs to who awaits the future
            future.set_exception(error)
        return future


class World:
    """The log, the changelog, what was emitted, what was committed, and the naive account of it all."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now_ms = NOW_MS
        self.log, self.disk = Log(), Disk()
        self.windows: list[Send] = []
        self.committed: int | None = None
        self.faults: list[str] = []
        self.fail_rate = 0.0
        self.keeps = True  # a state in memory goes on where it may
        self.begin = 0
        """The log's first offset: retention may have taken what is below."""
        self.cluster_id = "test"
        self.names = customers(5)
        self.naive = Naive(NAIVE_METERS, dedup_ms=TIMING.dedup_ms, horizon_ms=TIMING.horizon_ms, future_ms=TIMING.future_ms, at_home=set(self.names))
        self._add(*meters_record(METERS, TIMING))

    def _add(self, key: bytes | None, value: bytes) -> None:
        self.log.add(key, value, self.now_ms)
        self.naive.take(self.log.records[-1])

    def produce(self, count: int) -> None:
        """Events of several customers: a tenth copies, some bad, some late, time moving on."""
        for _ in range(count):
            self.now_ms += self.rng.choice((0, 1, 40, 300))
            if self.rng.random() < 0.01:
                self.now_ms += 40 * 60_000
            customer = self.rng.choice(self.names)
            number = self.rng.randrange(400)
            time = instant(self.now_ms - self.rng.randrange(4 * 3_600_000)) if self.rng.random() < 0.2 else None
            if self.rng.random() < 0.05:
                self._add(customer.encode(), self.rng.choice((b"no json", usage("somebody_else", "x", None))))
            elif self.rng.random() < 0.5:
                self._add(customer.encode(), usage(customer, f"a{number}", time))
            else:
                self._add(customer.encode(), usage(customer, f"t{number}", time, {"n": number}, "llm.call"))
        if self.rng.random() < 0.2:
            self.log.marker()

    def land(self, send: Send) -> None:
        """The broker has it."""
        if send.topic == STATE:
            self.disk.append(send.key, send.value)
        elif send.topic == WINDOWS:
            self.windows.append(send)

    async def pause(self, most: int = 4) -> None:
        """A few turns of the loop."""
        for _ in range(self.rng.randrange(most)):
            await asyncio.sleep(0)


class Outbox:
    """Sends of one worker: each lands on its own time; some fail; what is under way at a kill may land long after."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.under_way: list[Send] = []
        self.running = asyncio.Event()
        self.running.set()

    async def send_all(self, sends: Sequence[Send]) -> None:
        """See `streams.ports.Outbox`."""
        self.under_way += sends
        for send in self.world.rng.sample(list(sends), len(sends)):
            await self.world.pause()
            await self.running.wait()
            if self.world.rng.random() < self.world.fail_rate:
                raise SendFailed(send.topic)
            self.under_way.remove(send)
            self.world.land(send)
        await self.world.pause()
        await self.running.wait()


class Flow:
    """What delivery tells one worker."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.current = NOT_ASSIGNED
        self.is_held = False
        self.progress = 1

    def epoch(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow`."""
        return self.current

    def assigned(self) -> frozenset[TopicPartition]:
        """See `topics.batch.Flow`."""
        return frozenset({TP}) if self.current != NOT_ASSIGNED else frozenset()

    def position(self, tp: TopicPartition) -> int | None:
        """See `topics.batch.Flow`."""
        return None

    def commit(self, tp: TopicPartition, next_offset: int) -> None:
        """See `topics.batch.Flow`: monotone, ignored for what is not held."""
        if self.is_held:
            self.world.committed = max(self.world.committed or 0, next_offset)

    async def committed(self, tp: TopicPartition) -> int | None:
        """See `topics.batch.Flow`."""
        await self.world.pause()
        return self.world.committed

    async def last_stable_offset(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow`."""
        await self.world.pause()
        return self.world.log.end

    async def beginning_offset(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow`."""
        await self.world.pause()
        return self.world.begin


class Surroundings:
    """The changelog as recovery read it, and the reader of single records."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bases = Bases()
        self.reads = 0
        """How often the changelog was read."""

    def recover(self) -> None:
        """As Faust recovers a table, and delivery lets it skip what stands."""
        disk = self.world.disk
        self.bases.begin({0})
        if not self.bases.stands(0, 0, disk.offset):
            self.reads += 1
            for key, value, offset in disk.records:
                self.bases.collect(0, ChangelogRecord(key or b"", value, offset))
        self.bases.complete({0})

    def take(self, partition: int) -> Base:
        """See `streams.ports.Changelog`."""
        return self.bases.take(partition)

    def keep(self, partition: int, kept: Kept) -> None:
        """See `streams.ports.Changelog`."""
        if self.world.keeps:
            self.bases.keep(partition, kept)

    async def cluster_id(self) -> str:
        """See `streams.ports.LogReader`."""
        return self.world.cluster_id

    async def record_at(self, tp: TopicPartition, offset: int) -> RecordAt | None:
        """See `streams.ports.LogReader`."""
        await self.world.pause()
        found = [record for record in self.world.log.records if record.offset == offset]
        return RecordAt(found[0].key, found[0].value, found[0].timestamp_ms) if found else None


class Worker:
    """One process: the meter, its agent behind a queue, and delivery's feeding of that queue."""

    def __init__(self, world: World, pressure_records: int = 40) -> None:
        self.world = world
        self.flow, self.outbox, self.around = Flow(world), Outbox(world), Surroundings(world)
        self.meter = Meter(
            flow=self.flow,
            changelog=self.around,
            outbox=self.outbox,
            log_reader=self.around,
            options=MeterOptions(partitions=PARTITIONS, turn_ms=0, pressure_records=pressure_records),
            now_ms=lambda: world.now_ms,
            random_bytes=world.rng.randbytes,
        )
        self.batches: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
        self.tasks = [asyncio.ensure_future(self.meter.run()), asyncio.ensure_future(self._agent())]
        self.feeding: asyncio.Task[None] | None = None
        self.epochs = 0

    async def _agent(self) -> None:
        while True:
            await self.meter.take(await self.batches.get())

    async def _feed(self, position: int, epoch: int) -> None:
        while True:
            for batch in self.world.log.batches(position, self.world.rng):
                found = [record for record in self.world.log.records if batch.start_offset <= record.offset < batch.next_offset]
                await self.batches.put(batch_of(found, batch.start_offset, batch.next_offset, epoch))
                position = batch.next_offset
                await self.world.pause()
            await asyncio.sleep(0)

    @property
    def crash(self) -> BaseException | None:
        """What one of its tasks died of."""
        return next((task.exception() for task in self.tasks if task.done() and not task.cancelled()), None)

    async def assign(self) -> None:
        """Recover, start, read."""
        self.around.recover()
        self.epochs += 1
        self.flow.current, self.flow.is_held = self.epochs, True
        starts = await self.meter.start_offsets(frozenset({TP}), self.epochs)
        committed = self.world.committed
        if committed is not None and starts[TP] < committed:
            self.world.faults.append(f"offset {committed} was committed, only {starts[TP]} is durable")
        if not self.world.begin <= starts[TP] <= self.world.log.end:  # as delivery does it: not read, never reset
            await self.meter.on_out_of_range(TP, starts[TP], self.world.begin, self.world.log.end)
            return
        if self.flow.current == self.epochs:
            self.feeding = asyncio.ensure_future(self._feed(starts[TP], self.epochs))

    async def revoke(self, patience: int) -> None:
        """As delivery does it: end the epoch, wait for the flush a bounded time, cancel it, forget. Queued batches stay queued (H1)."""
        self.flow.current = NOT_ASSIGNED
        if self.feeding is not None:
            self.feeding.cancel()
        leaving = asyncio.ensure_future(self.meter.on_revoked(frozenset({TP})))
        for _ in range(patience):
            if leaving.done():
                break
            await asyncio.sleep(0)
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError, SendFailed):
            await leaving
        self.flow.is_held = False

    def freeze(self) -> None:
        """SIGSTOP in the middle of a send: it believes to hold its partition, the group knows better and takes no commit from it."""
        self.outbox.running.clear()
        self.flow.is_held = False

    async def thaw(self) -> None:
        """SIGCONT: it goes on for a while, until it learns that another worker has its partition."""
        self.outbox.running.set()
        await self.world.pause(60)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL: nothing of it goes on, but what it had sent may land later, in part."""
        tasks = [*self.tasks, *([self.feeding] if self.feeding else [])]
        self.flow.is_held = False
        sent = list(self.outbox.under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for send in sent:
            if self.world.rng.random() < 0.5:
                asyncio.get_running_loop().call_later(0, self.world.land, send)


async def settle(world: World, worker: Worker, turns: int = 20_000) -> bool:
    """Let a healthy worker finish: all durable, every window emitted."""
    for _ in range(turns):
        await asyncio.sleep(0)
        if worker.meter.halted or worker.crash:
            return False
        world.now_ms += 20
        held = worker.meter.held.get(0)
        if held is not None and held.core.durable_offset == world.log.end:
            counts = held.core.windows(world.now_ms)
            if counts.open == counts.due == 0:
                return True
    return False


async def one_life(world: World, deeds: int, mutate: Callable[[Worker], None] | None = None) -> list[str]:
    """A seeded schedule of production, kills, revokes that time out, reassignments and failing sends; then the truth."""

    async def begin() -> Worker:
        made = Worker(world)
        if mutate is not None:
            mutate(made)
        await made.assign()
        return made

    worker = await begin()
    frozen: list[Worker] = []
    for _ in range(deeds):
        world.produce(world.rng.randrange(30))
        world.fail_rate = world.rng.choice((0.0, 0.0, 0.02))
        for _ in range(world.rng.randrange(40)):
            await asyncio.sleep(0)
        deed = world.rng.random()
        if worker.crash is not None or deed < 0.25:
            await worker.kill()
            worker = await begin()
        elif deed < 0.4:
            worker.freeze()
            frozen.append(worker)
            worker = await begin()
        elif deed < 0.5 and frozen:
            await frozen.pop(world.rng.randrange(len(frozen))).thaw()
        elif deed < 0.75:
            await worker.revoke(world.rng.choice((1, 3, 30)))
            await world.pause(20)
            await worker.assign()
        if world.rng.random() < 0.3:
            world.disk.compact(world.rng)
    world.fail_rate = 0.0
    for paused in frozen:
        await paused.thaw()
    if worker.crash is not None:
        await worker.kill()
        worker = await begin()
    settled = await settle(world, worker)
    faults = disagreements(world, worker) if settled or worker.meter.halted else [*world.faults, "never settled"]
    await worker.kill()
    return faults


def in_a_loop(life: Coroutine[Any, Any, Answer]) -> Answer:
    """Run one life in a loop of its own, and end whatever it left behind."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(Inline())
    try:
        return loop.run_until_complete(life)
    finally:
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


def live(seed: int, deeds: int = 12, mutate: Callable[[Worker], None] | None = None) -> list[str]:
    """What is wrong after one seeded life; nothing when all is exact."""
    return in_a_loop(one_life(World(random.Random(seed)), deeds, mutate))


if __name__ == "__main__":
    import sys

    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        if wrong := live(number):
            sys.stdout.write(f"{number}: {wrong}\n")
