"""A Kafka of a few hundred lines: partitions with offsets, markers and holes, transactions, fencing, compaction, groups' offsets, a network.

What reaches the broker is done, whoever is dead by then; what does not come back in time is unknown to the one who asked.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from tests.simulation.kernel import Kernel
from topics.batch import TopicPartition
from topics.catalog import DEFINITIONS, EVENTS, RECEIPTS, STATE

Answer = TypeVar("Answer")
Headers = tuple[tuple[str, bytes], ...]

TIMEOUT_S: Final = 20.0
"""After which whoever asked a broker that does not answer gives up: as the clients' request time-outs."""
COMPACTED: Final = (STATE, DEFINITIONS, RECEIPTS)


class Rec(NamedTuple):
    """One record; `transaction` names the open transaction it belongs to, 0 none."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    transaction: int = 0

    @property
    def timestamp(self) -> int:
        """As aiokafka names it, for what reads aiokafka's records."""
        return self.timestamp_ms


class NoAnswer(Exception):
    """The broker did not answer in time: it may have done what was asked, or not."""


class Partition:
    """One log. `end` counts markers too; `stable` is where a read_committed reader's log ends now."""

    def __init__(self) -> None:
        self.records: list[Rec] = []
        self.begin = 0
        self.end = 0
        self.open: dict[int, int] = {}
        self.aborted: set[int] = set()

    @property
    def stable(self) -> int:
        """The last stable offset: nothing at or above an open transaction is shown."""
        return min(self.open.values(), default=self.end)

    def append(self, timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers = (), transaction: int = 0) -> int:
        """One record; its offset."""
        offset = self.end
        self.records.append(Rec(offset, timestamp_ms, key, value, headers, transaction))
        self.end += 1
        if transaction:
            self.open.setdefault(transaction, offset)
        return offset

    def finish(self, transaction: int, *, commits: bool) -> None:
        """The transaction's marker, which takes an offset."""
        if self.open.pop(transaction, None) is not None:
            self.end += 1
            if not commits:
                self.aborted.add(transaction)

    def committed(self, start: int, upto: int | None = None) -> list[Rec]:
        """What a read_committed reader gets of [start, upto)."""
        stop = self.stable if upto is None else min(upto, self.stable)
        records, low = self.records, 0
        if records and records[0].offset < start:
            high = len(records)
            while low < high:
                middle = (low + high) // 2
                low, high = (middle + 1, high) if records[middle].offset < start else (low, middle)
        found = []
        for record in records[low:]:
            if record.offset >= stop:
                break
            if record.transaction not in self.aborted:
                found.append(record)
        return found

    def compact(self, upto: int, keep_tombstones: Callable[[], bool]) -> None:
        """Below `upto` only the last record of each key stays, tombstones perhaps."""
        last = {record.key: record.offset for record in self.records}
        self.records = [
            record for record in self.records
            if record.offset >= upto or (last[record.key] == record.offset and (record.value is not None or keep_tombstones()))
        ]  # fmt: skip

    def trim(self, begin: int) -> None:
        """Retention: what lies below `begin` is gone."""
        self.begin = max(self.begin, min(begin, self.end))
        self.records = [record for record in self.records if record.offset >= self.begin]


