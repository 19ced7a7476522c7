"""Delivery for all three apps: whole batches, committed records only, explicit starts, commits after durability (law 5).

    flow = install(app, topics=["usage.events"])
    batches = app.channel(maxsize=2)                      # the back-pressure: two batches wait, the third stops the fetch
    flow.attach(listener, lambda batch: batches.put(value=batch))

Small files: `delivery_holdings` (which epoch, which position; pure) · `delivery_thread` (aiokafka's side) ·
`delivery_consumer` (Faust's side) · `delivery_columns` (fetches to columns) · `delivery_socket` (answers
received where they stay) · `delivery_headers` (names that are no text) · `delivery_overrides` (what of theirs is replaced, pinned by hash).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError
from faust.transport.drivers.aiokafka import Producer, Transport

from infra.delivery_consumer import BatchConsumer
from infra.delivery_errors import DeliveryBroken
from infra.delivery_headers import read_any_header_name
from infra.delivery_holdings import Holdings
from infra.delivery_overrides import OVERRIDES
from infra.delivery_socket import receive_in_place
from infra.delivery_thread import Session
from topics.batch import Batch, Listener, TopicPartition
from topics.errors import Unreachable

if TYPE_CHECKING:
    from infra.delivery_thread import BatchConsumerThread

__all__ = ["OVERRIDES", "Delivery", "install"]

log = logging.getLogger(__name__)

Put = Callable[[Batch], Awaitable[None]]
Stands = Callable[[TopicPartition, int, int], bool]
"""Whether what an app holds is what the offsets [begin, end) of a changelog make, so that they need not be read."""

REVOKE_TIMEOUT_S = 8.0
"""How long an app may take to flush when partitions go. More delays everybody's rebalance; less drops work that a
slow broker would have taken (all of it is replayed, none is lost)."""

COMMIT_TIMEOUT_S = 5.0
"""How long the commit of a revoke may take. A commit that is missed costs a replay, which the fence skips."""

CANCEL_GRACE_S = 1.0
"""How long a cancelled task of the app may take to end before delivery stops waiting for it."""

RANGE_RETRY_S = 0.5
"""Pause before an offset is asked for again that the log holds although a fetch said otherwise (a new leader)."""


class Delivery:
    """The `topics.batch.Flow` of one app. Everything here belongs to the app's event loop."""

    def __init__(self, app: Any, topics: Iterable[str]) -> None:
        self.topics = frozenset(topics)
        self.holdings = Holdings()
        self.failure: BaseException | None = None
        self._app = app
        self._listener: Listener | None = None
        self._put: Put | None = None
        self._stands: Stands = lambda _tp, _begin, _end: False
        self._progress = 0

    def attach(self, listener: Listener, put: Put) -> None:
        """Say who is asked and where batches go; before the app starts."""
        self._listener, self._put = listener, put

    def skip_unchanged(self, stands: Stands) -> None:
        """Ask this of each changelog that is to be recovered, and read only those for which it is not true."""
        self._stands = stands

    def stands(self, tp: TopicPartition, begin: int, end: int) -> bool:
        """Whether the changelog, with these bounds in this assignment, need not be read."""
        return self._stands(tp, begin, end)

    # ── Flow ────────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def progress(self) -> int:
        """See `topics.batch.Flow.progress`."""
        return self._progress

    def epoch(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow.epoch`."""
        return self.holdings.epoch(tp)

    def assigned(self) -> frozenset[TopicPartition]:
        """See `topics.batch.Flow.assigned`."""
        return frozenset(self.holdings.open_epochs())

    def position(self, tp: TopicPartition) -> int | None:
        """See `topics.batch.Flow.position`."""
        return self.holdings.position(tp)

    def commit(self, tp: TopicPartition, next_offset: int) -> None:
        """See `topics.batch.Flow.commit`."""
        self.holdings.mark(tp, next_offset)

    async def committed(self, tp: TopicPartition) -> int | None:
        """See `topics.batch.Flow.committed`."""
        return await self._thread.committed(tp)

    async def last_stable_offset(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow.last_stable_offset`."""
        return (await self.bounds([tp]))[tp][1]

    async def beginning_offset(self, tp: TopicPartition) -> int:
        """See `topics.batch.Flow.beginning_offset`."""
        return (await self.bounds([tp]))[tp][0]

    async def bounds(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and last stable offset of many partitions in two requests; `Unreachable` after 90 s of trying."""
        try:
            return await self._thread.bounds(list(tps))
        except (KafkaTimeoutError, KafkaConnectionError) as error:
            raise Unreachable(f"Kafka did not say where its partitions begin and end ({type(error).__name__})") from error

    # ── called by BatchConsumer ─────────────────────────────────────────────────────────────────────────────────
    @property
    def _consumer(self) -> BatchConsumer:
        consumer = self._app.consumer
        if not isinstance(consumer, BatchConsumer):
            raise DeliveryBroken("the app's consumer is Faust's own: delivery was installed after its transport was made")
        return consumer

    @property
    def _thread(self) -> BatchConsumerThread:
        return self._consumer.thread

    @property
    def listener(self) -> Listener:
        """Who is asked."""
        if self._listener is None:
            raise DeliveryBroken("nobody listens: call attach() before the app starts")
        return self._listener

    async def put(self, batch: Batch) -> None:
        """Hand one batch to the app; returns when the app had room for it."""
        if self._put is None:
            raise DeliveryBroken("batches have nowhere to go: call attach() before the app starts")
        await self._put(batch)

    def moved(self) -> None:
        """Something was delivered, or there was nothing to deliver."""
        self._progress += 1

    async def fail(self, error: BaseException) -> None:
        """End the worker visibly: its supervisor starts it again, and nothing was committed that is not durable."""
        if self.failure is None:
            self.failure = error
            log.critical("delivery ends this worker: %s: %s", type(error).__name__, error)
            await self._app.crash(error)

    async def open(self, tps: frozenset[TopicPartition]) -> None:
        """Ask the app where to start and read from there. Runs as a task that a revoke cancels."""
        try:
            await self.let_go(None)  # Faust always revokes before it assigns; if it ever did not, nothing may cross
            await self._open(tps)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task, so what it died of must end the worker
            await self.fail(error)

    async def _open(self, tps: frozenset[TopicPartition]) -> None:
        if not tps:
            return
        epoch = self.holdings.begin(tps)
        starts = dict(await self.listener.start_offsets(tps, epoch))
        if missing := tps - starts.keys():
            raise DeliveryBroken(f"the app did not say where to start {sorted(missing)}")
        bounds = await self.bounds(tps)
        for tp in tps:
            begin, end = bounds[tp]
            if not begin <= starts[tp] <= end:
                await self._refuse(tp, starts.pop(tp), begin, end)
        starts = {tp: offset for tp, offset in starts.items() if self.holdings.epoch(tp) == epoch}
        await self._thread.open_at(starts, epoch)
        self.holdings.open(starts, epoch)
        log.info("reading %s", ", ".join(f"{tp[0]}-{tp[1]} from {offset}" for tp, offset in sorted(starts.items())))

    async def _refuse(self, tp: TopicPartition, wanted: int, begin: int, end: int) -> None:
        self.holdings.close(tp)
        log.critical("%s-%s: offset %s is wanted, the log holds [%s, %s); not read, never reset", *tp, wanted, begin, end)
        await self.listener.on_out_of_range(tp, wanted, begin, end)

    async def out_of_range(self, tp: TopicPartition, session: Session) -> None:
        """A fetch was refused: retention passed the position or the log was cut. Or only a new leader that lags."""
        begin, end = (await self.bounds([tp]))[tp]
        if self.holdings.epoch(tp) != session.epoch:
            return
        if begin <= session.position <= end:
            await asyncio.sleep(RANGE_RETRY_S)
            if self.holdings.epoch(tp) == session.epoch:
                await self._thread.open_at({tp: session.position}, session.epoch)
        else:
            await self._refuse(tp, session.position, begin, end)

    async def let_go(self, opening: asyncio.Task[None] | None) -> None:
        """Give up everything held. In this order, with what a crash between costs:

        1. the epochs end: batches under way are void, marks are still taken. A crash here or later costs a replay;
        2. a start that is still being computed is cancelled;
        3. the app flushes and marks, bounded: what it did not finish is dropped and replayed by the next owner;
        4. what it marked is committed, bounded: a commit that is missed costs a replay;
        5. the partitions are forgotten: later marks are ignored.
        """
        tps = self.holdings.leave()
        self._thread.end_sessions()
        if opening is not None and not opening.done():
            opening.cancel()
            await asyncio.wait({opening}, timeout=CANCEL_GRACE_S)
        if not tps:
            return
        try:
            await self._flush(tps)
            await self._commit_marked()
        finally:
            self.holdings.forget(tps)

    async def _flush(self, tps: frozenset[TopicPartition]) -> None:
        flush = asyncio.ensure_future(self.listener.on_revoked(tps))
        await asyncio.wait({flush}, timeout=REVOKE_TIMEOUT_S)
        if flush.done():
            flush.result()
            return
        log.warning("the app did not let go of its partitions within %s s; what it had not flushed will be replayed", REVOKE_TIMEOUT_S)
        flush.cancel()
        await asyncio.wait({flush}, timeout=CANCEL_GRACE_S)

    async def _commit_marked(self) -> None:
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                # Twice, since Faust's commit does nothing but wait when another is under way with older marks.
                await self._consumer.commit()
                await self._consumer.commit()
        except TimeoutError:
            log.warning("offsets were not committed within %s s; the next owner replays a little", COMMIT_TIMEOUT_S)


def transport_for(delivery: Delivery) -> type[Any]:
    """Faust's Kafka transport with our consumer and an idempotent producer."""

    class DeliveryConsumer(BatchConsumer):
        """`BatchConsumer` of this delivery."""

    class IdempotentProducer(Producer):
        """Faust's producer, acks all and idempotent: Faust sets either only with its exactly_once."""

        mundane_level = "debug"

        def _settings_extra(self) -> dict[str, Any]:
            return {"acks": "all", "enable_idempotence": True}

    DeliveryConsumer.delivery = delivery

    class DeliveryTransport(Transport):
        """What `app._new_transport` makes."""

        Consumer = DeliveryConsumer
        Producer = IdempotentProducer

    return DeliveryTransport


def install(app: Any, topics: Iterable[str], listener: Listener | None = None, put: Put | None = None) -> Delivery:
    """Replace the delivery of `topics` in `app`; before its first topic, channel iteration or agent is made.

    `listener` and `put` may follow with `Delivery.attach`, for apps whose parts need the flow first.
    """
    if app._transport is not None:
        raise DeliveryBroken("install delivery before the app's first topic or agent: its transport is already made")
    read_any_header_name()
    receive_in_place()
    delivery = Delivery(app, topics)
    if listener is not None and put is not None:
        delivery.attach(listener, put)
    transport = transport_for(delivery)
    app._new_transport = lambda: transport(app.conf.broker_consumer, app)
    app._new_producer_transport = lambda: transport(app.conf.broker_producer, app)
    app.delivery = delivery
    for name in sorted(delivery.topics):
        # So that the conductor subscribes to the name; nothing of ours ever arrives there.
        topic = app.topic(name, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw", acks=False)
        app.topics.add(topic.clone(is_iterator=True))
    return delivery
