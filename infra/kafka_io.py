"""Kafka without Faust, for the CLI, the supervisor, the report's receipts and tests: admin, producer, reader, offsets.

Every function says `Unreachable` (exit 3) in one sentence when no broker answers.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
)
from aiokafka.structs import ConsumerRecord

from infra.delivery_log import say_outages_once
from topics.errors import LostLog, Unreachable

log = logging.getLogger(__name__)

Isolation = Literal["read_committed", "read_uncommitted"]

REQUEST_TIMEOUT_MS = 20_000
"""How long one request may take before the broker counts as absent: longer than a leader's fail-over, short for a person."""

MAX_REQUEST_BYTES = 2 * 1024 * 1024 + 64 * 1024
"""As `infra/faust_app.py`: the largest record any topic of ours takes (2 MiB) and its framing."""

LINGER_MS = 5
"""How long a producer collects; what is awaited one by one pays it once each."""

READ_POLL_MS = 200
"""How long the reader waits for a fetch before it looks again whether its position has reached the end."""

RETRY_FIRST_S, RETRY_MAX_S = 0.2, 5.0
"""Back-off while waiting for a broker that is starting (1.5 s) or coming back."""


ABSENT = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError, RequestTimedOutError)
"""What aiokafka raises where a broker is not there: its connection is refused, is not made, ends, or nothing comes over it."""


def unreachable(bootstrap: str, error: BaseException) -> Unreachable:
    """The one sentence for a Kafka that does not answer."""
    return Unreachable(f"Kafka at {bootstrap} does not answer ({type(error).__name__}); is it running, and is the address right?")


@asynccontextmanager
async def _started(client: Any, bootstrap: str) -> AsyncIterator[Any]:
    """`client` started, and stopped whatever happens; a broker that does not answer is `Unreachable`."""
    say_outages_once()
    try:
        await client.start()
    except (*ABSENT, OSError) as error:
        await _close(client)
        raise unreachable(bootstrap, error) from error
    except BaseException:
        await _close(client)
        raise
    try:
        yield client
    finally:
        await _close(client)


async def _close(client: Any) -> None:
    close = getattr(client, "stop", None) or client.close
    try:
        await close()
    except KafkaError as error:
        log.debug("closing %s: %r", type(client).__name__, error)


class _Admin(AIOKafkaAdminClient):
    """Asks whichever broker is there: aiokafka asks one at random, and of three brokers one may be down for hours."""

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        # Only where nothing was sent: what a broker may have done already is not asked for twice.
        known = [broker.nodeId for broker in self._client.cluster.brokers()] if node_id is None else []
        random.shuffle(known)
        for each in known[:-1]:
            if await self._client.ready(each):
                return await super()._send_request(request, each)
        return await super()._send_request(request, known[-1] if known else node_id)


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """aiokafka's admin client, started."""
    client = _Admin(bootstrap_servers=bootstrap, request_timeout_ms=REQUEST_TIMEOUT_MS)
    async with _started(client, bootstrap) as started:
        yield started


@asynccontextmanager
async def producer(
    bootstrap: str, *, transactional_id: str | None = None, transaction_timeout_ms: int = 60_000
) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer, acks all, murmur2 as Java's; transactional when named, and then ended by the broker after that time without a word.

    Starting a transactional one fences every older producer of that name: its next write fails.
    """
    client = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=LINGER_MS,
        max_request_size=MAX_REQUEST_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        transactional_id=transactional_id,
        transaction_timeout_ms=transaction_timeout_ms,
    )
    async with _started(client, bootstrap) as started:
        yield started


@asynccontextmanager
async def consumer(bootstrap: str, *, isolation: Isolation = "read_committed", group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without subscription; with `group` it can ask for that group's committed offsets, and joins nothing."""
    client = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        isolation_level=isolation,
        auto_offset_reset="none",
        enable_auto_commit=False,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        fetch_max_wait_ms=READ_POLL_MS,
    )
    async with _started(client, bootstrap) as started:
        yield started


