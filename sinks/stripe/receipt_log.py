"""The report's own log: one transactional writer of `usage.receipts` p, and a reader of it and of `usage.definitions` p (law 13).

The writer's transactional id names the partition, so that a successor's start makes every later write of a paused worker fail, and ends what
it left half written. Only then are the receipts read, to their end: what is read is what there is, and nobody else adds to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from sinks.stripe.app_ports import LostOwnership
from topics.catalog import DEFINITIONS, MIB, RECEIPTS
from topics.codec import encode
from topics.definitions import Definition, decode_definition, definition_key
from topics.errors import MalformedRecord, Unreachable
from topics.receipt import Receipt, decode_receipt, decode_receipt_key, receipt_key

TRANSACTION_TIMEOUT_MS: Final = 30_000
"""When the broker ends what a dead worker began: later than any commit takes, soon enough for readers of a partition that nobody takes over."""
WRITE_TIMEOUT_S: Final = 30.0
"""Longer than a leader's fail-over. After it the outcome is unknown, and everything is read anew."""
REQUEST_TIMEOUT_MS: Final = 20_000
POLL_MS: Final = 200
"""How long a fetch waits at the end of a partition; a new binding acts that much later."""
CLOSE_TIMEOUT_S: Final = 5.0
"""A client whose broker is gone is left to itself after this."""


class ReceiptLog:
    """Receipts and definitions of one partition. One user, one call at a time; after an error only `close` and a new one."""

    def __init__(self, bootstrap: str, partition: int) -> None:
        self._bootstrap = bootstrap
        self._partition = partition
        self._receipts = TopicPartition(RECEIPTS, partition)
        self._definitions = TopicPartition(DEFINITIONS, partition)
        self._producer: Any = None
        self._tail: Any = None
        self._defined_to = 0

    @property
    def defined_to(self) -> int:
        """Every definition below this offset was returned by `open` or `new_definitions`."""
        return self._defined_to

    async def open(self) -> tuple[list[Receipt], list[Definition]]:
        """Become the only writer, then read everything. Raises Unreachable, or MalformedRecord where a record cannot be read."""
        try:
            # 1. Fence the one before: a crash after it leaves the partition without a writer until somebody opens it.
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id=f"tidemark-report-{self._partition}",  # what brokers write in their logs and limit by
                transactional_id=f"tidemark-report-{self._partition}",
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                max_batch_size=MIB // 2,
                max_request_size=MIB,
            )
            await self._producer.start()
            # 2. Read to the end; a crash after it changes nothing.
            receipts = await self._read_receipts()
            return receipts, await self._read_definitions()
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from None

    async def write(self, records: Iterable[tuple[bytes, Receipt]]) -> None:
        """One transaction, acknowledged. Raises LostOwnership, or Unreachable where it may or may not have been committed."""
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._producer.begin_transaction()
                sent = [
                    await self._producer.send(RECEIPTS, encode(receipt), key=key, partition=self._partition) for key, receipt in records
                ]
                await asyncio.gather(*sent)
                await self._producer.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch):
            raise LostOwnership(f"partition {self._partition}: another worker reports it now") from None
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from None

    async def new_definitions(self) -> list[Definition]:
        """What was published since the last call; waits a little for it. Raises Unreachable or MalformedRecord."""
        try:
            found = await self._tail.getmany(self._definitions, timeout_ms=POLL_MS)
            self._defined_to = await self._tail.position(self._definitions)
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from None
        return [self._definition(record) for records in found.values() for record in records if record.value is not None]

    async def close(self) -> None:
        """Let go of the connections. What was begun and not committed is ended by the next writer."""
        producer, self._producer = self._producer, None
        tail, self._tail = self._tail, None
        if producer is not None:
            await _stop(producer)
            _take_up(producer)
        if tail is not None:
            await _stop(tail)

    async def _read_receipts(self) -> list[Receipt]:
        last: dict[bytes, Any] = {}
        consumer = self._consumer()
        try:
            for record in await self._read_to_end(consumer, self._receipts):
                where = f"{RECEIPTS} {self._partition} offset {record.offset}"
                decode_receipt_key(record.key, where)
                last[record.key] = record if record.value is not None else None
        finally:
            await _stop(consumer)
        kept = [record for record in last.values() if record is not None]
        return [_receipt(record, f"{RECEIPTS} {self._partition} offset {record.offset}") for record in kept]

    async def _read_definitions(self) -> list[Definition]:
        self._tail = self._consumer()
        records = await self._read_to_end(self._tail, self._definitions)
        self._defined_to = await self._tail.position(self._definitions)
        return [self._definition(record) for record in records if record.value is not None]

    def _definition(self, record: Any) -> Definition:
        where = f"{DEFINITIONS} {self._partition} offset {record.offset}"
        definition = decode_definition(record.value, where)
        if definition_key(definition) != record.key:
            raise MalformedRecord(f"{where}: the record lies under the key {record.key!r}, which is not its own")
        return definition

    def _consumer(self) -> Any:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id=f"tidemark-report-{self._partition}",
            group_id=None,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            fetch_max_wait_ms=POLL_MS,
            max_partition_fetch_bytes=4 * MIB,
        )

    async def _read_to_end(self, consumer: Any, tp: TopicPartition) -> list[Any]:
        """All records below the end that the broker names now; the position (markers included) says when it is reached."""
        await consumer.start()
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        end = (await consumer.end_offsets([tp]))[tp]
        found: list[Any] = []
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=POLL_MS)).values():
                found += records
        return found

    def _unreachable(self, error: BaseException) -> Unreachable:
        return Unreachable(f"Kafka at {self._bootstrap} does not answer ({type(error).__name__})")


def _receipt(record: Any, where: str) -> Receipt:
    receipt = decode_receipt(record.value, where)
    if receipt_key(receipt) != record.key:
        raise MalformedRecord(f"{where}: the record lies under the key {record.key!r}, which is not its own")
    return receipt


def _take_up(producer: Any) -> None:
    """Read the error that aiokafka also keeps in the transaction's future: unread, asyncio would say it once more with its whole stack."""
    waiter = getattr(getattr(producer, "_txn_manager", None), "_transaction_waiter", None)
    if waiter is not None and waiter.done() and not waiter.cancelled():
        waiter.exception()


async def _stop(client: Any) -> None:
    # A client is stopped for having failed, too: then it may say so again, or wait for a broker that is gone.
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait({stopping}, timeout=CLOSE_TIMEOUT_S)
    if not stopping.done():
        stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
