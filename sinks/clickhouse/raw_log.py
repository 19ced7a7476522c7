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
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from sinks.clickhouse.ports import RawChunk
from sinks.clickhouse.rows import RawRecords
from topics.batch import Batch
from topics.batch import TopicPartition as Pair
from topics.catalog import EVENTS
from topics.errors import LostLog, Unreachable

FETCH_BYTES: Final = 4 * 1024 * 1024
"""Per partition and fetch, also what is held of a partition whose mark is behind: at 300 bytes an event 14,000 events; as much again waits in
the consumer."""
POLL_S: Final = 0.2
"""How long a read waits for a fetch before the copier looks at its other partitions."""
MOST_RECORDS: Final = 5_000
"""Records that are taken from aiokafka's reader in one go."""
REQUEST_TIMEOUT_MS: Final = 20_000
"""As the other readers: longer than a leader's fail-over, then the broker counts as absent and is asked again."""


NOTHING: Final = RawRecords.of([])
Fetch = Callable[[Any, TopicPartition, float], Awaitable[Sequence[Batch]]]
"""What has been fetched of a partition, in the order of its offsets, after a wait of so many seconds where that is nothing."""


async def plainly(consumer: Any, tp: TopicPartition, timeout_s: float) -> Sequence[Batch]:
    """`Fetch` by aiokafka's own reader, an object a record."""
    found = (await consumer.getmany(tp, timeout_ms=int(1000 * timeout_s), max_records=MOST_RECORDS)).get(tp, ())
    if not found:
        return ()
    offsets, times, keys, values, headers = zip(*((r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in found), strict=True)
    return [
        Batch(
            topic=tp.topic, partition=tp.partition, epoch=0, start_offset=offsets[0], offsets=offsets, timestamps_ms=times,
            keys=keys, values=values, headers=headers, next_offset=offsets[-1] + 1,
        )
    ]  # fmt: skip


class KafkaRawLog:
    """`ports.RawLog` on aiokafka; connects when it is first asked, and again after an error."""

    def __init__(self, bootstrap: str, fetch: Fetch = plainly) -> None:
        """`fetch` may spare the objects that aiokafka makes of records; nothing else may take from its consumer."""
        self._bootstrap = bootstrap
        self._fetch = fetch
        self._consumer: Any = None
        self._next: dict[int, int] = {}
        self._fetched: dict[int, deque[RawRecords]] = {}
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
                    fetch_max_wait_ms=int(1000 * POLL_S),
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
            fetched.extend(RawRecords.of_batch(batch) for batch in await self._fetch(consumer, tp, POLL_S) if len(batch))
        found = fetched[0] if fetched else NOTHING
        count = min(limit, int(np.searchsorted(found.offsets, end)))
        left = found[count:] or (fetched[1] if len(fetched) > 1 else NOTHING)
        # Below the first record that is left, or else below the consumer's position (markers included), nothing is to come.
        reached = int(left.offsets[0]) if left else await consumer.position(tp)
        if self._fetched.get(partition) is not fetched:
            return RawChunk([], start)  # the partition was let go meanwhile, and may have been taken again
        if fetched and count == len(found):
            fetched.popleft()
        elif fetched:
            fetched[0] = left
        self._next[partition] = max(start, min(end, reached))
        return RawChunk(found[:count], self._next[partition])

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
