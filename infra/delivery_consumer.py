"""The app's half of delivery: Faust's consumer, handing over batches, starting where the app says, committing what it marked.

Overrides private methods of Faust (`infra/delivery_overrides.py` pins them). What is left to Faust: group membership,
assignment, the recovery of tables from their changelogs, the commit timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP

from infra.delivery_errors import DeliveryBroken
from infra.delivery_thread import BatchConsumerThread, Polled
from topics.batch import Batch, TopicPartition

if TYPE_CHECKING:
    from infra.delivery import Delivery

POLL_TIMEOUT_S = 0.2
"""How long a poll waits for records. It bounds how late a trailing marker is noticed and how long a stop waits."""

TOUCH_EVERY_S = 1.0
"""How often a consumer that waits for room shows aiokafka that it lives; far below any `broker_max_poll_interval`."""

NOTHING_OPEN_S = 0.05
"""Pause while no partition is open (the app is being asked where to start): short, since it delays the first batch."""


class BatchConsumer(Consumer):
    """Faust's Kafka consumer for one `Delivery`, which `DeliveryTransport` puts on the class."""

    delivery: ClassVar[Delivery]
    mundane_level = "debug"
    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._to_open: frozenset[TopicPartition] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._plain_seen: dict[TopicPartition, int] = {}
        self._skipped: set[Any] = set()
        self._recovery_epoch = 0

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def thread(self) -> BatchConsumerThread:
        """The half that lives on aiokafka's loop."""
        return self._thread

    @property
    def recovery_epoch(self) -> int:
        """Rises with every revoke: what was fetched of a changelog in an older one is void."""
        return self._recovery_epoch

    # ── where to start ──────────────────────────────────────────────────────────────────────────────────────────
    async def perform_seek(self) -> None:
        """Instead of seeking to committed offsets (law 5): remember what is to be opened once the flow resumes.

        Faust calls this after recovery, and directly where the app has no table, each time just before it resumes the
        flow for good. Not opened here, for two reasons: resuming clears every channel's queue, so a batch handed over
        before would be lost without a trace; and Faust lets this method take only `broker_request_timeout`, after
        which its recovery service ends and the worker hangs, while a report may need minutes to read its receipts.
        """
        assigned = {(tp.topic, tp.partition) for tp in self.assignment()}
        changelogs = self.app.tables.changelog_topics
        if strange := {tp for tp in assigned if tp[0] not in self.delivery.topics and tp[0] not in changelogs}:
            raise DeliveryBroken(f"{sorted(strange)} are subscribed but not delivered in batches; install their topics")
        self._to_open = frozenset(tp for tp in assigned if tp[0] in self.delivery.topics)

    def resume_flow(self) -> None:
        """Faust resumes twice, once to recover and once for good; only the second follows `perform_seek`."""
        super().resume_flow()
        if self._to_open is not None:
            tps, self._to_open = self._to_open, None
            self._opening = asyncio.ensure_future(self.delivery.open(tps))

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        """Seek changelogs to where recovery starts, which Faust computes as one before the log's first offset.

        Where retention or DeleteRecords has moved the log's start that offset does not exist, and with reset `none`
        the worker would not start.
        """
        bounds = await self.thread.bounds((tp.topic, tp.partition) for tp in partitions)
        for tp in partitions:
            self._plain_seen.pop((tp.topic, tp.partition), None)
        starts = {tp: max(offset, bounds[tp.topic, tp.partition][0]) for tp, offset in partitions.items()}
        await super().seek_wait(starts | self._unchanged({tp: bounds[tp.topic, tp.partition][0] for tp in partitions}))

    def _unchanged(self, begins: Mapping[Any, int]) -> dict[Any, int]:
        """The ends of changelogs that need not be read. Faust asked for the ends just now, reads what lies before them, and does not wait for what
        it believes to have: the offset up to which it has read is set to the last one. It keeps that when another rebalance makes it begin anew
        at once; if by then a changelog must be read after all, it is read from its beginning."""
        recovery, found = self.app.tables.recovery, dict[Any, int]()
        for tp, begin in begins.items():
            last = recovery.active_highwaters.get(tp)
            if last is not None and tp in recovery.active_tps and self.delivery.stands((tp.topic, tp.partition), begin, last + 1):
                self._skipped.add(tp)
                recovery.active_offsets[tp], found[tp] = last, last + 1
            elif tp in self._skipped:
                self._skipped.discard(tp)
                recovery.active_offsets[tp], found[tp] = begin - 1, begin
        return found

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                await self._turn()
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker ends visibly and its supervisor restarts it
            if not self.app.should_stop:
                await self.delivery.fail(error)

    async def _turn(self) -> None:
        """One poll and the handing over of what it found."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
            return
        wanted = self.delivery.holdings.open_epochs()
        topics = self.delivery.topics
        plain = {(tp.topic, tp.partition): self._recovery_epoch for tp in self._get_active_partitions() if tp.topic not in topics}
        if not wanted and not plain:
            if not self.assignment():
                self.delivery.moved()  # a worker without partitions is idle, not stuck
            await asyncio.sleep(NOTHING_OPEN_S)
            return
        epoch = self._recovery_epoch
        polled = await self.thread.poll(wanted, plain, POLL_TIMEOUT_S)
        if epoch != self._recovery_epoch:
            polled.plain.clear()
        await self._hand_over(polled)
        self.delivery.moved()

    async def _hand_over(self, polled: Polled) -> None:
        for tp, session in polled.out_of_range.items():
            await self.delivery.out_of_range(tp, session)
        for batch in polled.batches:
            await self._hand_over_batch(batch)
        for tp, (records, _position) in polled.plain.items():
            await self._unless_suspended(self._hand_over_plain(tp, records))
        self._pass_holes({tp: position for tp, (_records, position) in polled.plain.items()})

    async def _hand_over_batch(self, batch: Batch) -> None:
        holdings = self.delivery.holdings
        if not holdings.admits(batch):
            return  # its epoch ended while it was under way; the next epoch starts with an explicit seek
        if not holdings.follows(batch):
            ended = holdings.position(batch.tp)
            raise DeliveryBroken(f"{batch.topic}-{batch.partition}: a batch starts at {batch.start_offset}, the one before ended at {ended}")
        done = await self._unless_suspended(self.delivery.put(batch))
        if done:
            holdings.advance(batch)
            self.delivery.moved()
        elif holdings.admits(batch):
            raise DeliveryBroken(f"{batch.topic}-{batch.partition}: the channel dropped a batch of the current assignment")

    async def _hand_over_plain(self, tp: TopicPartition, records: Sequence[Any]) -> None:
        """Faust's own path for changelog records: the conductor's callback, one by one."""
        pair = TP(*tp)
        for record in records:
            if not self.flow_active:
                return  # revoked: the next recovery seeks again
            at_least = self._read_offset[pair]
            if at_least is None or record.offset >= at_least:
                await self.callback(self._to_message(pair, record))
                self._read_offset[pair] = record.offset
                self._plain_seen[tp] = record.offset

    def _pass_holes(self, positions: Mapping[TopicPartition, int]) -> None:
        """Let recovery end at a changelog whose last offsets are markers or were compacted away.

        Faust waits for a *record* at the last offset. Its offset is moved up only when it has taken every record that
        was handed over, so none can be skipped; Faust's own loop then notices within five seconds.
        """
        recovery = self.app.tables.recovery
        if not recovery.in_recovery:
            return
        for tp, position in positions.items():
            pair = TP(*tp)
            last, have = recovery.active_highwaters.get(pair), recovery.active_offsets.get(pair)
            if last is None or have is None or not have < last < position:
                continue
            if have >= self._plain_seen.get(tp, have):
                recovery.active_offsets[pair] = last

    async def _unless_suspended(self, work: Coroutine[Any, Any, None]) -> bool:
        """Finish `work`, or give it up when a revoke (or a stop) suspends the flow; False when it did not finish.

        A put that waits for room would otherwise hold the rebalance up, or wake after it (H1).
        """
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.suspend_flow.wait())
        try:
            while not task.done() and not gone.done():
                await asyncio.wait({task, gone}, timeout=TOUCH_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    await self.thread.touch()
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
        if not task.done():
            await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    # ── letting go and committing ───────────────────────────────────────────────────────────────────────────────
    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Finish and commit before Faust forgets: Faust pops what is acked before it commits it (facts/faust.md §4)."""
        self.stop_flow()
        await self.let_go()
        await super().on_partitions_revoked(revoked)

    async def let_go(self) -> None:
        """End the epoch of everything held, let the app flush, commit, forget. Never raises: it ends the worker instead."""
        self.stop_flow()
        self._recovery_epoch += 1
        self._to_open = None
        opening, self._opening = self._opening, None
        try:
            await self.delivery.let_go(opening)
        except Exception as error:  # noqa: BLE001 - aiokafka would log it and go on as if the app had let go
            await self.delivery.fail(error)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[Any]:
        for tp in self.delivery.holdings.committable():
            if topics is None or tp in topics or tp[0] in topics:
                yield TP(*tp)

    def _new_offset(self, tp: Any) -> int | None:
        return self.delivery.holdings.marked((tp.topic, tp.partition))

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        """Commit on the server. A group that has moved on is no error: its revoke is on the way. All else ends the worker."""
        try:
            await self.thread.commit_offsets({(tp.topic, tp.partition): offset for tp, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            self.log.info("offsets not committed, the group has moved on: %s", error)
            return False
        except KafkaError as error:
            await self.delivery.fail(error)
            return False
        return True

    # ── noise ───────────────────────────────────────────────────────────────────────────────────────────────────
    def verify_event_path(self, now: float, tp: Any) -> None:
        """Faust's livelock detector knows nothing of batches and would cry; the supervisor watches `progress` instead."""
