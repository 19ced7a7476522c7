"""The three workers as processes: the product's own shells on simulated ports. What one dies of ends its process, as Faust's `crash` does."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

from sinks.clickhouse.app import ARCHIVE_TOPICS, ArchiveSettings, ArchiveWorker
from sinks.stripe.agent_clock import SteadyClock
from sinks.stripe.app import ReportSettings, ReportWorker
from sinks.stripe.app_ports import LostOwnership
from streams.bases import Bases
from streams.driver import Meter, MeterOptions
from streams.ports import Base, ChangelogRecord, Kept, RecordAt
from streams.sends import Send
from tests.simulation.broker import Broker, NoAnswer
from tests.simulation.clickhouse import Engine, SimulatedRawLog, SimulatedStore
from tests.simulation.delivering import SimulatedDelivery
from tests.simulation.group import Group, Member
from tests.simulation.kernel import Kernel
from tests.simulation.provider import SimulatedProvider, StripeSite
from topics.batch import Batch, TopicPartition
from topics.catalog import DEFINITIONS, EVENTS, RECEIPTS, STATE, WINDOWS
from topics.codec import encode
from topics.definitions import Definition, decode_definition
from topics.errors import TidemarkError, Unreachable
from topics.receipt import Receipt, decode_receipt, decode_receipt_key

Answer = TypeVar("Answer")
ACK_TRIES: Final = 2
"""Requests of 20 s each until the producer's own time-out ends the worker."""
READ_CHUNK: Final = 40


class NotAcknowledged(TidemarkError):
    """As `infra.outbox.NotAcknowledged`."""


async def insist(broker: Broker, work: Callable[[], Answer]) -> Answer:
    """Ask until there is an answer."""
    while True:
        try:
            return await broker.ask(work)
        except NoAnswer:
            continue


class Worker:
    """One life of one named worker. `died(worker, error)` is told, in the world, what ended it."""

    topics: tuple[str, ...] = ()

    def __init__(self, name: str, group: Group, died: Callable[[Worker, BaseException], None], turn_ms: int = 500) -> None:
        self.name = name
        self.group = group
        self.broker = group.broker
        self.kernel: Kernel = group.broker.kernel
        self.turn_ms = turn_ms
        self.process = self.kernel.spawn(name)
        self.delivery: SimulatedDelivery
        self._died = died
        self.kernel.inside(self.process, self._start)

    def _start(self) -> None:
        self.member = Member(self.name, self.process, asyncio.Event())
        self.delivery = SimulatedDelivery(self.group, self.member, self.topics)
        self.batches: asyncio.Queue[Batch] = asyncio.Queue(maxsize=2)
        self.work: Any = self.make()
        self.delivery.attach(self.work, self.batches.put)
        parts = [self.delivery.belong(self.recover), self.delivery.fetch(), self.delivery.commit_often(), self._agent(), *self.parts()]
        self._main = asyncio.ensure_future(self._watch([asyncio.ensure_future(part) for part in parts]))

    async def _watch(self, parts: list[asyncio.Future[Any]]) -> None:
        done, _ = await asyncio.wait([*parts, self.delivery.crashed], return_when=asyncio.FIRST_COMPLETED)
        ended = next(iter(done))
        error = RuntimeError("a loop was cancelled") if ended.cancelled() else ended.exception() or RuntimeError("a loop ended")
        self.kernel.outside(0.0, lambda: self._died(self, error))

    async def _agent(self) -> None:
        while True:
            await self.work.take(await self.batches.get())

    def now_ms(self) -> int:
        """This process's wall clock."""
        return self.kernel.now_ms(self.process)

    def make(self) -> Any:
        """The product's worker."""
        raise NotImplementedError

    def parts(self) -> list[Coroutine[Any, Any, Any]]:
        """Its further tasks."""
        return []

    async def recover(self, partitions: frozenset[int]) -> None:
        """Tables, before anything is opened."""

    @property
    def halted(self) -> str | None:
        """Why it stands still on purpose."""
        return self.work.halted  # type: ignore[no-any-return]


