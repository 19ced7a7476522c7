"""A consumer group: static members, generations that fence, a session time-out for who is silent, an eager rebalance for who joins.

The rules are Kafka's (KIP-345 for static members): a restarted member of the same name gets its old partitions back and fences the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.broker import Broker
from tests.simulation.kernel import Process
from topics.batch import TopicPartition

SESSION_S: Final = 6.0
"""As the embedded stack sets it."""
REBALANCE_S: Final = 12.0
"""How long a rebalance waits for members that still let go."""
HEARTBEAT_S: Final = 2.0
"""Within this time a living member hears that its group moves."""


@dataclass(eq=False)
class Member:
    """One incarnation of a named member. `moved` is set once it must let go; `joined` waits for the next assignment."""

    name: str
    process: Process
    moved: asyncio.Event
    generation: int = -1
    partitions: frozenset[int] = frozenset()
    joined: asyncio.Future[frozenset[int] | None] | None = None
    silent_since_s: float | None = None


@dataclass(eq=False)
class Group:
    """One group over all partitions of its topics; the same numbers of all topics go together."""

    name: str
    broker: Broker
    promise: Callable[[Broker, TopicPartition, int, int], list[str]]
    """What a committed offset says of the records between the one before and it; what it says wrongly is a fault."""
    generation: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    is_moving: bool = False

    # ── what members ask (each is a request of its process) ─────────────────────────────────────────────────────
    async def join(self, member: Member) -> frozenset[int]:
        """The partitions of the next generation, once everybody let go; at once for a restarted static member."""
        while True:
            partitions = await self._join(member)
            if partitions is not None:
                return partitions

    async def _join(self, member: Member) -> frozenset[int] | None:
        await asyncio.sleep(self.broker.delay_s())
        while self.broker.is_down:
            await asyncio.sleep(0.5)
        before = self.members.get(member.name)
        if before is not None and before is not member and not self.is_moving and before.generation == self.generation:
            self._replace(before, member)
            return member.partitions
        if before is not None and before is not member:
            self._fence(before)
        self.members[member.name] = member
        joined: asyncio.Future[frozenset[int] | None] = self.broker.kernel.create_future()
        member.joined = joined
        member.moved.clear()
        self._move()
        self._maybe_assign()
        return await joined

    def _replace(self, before: Member, member: Member) -> None:
        """KIP-345: same name, same partitions, same generation; the one before is fenced."""
        self.members[member.name] = member
        member.generation, member.partitions = before.generation, before.partitions
        member.moved.clear()
        self._fence(before)

    def commit(self, member: Member, offsets: Mapping[TopicPartition, int]) -> bool:
        """Store offsets; False where the member is of an older generation or incarnation."""
        if self.members.get(member.name) is not member or member.generation != self.generation:
            return False
        for tp, offset in offsets.items():
            self.broker.faults += self.promise(self.broker, tp, self.committed.get(tp, 0), offset)
            self.committed[tp] = offset
        return True

    def leave(self, member: Member) -> None:
        """Gone for good: a smaller deployment."""
        if self.members.get(member.name) is member:
            del self.members[member.name]
            self._move()
            self._maybe_assign()

    # ── what the coordinator does ───────────────────────────────────────────────────────────────────────────────
    def look(self) -> None:
        """Once a second: who has been silent for a session is out."""
        now_s = self.broker.kernel.now_s
        for member in list(self.members.values()):
            silent = member.process.frozen or not member.process.alive
            member.silent_since_s = (member.silent_since_s if member.silent_since_s is not None else now_s) if silent else None
            if member.silent_since_s is not None and now_s - member.silent_since_s >= SESSION_S:
                del self.members[member.name]
                self._fence(member)
                self._move()
        self._maybe_assign()

    def _fence(self, member: Member) -> None:
        """It hears of it some time after it can hear at all; one that was joining joins again."""
        member.generation = -1
        joined, member.joined = member.joined, None
        if joined is not None and not joined.done():
            joined.set_result(None)
            return
        self._say(member)

    def _say(self, member: Member) -> None:
        kernel = self.broker.kernel

        def say() -> None:
            if not member.process.alive or member.joined is not None:
                return
            if member.process.frozen:
                kernel.outside(1.0, say)
            else:
                member.moved.set()

        kernel.outside(kernel.chance.random() * HEARTBEAT_S, say)

    def _move(self) -> None:
        """A rebalance begins, once."""
        if self.is_moving:
            return
        self.is_moving = True
        for member in self.members.values():
            if member.joined is None:
                self._say(member)
        self.broker.kernel.outside(REBALANCE_S, lambda generation=self.generation: self._give_up(generation))  # type: ignore[misc]

    def _give_up(self, generation: int) -> None:
        """Who has not joined by now is left behind."""
        if self.is_moving and self.generation == generation:
            for member in [member for member in self.members.values() if member.joined is None]:
                del self.members[member.name]
                self._fence(member)
            self._maybe_assign()

    def _maybe_assign(self) -> None:
        if not self.is_moving or any(member.joined is None for member in self.members.values()):
            return
        self.is_moving = False
        self.generation += 1
        members = list(self.members.values())
        shares: dict[str, set[int]] = {member.name: set() for member in members}
        first = self.broker.kernel.chance.randrange(max(1, len(members)))
        for partition in range(self.broker.partitions if members else 0):
            shares[members[(first + partition) % len(members)].name].add(partition)
        for member in members:
            member.generation, member.partitions = self.generation, frozenset(shares[member.name])
            joined, member.joined = member.joined, None
            if joined is not None and not joined.done():
                joined.set_result(member.partitions)
