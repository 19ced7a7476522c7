"""The product's `Delivery` on the simulated broker: membership, fetching and commits as `infra/delivery_consumer.py` does them, without Faust."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, Final

from aiokafka.errors import KafkaConnectionError

from infra.delivery import Delivery
from infra.delivery_thread import Session, batch_of
from tests.simulation.broker import NoAnswer
from tests.simulation.group import Group, Member
from topics.batch import Batch, TopicPartition

COMMIT_EVERY_S: Final = 1.5
POLL_S: Final = 3.0
CUTS: Final = (1, 2, 7, 30, 500)


class Sessions:
    """What `BatchConsumerThread` is to `Delivery`: positions by epoch, bounds, committed offsets."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.positions: dict[TopicPartition, Session] = {}

    async def open_at(self, starts: Mapping[TopicPartition, int], epoch: int) -> None:
        """See `BatchConsumerThread.open_at`."""
        self.positions.update({tp: Session(epoch, offset) for tp, offset in starts.items()})

    def end_sessions(self) -> None:
        """See `BatchConsumerThread.end_sessions`."""
        self.positions = {}

    async def bounds(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """See `BatchConsumerThread.bounds`: a whole minute and a half of tries before it gives up."""
        wanted = list(tps)
        for _ in range(5):
            try:
                return await self.group.broker.ask(lambda: self.group.broker.bounds(wanted))
            except NoAnswer:
                continue
        raise KafkaConnectionError

    async def committed(self, tp: TopicPartition) -> int | None:
        """See `BatchConsumerThread.committed`: aiokafka asks until it is answered."""
        while True:
            try:
                return await self.group.broker.ask(lambda: self.group.committed.get(tp))
            except NoAnswer:
                continue


class SimulatedDelivery(Delivery):
    """One process's delivery. `died` hears of what ends the worker."""

    def __init__(self, group: Group, member: Member, topics: Iterable[str]) -> None:
        super().__init__(SimpleNamespace(crash=self._crash), topics)
        self.group = group
        self.member = member
        self.sessions = Sessions(group)
        self.suspended = asyncio.Event()
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def _crash(self, error: BaseException) -> None:
        if not self.crashed.done():
            self.crashed.set_exception(error)

    @property
    def _thread(self) -> Any:
        return self.sessions

    @property
    def _consumer(self) -> Any:
        return SimpleNamespace(commit=self.commit_marked)

    # ── membership ──────────────────────────────────────────────────────────────────────────────────────────────
    async def belong(self, before_open: Any) -> None:
        """Join, open, let go, for ever. `before_open(partitions)` is the recovery of tables."""
        while True:
            partitions = await self.group.join(self.member)
            self.suspended.clear()
            opening = asyncio.ensure_future(self._recover_and_open(partitions, before_open))
            await self.member.moved.wait()
            self.suspended.set()
            await self.let_go(opening)

    async def _recover_and_open(self, partitions: frozenset[int], before_open: Any) -> None:
        try:
            await before_open(partitions)
        except Exception as error:  # noqa: BLE001 - as Faust's recovery: what it dies of ends the worker
            await self.fail(error)
            return
        await self.open(frozenset((topic, partition) for topic in self.topics for partition in partitions))

    async def stop(self) -> None:
        """SIGTERM: let go and leave."""
        self.suspended.set()
        await self.let_go(None)
        self.group.leave(self.member)

    # ── fetching ────────────────────────────────────────────────────────────────────────────────────────────────
    async def fetch(self) -> None:
        """Poll and hand over, for ever."""
        while True:
            wanted = self.holdings.open_epochs()
            sessions = {tp: session for tp, session in sorted(self.sessions.positions.items()) if wanted.get(tp) == session.epoch}
            await self.group.broker.more([(tp, session.position) for tp, session in sessions.items()], POLL_S)
            for tp, session in sessions.items():
                if not self.group.broker.is_down:
                    await self._poll(tp, session)
            self.moved()

    async def _poll(self, tp: TopicPartition, session: Session) -> None:
        if self.sessions.positions.get(tp) is not session:
            return
        log, chance, position = self.group.broker.logs[tp], self.group.broker.kernel.chance, session.position
        if not log.begin <= position <= log.end:
            del self.sessions.positions[tp]
            await self.out_of_range(tp, session)
            return
        upto = min(log.stable, position + chance.choice(CUTS))
        if upto <= position:
            return
        batch = batch_of(tp, session, log.committed(position, upto), upto)
        session.position = upto
        await self._hand_over(batch)

    async def _hand_over(self, batch: Batch) -> None:
        if not self.holdings.admits(batch):
            return
        assert self.holdings.follows(batch), f"{batch.tp}: a batch starts at {batch.start_offset}, the one before ended elsewhere"
        if await self._unless_suspended(self.put(batch)):
            self.holdings.advance(batch)

    async def _unless_suspended(self, work: Coroutine[Any, Any, None]) -> bool:
        """As `BatchConsumer._unless_suspended`."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.suspended.wait())
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        return not task.cancelled()

    # ── committing ──────────────────────────────────────────────────────────────────────────────────────────────
    async def commit_often(self) -> None:
        """Faust's commit timer."""
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            await self.commit_marked()

    async def commit_marked(self) -> None:
        """All marks, in one request; a group that has moved on takes none of them."""
        offsets = {tp: marked for tp in self.holdings.committable() if (marked := self.holdings.marked(tp)) is not None}
        member = self.member
        if not offsets:
            return
        try:
            await self.group.broker.ask(lambda: self.group.commit(member, offsets))
        except NoAnswer:
            return