class MeterWorker(Worker):
    """The meter: `streams.driver.Meter` with the cores in it."""

    topics = (EVENTS,)

    def make(self) -> Meter:
        """See `infra.wiring.wire_meter`."""
        self.changelog = SimulatedChangelog()
        options = MeterOptions(partitions=self.broker.partitions, turn_ms=self.turn_ms, pressure_records=60)
        return Meter(
            flow=self.delivery,
            changelog=self.changelog,
            outbox=SimulatedOutbox(self.broker),
            log_reader=SimulatedLogReader(self.broker),
            options=options,
            now_ms=self.now_ms,
            random_bytes=self.kernel.chance.randbytes,
        )

    def parts(self) -> list[Coroutine[Any, Any, Any]]:
        """Its turns."""
        return [self.work.run()]

    async def recover(self, partitions: frozenset[int]) -> None:
        """As Faust recovers a table: each changelog to the end it has now, but for those that stand."""
        bases = self.changelog.bases
        bases.begin(partitions)
        for partition in sorted(partitions):
            log = self.broker.logs[STATE, partition]
            begin, end = (await insist(self.broker, lambda p=partition: self.broker.bounds([(STATE, p)])))[STATE, partition]  # type: ignore[misc]
            stands = bases.stands(partition, begin, end)
            while begin < end and not stands:
                upto = min(end, begin + READ_CHUNK)
                records = await insist(self.broker, lambda log=log, at=begin, upto=upto: log.committed(at, upto))  # type: ignore[misc]
                for record in records:
                    bases.collect(partition, ChangelogRecord(record.key or b"", record.value, record.offset))
                begin = upto
        bases.complete(partitions)


class SimulatedChangelog:
    """`streams.ports.Changelog`."""

    def __init__(self) -> None:
        self.bases = Bases()

    def take(self, partition: int) -> Base:
        """See `streams.ports.Changelog`."""
        return self.bases.take(partition)

    def keep(self, partition: int, kept: Kept) -> None:
        """See `streams.ports.Changelog`."""
        self.bases.keep(partition, kept)


class SimulatedOutbox:
    """`streams.ports.Outbox` as an idempotent producer keeps it: in order within a partition, never twice, perhaps without an answer."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def send_all(self, sends: Sequence[Send]) -> None:
        """See `streams.ports.Outbox`."""
        partitions: defaultdict[TopicPartition, list[Send]] = defaultdict(list)
        for send in sends:
            partitions[send.topic, send.partition].append(send)
        await asyncio.gather(*(self._send(tp, group) for tp, group in partitions.items()))

    async def _send(self, tp: TopicPartition, sends: list[Send]) -> None:
        cut = max(1, len(sends) // self.broker.kernel.chance.choice((1, 1, 3)))
        for at in range(0, len(sends), cut):
            await self._land(tp, sends[at : at + cut])

    async def _land(self, tp: TopicPartition, sends: list[Send]) -> None:
        landed: list[int] = []

        def land() -> None:
            if not landed:
                landed.append(1)
                for send in sends:
                    self.broker.append(*tp, send.key, send.value, tuple(send.headers))

        for _ in range(ACK_TRIES):
            try:
                await self.broker.ask(land)
            except NoAnswer:
                continue
            return
        raise NotAcknowledged(f"{tp[0]}: not acknowledged")


class SimulatedLogReader:
    """`streams.ports.LogReader`."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def cluster_id(self) -> str:
        """See `streams.ports.LogReader`."""
        return await insist(self.broker, lambda: self.broker.cluster_id)

    async def record_at(self, tp: TopicPartition, offset: int) -> RecordAt | None:
        """See `streams.ports.LogReader`."""
        found = await insist(self.broker, lambda: self.broker.logs[tp].committed(offset, offset + 1))
        return RecordAt(found[0].key, found[0].value, found[0].timestamp_ms) if found else None


class ReportProcess(Worker):
    """The report: `sinks.stripe.app.ReportWorker` with its drivers and machines."""

    topics = (WINDOWS,)

    def __init__(self, name: str, group: Group, died: Callable[[Worker, BaseException], None], site: StripeSite) -> None:
        self.site = site
        super().__init__(name, group, died)

    def make(self) -> ReportWorker:
        """See `infra.wiring.wire_report`."""
        clock = SteadyClock(self.now_ms, lambda: int(self.kernel.now_s * 1000))
        self.provider = SimulatedProvider(self.site, self.kernel)
        return ReportWorker(
            ReportSettings(bootstrap="", api_base="", api_key="", calls_per_second=50.0),
            flow=self.delivery,
            metrics=Unmeasured(),
            provider=self.provider,
            open_log=lambda partition: SimulatedReceiptLog(self.broker, partition),
            now_ms=clock.now_ms,
        )


