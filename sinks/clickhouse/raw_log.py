"""The archive's own reader of `usage.events`: one consumer without a group, committed records only.

Why not the shared delivery, which hands over all of an app's topics through one bounded channel: a raw event may be archived only below
the partition's archived mark, and marks arrive by that very channel. Raw batches that wait for their mark would fill it, the mark behind
them could not come in, and the worker would stand still for ever; buffering instead is unbounded after an outage, and forgetting the
surplus needs a seek that delivery does not offer. Read apart and only up to the mark, raw events need no buffer but one fetch, no topic
can block another, and where a partition is read from is the archive's own progress, as law 5 wants it. Who holds `usage.verdicts` p
and `usage.definitions` p reads `usage.events` p, so group membership still decides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from sinks.clickhouse.ports import RawChunk
from sinks.clickhouse.rows import RawRecord
from topics.batch import TopicPartition as Pair
from topics.catalog import EVENTS
from topics.errors import LostLog, Unreachable

FETCH_BYTES: Final = 4 * 1024 * 1024
"""Per partition and fetch, also what is held of a partition whose mark is behind: at 300 bytes an event 14,000 events."""
POLL_MS: Final = 200
"""How long a read waits for a fetch before the copier looks at its other partitions."""
REQUEST_TIMEOUT_MS: Final = 20_000
"""As the other readers: longer than a leader's fail-over, then the broker counts as absent and is asked again."""


def records_of(taken: Sequence[Any]) -> list[RawRecord]:
    """aiokafka's records as ours: column by column, and without RawRecord's own constructor, in half the time."""
    columns = (
        [found.offset for found in taken],
        [found.timestamp for found in taken],
        [found.key for found in taken],
        [found.value for found in taken],
        [tuple(found.headers) for found in taken],
    )
    return list(map(tuple.__new__, repeat(RawRecord), zip(*columns, strict=True)))


class KafkaRawLog:
    """`ports.RawLog` on aiokafka; connects when it is first asked, and again after an error."""

    def __init__(self, bootstrap: str, undress: Callable[[Any, Any], None] = lambda _fetcher, _partition: None) -> None:
        """`undress(fetcher, partition)` may spare aiokafka the object it makes of each record of a fetch that has arrived."""
        self._bootstrap = bootstrap
        self._undress = undress
        self._consumer: Any = None
        self._next: dict[int, int] = {}
        self._fetched: dict[int, deque[Any]] = {}
        self._connecting = asyncio.Lock()

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._consumer is None:
                consumer = AIOKafkaConsumer(
                    bootstrap_servers=self._bootstrap,
                    client_id="tidemark-archive",
                    group_id=None,
                    isolation_level="read_committed",
                    auto_offset_reset="none",
                    enable_auto_commit=False,
                    request_timeout_ms=REQUEST_TIMEOUT_MS,
                    max_partition_fetch_bytes=FETCH_BYTES,
                    fetch_max_wait_ms=POLL_MS,
                )
                try:
                    await consumer.start()
                except BaseException:
                    await consumer.stop()
                    raise
                self._consumer = consumer
            return self._consumer

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"Kafka at {self._bootstrap} does not answer ({type(error).__name__})")

    async def read(self, partition: int, start: int, end: int, limit: int) -> RawChunk:
        """See `ports.RawLog.read`."""
        try:
            consumer = await self._connected()
            if self._next.get(partition) != start:
                self._seek(consumer, partition, start)
            return await self._read(consumer, partition, start, end, limit)
        except OffsetOutOfRangeError:
            self.forget([partition])
            raise LostLog(f"{EVENTS} {partition}: the log no longer has offset {start}") from None
        except IllegalStateError:
            return RawChunk([], start)  # the partition was let go while it was read
        except (KafkaError, OSError) as error:
            self.forget([partition])
            raise self._unreachable(error) from None

    def _seek(self, consumer: Any, partition: int, start: int) -> None:
        tp = TopicPartition(EVENTS, partition)
        assigned = set(consumer.assignment())
        if tp not in assigned:
            # Assigning anew forgets all positions: seek the others back to where they were read up to.
            consumer.assign([*assigned, tp])
            for other in assigned:
                self._fetched.pop(other.partition, None)
                consumer.seek(other, self._next.get(other.partition, 0))
        self._fetched[partition] = deque()
        self._next[partition] = start
        consumer.seek(tp, start)

    async def _read(self, consumer: Any, partition: int, start: int, end: int, limit: int) -> RawChunk:
        tp = TopicPartition(EVENTS, partition)
        fetched = self._fetched.setdefault(partition, deque())
        if not fetched:
            self._undress(consumer._fetcher, tp)
            fetched.extend((await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=limit)).get(tp, ()))
        if fetched and fetched[-1].offset < end and len(fetched) <= limit:
            taken = list(fetched)
            fetched.clear()
        else:
            taken = []
            while fetched and fetched[0].offset < end and len(taken) < limit:
                taken.append(fetched.popleft())
        records = records_of(taken)
        # Below the first record that is left, or else below the consumer's position (markers included), nothing is to come.
        reached = fetched[0].offset if fetched else await consumer.position(tp)
        self._next[partition] = max(start, min(end, reached))
        return RawChunk(records, self._next[partition])

    async def bounds(self, tps: Iterable[Pair]) -> dict[Pair, tuple[int, int]]:
        """See `ports.RawLog.bounds`."""
        pairs = [TopicPartition(*tp) for tp in tps]
        try:
            consumer = await self._connected()
            begins, ends = await asyncio.gather(consumer.beginning_offsets(pairs), consumer.end_offsets(pairs))
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from None
        return {(tp.topic, tp.partition): (begins[tp], ends[tp]) for tp in pairs}

    def forget(self, partitions: Iterable[int]) -> None:
        """See `ports.RawLog.forget`."""
        gone = set(partitions)
        for partition in gone:
            self._next.pop(partition, None)
            self._fetched.pop(partition, None)
        if self._consumer is not None:
            left = [tp for tp in self._consumer.assignment() if tp.partition not in gone]
            if len(left) != len(self._consumer.assignment()):
                self._consumer.assign(left) if left else self._consumer.unsubscribe()
                for tp in left:
                    self._fetched.pop(tp.partition, None)
                    self._consumer.seek(tp, self._next.get(tp.partition, 0))

    async def close(self) -> None:
        """See `ports.RawLog.close`."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()