class Broker:
    """All topics, the groups' offsets, and the way there and back."""

    def __init__(self, kernel: Kernel, partitions: int) -> None:
        self.kernel = kernel
        self.partitions = partitions
        self.cluster_id = "simulated"
        self.logs: dict[TopicPartition, Partition] = defaultdict(Partition)
        self.epochs: dict[int, int] = defaultdict(int)
        self.is_down = False
        self.loss = 0.0
        """How likely a request, or its answer, is lost."""
        self.slowness_s = 0.005
        self.behind_ms = 0
        """How far its clock is behind, now: a leader's clock may be set back."""
        self._watchers: dict[TopicPartition, list[asyncio.Future[None]]] = defaultdict(list)
        self._transactions = 0
        self.faults: list[str] = []

    def now_ms(self) -> int:
        """LogAppendTime."""
        return self.kernel.now_ms() - self.behind_ms

    def delay_s(self) -> float:
        """One way."""
        return self.kernel.chance.random() * self.slowness_s

    async def ask(self, work: Callable[[], Answer], timeout_s: float = TIMEOUT_S) -> Answer:
        """One request of the process that awaits it. Raises NoAnswer; whatever `work` raises is the broker's answer."""
        kernel, chance = self.kernel, self.kernel.chance
        answer: asyncio.Future[Answer] = kernel.create_future()

        def resolve(how: Callable[[], None]) -> None:
            if not answer.done():
                how()

        def give_up() -> None:
            kernel.outside(timeout_s, lambda: resolve(lambda: answer.set_exception(NoAnswer())))

        def execute() -> None:
            if self.is_down:
                give_up()
                return
            try:
                found = work()
            except Exception as error:  # noqa: BLE001 - a broker's refusal is an answer
                refusal = error
                kernel.outside(self.delay_s(), lambda: resolve(lambda: answer.set_exception(refusal)))
                return
            if chance.random() < self.loss:
                give_up()
            else:
                kernel.outside(self.delay_s(), lambda: resolve(lambda: answer.set_result(found)))

        if chance.random() < self.loss:
            give_up()
        else:
            kernel.outside(self.delay_s(), execute)
        return await answer

    # ── writing (each of these happens at the broker, at once) ───────────────────────────────────────────────────
    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
        """A record of no transaction."""
        offset = self.logs[topic, partition].append(self.now_ms(), key, value, headers)
        self._tell(topic, partition)
        return offset

    def begin_transaction(self) -> int:
        """A number that names one."""
        self._transactions += 1
        return self._transactions

    def append_in(self, transaction: int, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        """A record that is shown once its transaction is committed."""
        self.logs[topic, partition].append(self.now_ms(), key, value, (), transaction)

    def end_transaction(self, transaction: int, *, commits: bool) -> None:
        """Commit or abort, in every partition it wrote to."""
        for (topic, partition), log in list(self.logs.items()):
            if transaction in log.open:
                log.finish(transaction, commits=commits)
                self._tell(topic, partition)

    def write_transaction(self, topic: str, partition: int, records: Iterable[tuple[bytes, bytes]]) -> None:
        """A whole transaction of a fenced writer, begun and committed: its records and its marker."""
        transaction, log = self.begin_transaction(), self.logs[topic, partition]
        for key, value in records:
            log.append(self.now_ms(), key, value, (), transaction)
        log.finish(transaction, commits=True)
        self._tell(topic, partition)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────
    def bounds(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and last stable offset."""
        return {tp: (self.logs[tp].begin, self.logs[tp].stable) for tp in tps}

    async def more(self, waiting: Sequence[tuple[TopicPartition, int]], timeout_s: float) -> None:
        """Return when one of the partitions goes beyond its position, or after a while."""
        if self.is_down or not waiting:
            await asyncio.sleep(0.5)
            return
        if any(self.logs[tp].stable > position for tp, position in waiting):
            await asyncio.sleep(self.delay_s())
            return
        woken: asyncio.Future[None] = self.kernel.create_future()
        for tp, _ in waiting:
            self._watchers[tp].append(woken)
        self.kernel.outside(timeout_s, lambda: None if woken.done() else woken.set_result(None))
        await woken

    def _tell(self, topic: str, partition: int) -> None:
        for woken in self._watchers.pop((topic, partition), ()):
            if not woken.done():
                self.kernel.outside(self.delay_s(), lambda woken=woken: None if woken.done() else woken.set_result(None))  # type: ignore[misc]

    # ── what may happen at any time ─────────────────────────────────────────────────────────────────────────────
    def compact(self) -> None:
        """Any compacted partition, up to anywhere."""
        chance = self.kernel.chance
        for (topic, _), log in self.logs.items():
            if topic in COMPACTED and log.records and chance.random() < 0.7:
                log.compact(chance.randrange(log.begin, log.stable + 1), lambda: chance.random() < 0.5)

    def events(self, partition: int) -> Partition:
        """The log of usage events."""
        return self.logs[EVENTS, partition]