class Unmeasured:
    """`sinks.stripe.app_ports.Metrics`, for nobody."""

    def delivered(self, seconds_since_close: float) -> None:
        """Not counted."""

    def outcome(self, provider: str, outcome: str) -> None:
        """Not counted."""


class SimulatedReceiptLog:
    """`sinks.stripe.app_ports.Log`: a transactional id fences, a commit without an answer is unknown."""

    def __init__(self, broker: Broker, partition: int) -> None:
        self.broker = broker
        self.partition = partition
        self.epoch = -1
        self.defined_to = 0

    async def _ask(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await self.broker.ask(work)
        except NoAnswer:
            raise Unreachable("Kafka does not answer") from None

    async def open(self) -> tuple[list[Receipt], list[Definition]]:
        """See `Log.open`."""

        def fence() -> int:
            self.broker.epochs[self.partition] += 1
            return self.broker.epochs[self.partition]

        self.epoch = await self._ask(fence)
        last: dict[bytes, tuple[bytes, str]] = {}
        for record in await self._read(RECEIPTS, 0):
            where = f"{RECEIPTS} {self.partition} offset {record.offset}"
            decode_receipt_key(record.key, where)
            last.pop(record.key, None)
            if record.value is not None:
                last[record.key] = (record.value, where)
        receipts = [decode_receipt(value, where) for value, where in last.values()]
        return receipts, await self._definitions()

    async def _read(self, topic: str, start: int) -> list[Any]:
        log = self.broker.logs[topic, self.partition]
        end = await self._ask(lambda: log.stable)
        found: list[Any] = []
        while start < end:
            upto = min(end, start + READ_CHUNK)
            found += await self._ask(lambda at=start, upto=upto: log.committed(at, upto))  # type: ignore[misc]
            start = upto
        return found

    async def _definitions(self) -> list[Definition]:
        start = self.defined_to
        log = self.broker.logs[DEFINITIONS, self.partition]
        end = await self._ask(lambda: log.stable)
        records = await self._read(DEFINITIONS, start)
        self.defined_to = max(end, records[-1].offset + 1) if records else end
        return [decode_definition(record.value, f"{DEFINITIONS} offset {record.offset}") for record in records if record.value is not None]

    async def write(self, records: Iterable[tuple[bytes, Receipt]]) -> None:
        """See `Log.write`."""
        encoded = [(key, encode(receipt)) for key, receipt in records]

        def commit() -> None:
            if self.broker.epochs[self.partition] != self.epoch:
                raise LostOwnership(f"partition {self.partition}: another worker reports it now")
            self.broker.write_transaction(RECEIPTS, self.partition, encoded)

        await self._ask(commit)

    async def new_definitions(self) -> list[Definition]:
        """See `Log.new_definitions`."""
        await self.broker.more([((DEFINITIONS, self.partition), self.defined_to)], 2.0)
        if self.broker.logs[DEFINITIONS, self.partition].stable == self.defined_to:
            return []
        return await self._definitions()

    async def close(self) -> None:
        """See `Log.close`."""
        await asyncio.sleep(self.broker.delay_s())


class ArchiveProcess(Worker):
    """The archive: `sinks.clickhouse.app.ArchiveWorker`."""

    topics = ARCHIVE_TOPICS

    def __init__(self, name: str, group: Group, died: Callable[[Worker, BaseException], None], engine: Engine) -> None:
        self.engine = engine
        super().__init__(name, group, died)

    def make(self) -> ArchiveWorker:
        """See `infra.wiring.wire_archive`."""
        return ArchiveWorker(
            ArchiveSettings(url="", flush_age_s=1.0),
            flow=self.delivery,
            store=SimulatedStore(self.engine, self.kernel),
            raw_log=SimulatedRawLog(self.broker),
        )

    def parts(self) -> list[Coroutine[Any, Any, Any]]:
        """Its writing."""
        return [self.work.run()]
