"""The consumer thread's half of delivery: aiokafka's fetches become batches here, in aiokafka's own event loop.

Faust runs the Kafka consumer in a second thread, so heartbeats go on while the app works or waits for room.
Only this thread moves aiokafka's positions, and it moves them only by `open_at` and `poll`: therefore a batch, its
epoch and its two positions are taken together, with no await between, and cannot disagree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from infra.delivery_columns import Columns, in_columns
from infra.delivery_errors import DeliveryBroken
from topics.batch import Batch, TopicPartition
from topics.errors import LostLog

Answer = TypeVar("Answer")

MAX_PLAIN_RECORDS = 20_000
"""How many changelog records a poll takes: Faust handles them one by one, and in between nothing else is handed over."""

FETCH_MAX_WAIT_MS = 150
"""How long the broker may hold a fetch that has nothing to give. Faust fixes 1500, which is also how long a fetch of a
newly opened partition waits behind a running one. Ten empty fetches a second cost a broker nothing."""

FETCH_MAX_BYTES = 32 * 1024 * 1024
"""One fetch answer over all partitions; with 4 MiB a partition it binds only above eight partitions per broker. A poll makes batches of all
that has arrived, so this also bounds what waits for the app, and how long the loop that sends the heartbeats is busy: a tenth of a second."""


@dataclass(slots=True)
class Session:
    """One opened partition: the epoch its records are tagged with and the position delivery left it at."""

    epoch: int
    position: int


@dataclass(slots=True)
class Polled:
    """What one poll found.

    `plain`: records of other topics (Faust's changelogs) with the consumer's position after them;
    `out_of_range`: opened partitions whose position the log does not hold; their sessions have ended.
    """

    batches: list[Batch] = field(default_factory=list)
    plain: dict[TopicPartition, tuple[Sequence[Any], int]] = field(default_factory=dict)
    out_of_range: dict[TopicPartition, Session] = field(default_factory=dict)


def damaged(error: BaseException, sessions: Mapping[TopicPartition, Session]) -> DeliveryBroken:
    """The broker hands out a batch whose CRC is wrong: say where it must lie. Read again, and again, it may be whole on another replica."""
    places = [f"{tp[0]} {tp[1]} at or after offset {session.position}" for tp, session in sessions.items() if str(kafka_tp(tp)) in str(error)]
    return DeliveryBroken(f"{' or '.join(places) or error}: the broker has a damaged batch (its CRC is wrong); restore the log from a replica")


def kafka_tp(tp: TopicPartition) -> KafkaPartition:
    """aiokafka checks the type of what it is given, so a plain or a Faust pair must become its own."""
    return KafkaPartition(tp[0], tp[1])


def batch_of(tp: TopicPartition, session: Session, records: Sequence[Any], next_offset: int) -> Batch:
    """Columns of records, for those who have records."""
    columns = Columns(session.position)
    columns.read(records)
    return columns.batch(tp, session.epoch, session.position, next_offset)


def batches_of(tp: TopicPartition, session: Session, found: Sequence[Columns], position: int) -> Iterator[Batch]:
    """What one poll took of a partition, up to `position`: the last batch goes to where the consumer stands, one without records if need be."""
    start = session.position
    for number, columns in enumerate(found, 1):
        next_offset = position if number == len(found) else columns.next_offset
        yield columns.batch(tp, session.epoch, start, next_offset)
        start = next_offset
    if start < position:
        yield Columns(start).batch(tp, session.epoch, start, position)


class BatchConsumerThread(AIOKafkaConsumerThread):
    """Faust's consumer thread, reading committed records only and handing them over in batches."""

    mundane_level = "debug"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._sessions: dict[TopicPartition, Session] = {}

    # ── the consumer ────────────────────────────────────────────────────────────────────────────────────────────
    def _create_worker_consumer(self, transport: Any) -> Any:
        """Faust's consumer, but read_committed (H9) and with our fetch sizes: Faust offers no setting for either."""
        consumer = super()._create_worker_consumer(transport)
        for name, value in (
            ("_isolation_level", "read_committed"),
            ("_fetch_max_wait_ms", FETCH_MAX_WAIT_MS),
            ("_fetch_max_bytes", FETCH_MAX_BYTES),
        ):
            if not hasattr(consumer, name):
                raise DeliveryBroken(f"aiokafka's consumer has no {name} any more; read_committed cannot be set")
            setattr(consumer, name, value)
        return consumer

    def highwater(self, tp: Any) -> Any:
        """The last stable offset: for a read_committed reader the log ends there."""
        return self._ensure_consumer().last_stable_offset(kafka_tp(tp))

    # ── called from the app's loop ──────────────────────────────────────────────────────────────────────────────
    async def in_thread(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run `work` on the consumer's loop and wait for it; cancelling the wait cancels the work.

        Not Faust's method queue: that has two workers, and a fetch and a commit that wait for an absent broker
        would leave none for anything else.
        """
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

    async def open_at(self, starts: Mapping[TopicPartition, int], epoch: int) -> None:
        """Seek each partition and tag what is read from there on with `epoch`."""
        await self.in_thread(self._open_at(starts, epoch))

    async def _open_at(self, starts: Mapping[TopicPartition, int], epoch: int) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in starts.items():
            consumer.seek(kafka_tp(tp), offset)
            self._sessions[tp] = Session(epoch, offset)

    async def _seek_wait(self, consumer: Any, partitions: Mapping[Any, int]) -> None:
        """Faust seeks changelogs with this before it recovers them: open a session for each, in the recovery's own epoch.

        Otherwise records fetched before a rebalance could be applied after it: Faust skips every changelog record below
        the highest it was given, so one stale record would hide the whole changelog before it (law 2: a complete base).
        """
        for tp, offset in partitions.items():
            self._sessions[tp.topic, tp.partition] = Session(self.consumer.recovery_epoch, offset)
        await super()._seek_wait(consumer, partitions)  # seeks before its first await

    def end_sessions(self) -> None:
        """Nothing more is taken for any partition. Safe from either thread: one assignment."""
        self._sessions = {}

    async def bounds(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and last stable offset of each partition, asked of the server."""
        return await self.in_thread(self._bounds([kafka_tp(tp) for tp in tps]))

    async def _bounds(self, tps: list[KafkaPartition]) -> dict[TopicPartition, tuple[int, int]]:
        consumer = self._ensure_consumer()
        # The end first: retention only raises the beginning, so a partition never looks as if it ended before it began.
        ends = await consumer.end_offsets(tps)
        begins = await consumer.beginning_offsets(tps)
        return {(tp.topic, tp.partition): (begins[tp], max(begins[tp], ends[tp])) for tp in tps}

    async def committed(self, tp: TopicPartition) -> int | None:
        """The group's committed offset on the server."""
        offset: int | None = await self.in_thread(self._ensure_consumer().committed(kafka_tp(tp)))
        return offset

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit; raises what aiokafka raises. While the broker is away it waits."""
        structs = {kafka_tp(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        await self.in_thread(self._ensure_consumer().commit(structs))

    async def touch(self) -> None:
        """Tell aiokafka that the consumer is alive though it takes nothing, and hear what went wrong meanwhile.

        Without it a worker that waits longer than `broker_max_poll_interval` for room (ClickHouse is down) leaves the
        group and never rejoins (facts/faust.md §4).
        """
        await self.in_thread(self._touch())

    async def _touch(self) -> None:
        consumer = self._ensure_consumer()
        self._check_alive(consumer)
        with consumer._subscription.fetch_context():
            pass

    async def poll(self, wanted: Mapping[TopicPartition, int], plain: Mapping[TopicPartition, int], timeout_s: float) -> Polled:
        """Take what has been fetched of `wanted` and `plain`, each with its epoch; wait at most `timeout_s` for it."""
        return await self.in_thread(self._poll(wanted, plain, timeout_s))

    # ── on the consumer's loop ──────────────────────────────────────────────────────────────────────────────────
    @staticmethod
    def _check_alive(consumer: Any) -> None:
        """Raise what the coordinator or the fetcher died of. Faust never asks, so a worker would hang silently."""
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        consumer._coordinator.check_errors()
        if consumer._fetcher.error_future.done():
            consumer._fetcher.error_future.result()

    async def _poll(self, wanted: Mapping[TopicPartition, int], plain: Mapping[TopicPartition, int], timeout_s: float) -> Polled:
        consumer = self._ensure_consumer()
        self._check_alive(consumer)
        with consumer._subscription.fetch_context():
            polled = await self._take(consumer, wanted, plain)
            if polled.batches or polled.out_of_range or any(records for records, _ in polled.plain.values()):
                return polled
            waiter = consumer._fetcher._create_fetch_waiter()
            try:
                # Not by `asyncio.wait_for`: before Python 3.12 it swallows a cancellation that comes together with the fetch.
                async with asyncio.timeout(timeout_s):
                    await waiter
            except TimeoutError:
                return polled
            return await self._take(consumer, wanted, plain)

    async def _take(self, consumer: Any, wanted: Mapping[TopicPartition, int], plain: Mapping[TopicPartition, int]) -> Polled:
        polled = Polled()
        subscription = consumer._subscription
        if subscription.reassignment_in_progress:
            return polled  # what is buffered may belong to another worker already
        assignment = subscription.subscription.assignment
        sessions = {
            tp: session
            for tp, epoch in (*wanted.items(), *plain.items())
            if (session := self._sessions.get(tp)) is not None and session.epoch == epoch and kafka_tp(tp) in assignment.tps
        }
        if not sessions:
            return polled
        self._check_positions(assignment, sessions)
        drained: dict[KafkaPartition, Sequence[Any]] = {}
        try:
            # With time-out 0 neither ever suspends, so nothing moves between here and the tags below.
            if as_records := {kafka_tp(tp) for tp in sessions if tp in plain}:
                drained |= await consumer._fetcher.fetched_records(as_records, timeout=0, max_records=MAX_PLAIN_RECORDS)
            if in_batches := {kafka_tp(tp) for tp in sessions if tp not in plain}:
                for partition in in_batches:
                    in_columns(consumer._fetcher, partition)
                drained |= await consumer._fetcher.fetched_records(in_batches, timeout=0)
        except OffsetOutOfRangeError as error:
            self._end_lost_sessions(error, sessions, wanted, polled)
        except CorruptRecordException as error:
            raise damaged(error, sessions) from error
        for tp, session in sessions.items():
            found, position = drained.get(kafka_tp(tp), ()), assignment.state_value(kafka_tp(tp)).position
            if tp in plain:
                polled.plain[tp] = (found, position)
            elif position > session.position:
                polled.batches += batches_of(tp, session, found, position)
            session.position = position
        return polled

    @staticmethod
    def _check_positions(assignment: Any, sessions: Mapping[TopicPartition, Session]) -> None:
        for tp, session in sessions.items():
            state = assignment.state_value(kafka_tp(tp))
            if not state.has_valid_position or state.position != session.position:
                raise DeliveryBroken(
                    f"{tp[0]}-{tp[1]}: the consumer stands at {state.position if state.has_valid_position else 'no offset'}, "
                    f"delivery left it at {session.position}; restart the worker"
                )

    def _end_lost_sessions(self, error: Any, sessions: dict[TopicPartition, Session], wanted: Mapping[TopicPartition, int], polled: Polled) -> None:
        for kafka, offset in error.args[0].items():
            tp = (kafka.topic, kafka.partition)
            if tp not in wanted:
                raise LostLog(f"{tp[0]}-{tp[1]} does not hold offset {offset}, which a table's recovery must read") from error
            polled.out_of_range[tp] = sessions.pop(tp)
            self._sessions.pop(tp, None)
