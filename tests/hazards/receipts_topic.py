"""`usage.receipts` and its transactions as the report's own log sees them: a model of the broker behind aiokafka's two clients."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaError, ProducerFenced

from topics.catalog import RECEIPTS


class Broker:
    """Partitions of the topic: records with the transaction that wrote them; markers are offsets without a record."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.logs: dict[int, list[Any]] = defaultdict(list)
        self.ends: dict[int, int] = defaultdict(int)
        self.epochs: dict[str, int] = defaultdict(int)
        self.committed: set[int] = set()
        self.open: dict[int, list[int]] = {}
        self.transactions = 0

    async def pause(self) -> None:
        """An await in which others may go on."""
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)

    def append(self, partition: int, key: bytes, value: bytes, transaction: int) -> None:
        """One record, not yet committed."""
        record = SimpleNamespace(offset=self.ends[partition], key=key, value=value, transaction=transaction)
        self.logs[partition].append(record)
        self.ends[partition] += 1
        self.open[transaction].append(partition)

    def finish(self, transaction: int, *, commit: bool) -> None:
        """The markers."""
        if commit:
            self.committed.add(transaction)
        for partition in set(self.open.pop(transaction)):
            self.ends[partition] += 1

    def stable_end(self, partition: int) -> int:
        """The last stable offset."""
        open_ = [record.offset for record in self.logs[partition] if record.transaction in self.open]
        return min(open_, default=self.ends[partition])

    def newest(self, partition: int) -> dict[bytes, bytes]:
        """The last committed value of each key."""
        return {record.key: record.value for record in self.logs[partition] if record.transaction in self.committed}


class Producer:
    """A transactional producer."""

    def __init__(self, broker: Broker, transactional_id: str) -> None:
        self.broker, self.name, self.transaction = broker, transactional_id, -1
        self.epoch = -1
        self.fails = 0.0

    async def start(self) -> None:
        """Fence whoever had this id, and end what it left open."""
        await self.broker.pause()
        self.broker.epochs[self.name] += 1
        self.epoch = self.broker.epochs[self.name]
        for transaction in [number for number in self.broker.open if number % 1000 == _slot(self.name)]:
            self.broker.finish(transaction, commit=False)

    async def begin_transaction(self) -> None:
        """A new transaction."""
        self.broker.transactions += 1
        self.transaction = self.broker.transactions * 1000 + _slot(self.name)
        self.broker.open[self.transaction] = []

    async def send(self, _topic: str, value: bytes, *, key: bytes, partition: int) -> asyncio.Future[None]:
        """On its way."""
        return asyncio.ensure_future(self._land(partition, key, value))

    async def _land(self, partition: int, key: bytes, value: bytes) -> None:
        await self.broker.pause()
        self._check()
        self.broker.append(partition, key, value, self.transaction)

    async def commit_transaction(self) -> None:
        """Committed, or fenced; or it is not known which."""
        await self.broker.pause()
        self._check()
        self.broker.finish(self.transaction, commit=True)
        if self.broker.rng.random() < self.fails:
            raise KafkaError("the answer was lost")

    def _check(self) -> None:
        if self.broker.epochs[self.name] != self.epoch or self.transaction not in self.broker.open:
            raise ProducerFenced

    async def stop(self) -> None:
        """Gone; what it left open the next one ends."""


def _slot(name: str) -> int:
    return sum(name.encode()) % 1000


class Consumer:
    """A reader of one partition, committed or not as it was asked for."""

    def __init__(self, broker: Broker, isolation_level: str) -> None:
        self.broker, self.level, self.at = broker, isolation_level, 0

    async def start(self) -> None:
        """Connected."""
        await self.broker.pause()

    def assign(self, tps: list[Any]) -> None:
        """Reads these."""

    async def seek_to_beginning(self, _tp: Any) -> None:
        """From the start."""
        self.at = 0

    def _end(self, partition: int) -> int:
        return self.broker.stable_end(partition) if self.level == "read_committed" else self.broker.ends[partition]

    async def end_offsets(self, tps: list[Any]) -> dict[Any, int]:
        """Where they end for this reader."""
        await self.broker.pause()
        return {tp: self._end(tp.partition) if tp.topic == RECEIPTS else 0 for tp in tps}

    async def position(self, _tp: Any) -> int:
        """The next offset."""
        return self.at

    async def getmany(self, tp: Any, *, timeout_ms: int) -> dict[Any, list[Any]]:
        """The next few records; `timeout_ms` is not looked at."""
        await self.broker.pause()
        if tp.topic != RECEIPTS:
            return {}
        upto = min(self._end(tp.partition), self.at + self.broker.rng.randrange(1, 6))
        found = [record for record in self.broker.logs[tp.partition] if self.at <= record.offset < upto]
        self.at = max(self.at, upto)
        return {tp: [record for record in found if self.level != "read_committed" or record.transaction in self.broker.committed]}

    async def stop(self) -> None:
        """Closed."""