async def _list_offsets(bootstrap: str, topic: str, partitions: Iterable[int], isolation: Isolation, *, end: bool) -> dict[int, int]:
    pairs = [TopicPartition(topic, p) for p in partitions]
    async with consumer(bootstrap, isolation=isolation) as client:
        try:
            found = await (client.end_offsets(pairs) if end else client.beginning_offsets(pairs))
        except ABSENT as error:
            raise unreachable(bootstrap, error) from error
    return {tp.partition: offset for tp, offset in found.items()}


async def end_offsets(bootstrap: str, topic: str, partitions: Iterable[int], isolation: Isolation = "read_committed") -> dict[int, int]:
    """Where each partition ends for a reader of that isolation (read_committed: the last stable offset)."""
    return await _list_offsets(bootstrap, topic, partitions, isolation, end=True)


async def begin_offsets(bootstrap: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The first offset that retention has left in each partition."""
    return await _list_offsets(bootstrap, topic, partitions, "read_committed", end=False)


async def committed_offsets(bootstrap: str, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int | None]:
    """The offsets a consumer group has committed; None where it has none."""
    pairs = [TopicPartition(topic, p) for p in partitions]
    async with admin(bootstrap) as client:
        try:
            found = await client.list_consumer_group_offsets(group, partitions=pairs)
        except ABSENT as error:
            raise unreachable(bootstrap, error) from error
    return {tp.partition: None if (meta := found.get(tp)) is None or meta.offset < 0 else meta.offset for tp in pairs}


@contextmanager
def _said_plainly(bootstrap: str, place: str) -> Iterator[None]:
    """What aiokafka raises while reading, as the errors of our tree."""
    try:
        yield
    except OffsetOutOfRangeError as error:
        raise LostLog(f"{place}: records were removed while they were read; read it again") from error
    except ABSENT as error:
        raise unreachable(bootstrap, error) from error


async def reader(
    bootstrap: str, topic: str, partition: int, start: int, isolation: Isolation = "read_committed"
) -> AsyncGenerator[ConsumerRecord, None]:
    """The records of one partition from `start` (or the log's first offset, if later) to the end at the time of the call.

    Ends when the consumer's *position* has reached that end, so a partition that ends in transaction markers or aborted
    records ends too. For read_committed the end is the last stable offset: an open transaction is not waited for.
    A commit is answered before its markers are in the log, so to read all that a transactional producer has committed,
    start its successor (the same `transactional_id`) first: that waits until the markers are written.
    Leave it early with `contextlib.aclosing`.
    """
    tp = TopicPartition(topic, partition)
    place = f"{topic}-{partition} from {start}"
    async with consumer(bootstrap, isolation=isolation) as client:
        with _said_plainly(bootstrap, place):
            client.assign([tp])
            end = (await client.end_offsets([tp]))[tp]
            client.seek(tp, max(start, (await client.beginning_offsets([tp]))[tp]))
        while await client.position(tp) < end:  # known since the seek: asks no server
            with _said_plainly(bootstrap, place):
                records = (await client.getmany(tp, timeout_ms=READ_POLL_MS)).get(tp, ())
            for record in itertools.takewhile(lambda found: found.offset < end, records):
                yield record


async def wait_until_reachable(bootstrap: str, timeout_s: float | None = None) -> None:
    """Return once a broker answers; say once that it does not. After `timeout_s` (None: never) raise `Unreachable`."""
    now = asyncio.get_running_loop().time
    pause_s, deadline = RETRY_FIRST_S, None if timeout_s is None else now() + timeout_s
    while (error := await _refusal(bootstrap)) is not None:
        if deadline is not None and now() + pause_s > deadline:
            raise error
        if pause_s == RETRY_FIRST_S:
            log.warning("%s Trying again until it does.", error)
        await asyncio.sleep(pause_s)
        pause_s = min(RETRY_MAX_S, pause_s * 1.5)
    if pause_s != RETRY_FIRST_S:
        log.info("Kafka at %s answers", bootstrap)


async def _refusal(bootstrap: str) -> Unreachable | None:
    """Why no broker answers, or None when one does."""
    try:
        async with admin(bootstrap):
            return None
    except Unreachable as error:
        return error
