"""Producers of both partitioners that go on whatever happens: what is not acknowledged in time is sent again, as real producers do.

So a record may lie in the log several times, and one whose acknowledgement was lost lies there once more than its producer believes.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException, Producer

from tests.chaos.schedule import Fault, Load
from tests.system import wire
from tests.system.conftest import ANCHORED, LOOKED_UP, NAMED
from tests.system.traffic import Message, bad_inputs, event, rfc3339, usage
from tests.system.wire import Acked
from tests.system.world import PARTITIONS

CUSTOMERS = (NAMED, ANCHORED, LOOKED_UP, *(f"drifter-{number}" for number in range(5)))

TRY_S = 12.0
"""How long one try of a producer may take: longer than a broker's restart, shorter than a person's patience."""

GIVE_UP_S = 300.0
"""After so long without an acknowledgement the brokers do not come back, and the run has failed."""

PIECE = 10
"""Messages that are sent at once where a load is spread."""

TRANSACTION_TIMEOUT_MS = 15_000
"""A producer that is gone holds up every reader of committed records this long at most."""


class Undelivered(AssertionError):
    """A producer was not acknowledged for GIVE_UP_S: the brokers did not come back."""


def messages_of(seed: int, fault: Fault) -> tuple[list[Message], list[Message]]:
    """What is produced during a fault, and what is produced and aborted; ids depend on the seed and the fault's number."""
    chance = Random(f"load/{seed}/{fault.number}")
    prefix = f"f{fault.number}-{chance.getrandbits(32):x}"
    kept = list(usage(chance, prefix, CUSTOMERS, fault.load.events, time.time()))
    kept += pings(chance, prefix, fault.load.events // 10)
    if fault.load.bad:
        kept += bad_inputs(f"{prefix}-bad", chance.choice((NAMED, LOOKED_UP)), time.time(), PARTITIONS)
    chance.shuffle(kept)
    if not fault.load.aborted:
        return kept, []
    return kept, [Message(NAMED.encode(), event(NAMED, f"{prefix}-dropped-{number}", "api.request")) for number in range(40)]


def pings(chance: Random, prefix: str, count: int) -> list[Message]:
    """Events of this moment for windows of ten seconds: these close by their time alone while faults go on."""
    now_s = time.time()
    found = []
    for at in range(count):
        name, back_s = chance.choice(CUSTOMERS), chance.uniform(0, 20)
        found.append(Message(name.encode(), event(name, f"{prefix}-ping-{at}", "ping", None, rfc3339(now_s - back_s))))
    return found


class Producers:
    """Two producers at work in threads of their own; `acked` is what was acknowledged."""

    def __init__(self, bootstrap: Callable[[], str], seed: int) -> None:
        self.acked: list[Acked] = []
        self.resent = 0
        self.failure: BaseException | None = None
        self._bootstrap = bootstrap
        self._seed = seed
        self._queues: dict[bool, queue.Queue[Fault]] = {False: queue.Queue(), True: queue.Queue()}
        for uses_librdkafka, waiting in self._queues.items():
            threading.Thread(target=self._work, args=(waiting,), daemon=True, name=f"producer-{uses_librdkafka}").start()

    def produce(self, fault: Fault) -> None:
        """Orders the load of a fault."""
        self._queues[fault.load.librdkafka and not fault.load.aborted].put(fault)

    def wait(self) -> None:
        """Returns when everything that was ordered is acknowledged."""
        for waiting in self._queues.values():
            waiting.join()
        if self.failure is not None:
            raise self.failure

    def _work(self, waiting: queue.Queue[Fault]) -> None:
        while True:
            fault = waiting.get()
            try:
                self._deliver(fault.load, *messages_of(self._seed, fault))
            except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
                self.failure = error
            finally:
                waiting.task_done()

    def _deliver(self, load: Load, left: list[Message], dropped: list[Message]) -> None:
        """Tries until every message is acknowledged."""
        give_up_s, spread_s = time.monotonic() + GIVE_UP_S, load.spread_s
        while left:
            if dropped:
                acked, left = asyncio.run(in_transactions(self._bootstrap(), left, dropped))
            elif load.librdkafka:
                acked, left = by_librdkafka(self._bootstrap(), left, spread_s)
            else:
                acked, left = asyncio.run(by_aiokafka(self._bootstrap(), left, spread_s))
            spread_s = 0.0
            self.acked += acked
            self.resent += len(left)
            if left and time.monotonic() > give_up_s:
                raise Undelivered(f"{len(left)} records were not acknowledged within {GIVE_UP_S:.0f} s")


async def by_aiokafka(bootstrap: str, messages: list[Message], spread_s: float) -> tuple[list[Acked], list[Message]]:
    """One try with an idempotent aiokafka producer, whose partitioner is Kafka's own: what was acknowledged, and what was not."""
    producer = await wire._started(bootstrap, enable_idempotence=True, acks="all", request_timeout_ms=int(TRY_S * 1000), linger_ms=5)
    try:
        return await _answers(producer, messages, spread_s)
    finally:
        await _stop(producer)


async def in_transactions(bootstrap: str, messages: list[Message], dropped: list[Message]) -> tuple[list[Acked], list[Message]]:
    """One try: `dropped` in a transaction that is aborted, then the messages in one that is committed."""
    producer = await wire._started(bootstrap, transactional_id="chaos", transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
    try:
        async with asyncio.timeout(TRY_S * 2):
            await producer.begin_transaction()
            await _answers(producer, dropped)
            await producer.abort_transaction()
            await producer.begin_transaction()
            acked, left = await _answers(producer, messages)
            await producer.commit_transaction()
    except (KafkaError, TimeoutError):
        # Whether it was committed is not known: all of it is sent again, and counts once.
        return [], messages
    finally:
        await _stop(producer)
    return acked, left


async def _answers(producer: Any, messages: list[Message], spread_s: float = 0.0) -> tuple[list[Acked], list[Message]]:
    """Sends, and sorts by what came back within the time."""
    sent: list[tuple[Message, Any]] = []
    try:
        async with asyncio.timeout(TRY_S + spread_s):
            async for each in _paced(messages, spread_s):
                future = await producer.send(wire.EVENTS, each.value, each.key, each.partition, headers=list(each.headers))
                sent.append((each, future))
            await asyncio.wait([future for _, future in sent])
    except (KafkaError, TimeoutError):
        pass
    acked, left = [], messages[len(sent) :]
    for each, future in sent:
        if future.done() and not future.cancelled() and future.exception() is None:
            acked.append(Acked(each, future.result().partition, future.result().offset))
        else:
            left.append(each)
    return acked, left


async def _paced(messages: list[Message], spread_s: float) -> AsyncIterator[Message]:
    """The messages, a few at a time over so many seconds."""
    for at, each in enumerate(messages):
        if spread_s and at % PIECE == 0:
            await asyncio.sleep(spread_s * PIECE / len(messages))
        yield each


async def _stop(producer: Any) -> None:
    """Leaves, at once where the brokers do not answer."""
    try:
        async with asyncio.timeout(TRY_S):
            await producer.stop()
    except (KafkaError, TimeoutError):
        await producer.client.close()


def by_librdkafka(bootstrap: str, messages: list[Message], spread_s: float) -> tuple[list[Acked], list[Message]]:
    """One try with librdkafka as it comes: keys are placed by CRC32, not where Kafka's own clients put them."""
    settings = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "log_level": 0,
        "message.max.bytes": 1_048_576,
        "message.timeout.ms": int(TRY_S * 1000),
    }
    producer = Producer(settings)
    acked: dict[int, Acked] = {}

    def answered(at: int, error: Any, record: Any) -> None:
        if error is None:
            acked[at] = Acked(messages[at], record.partition(), record.offset())

    for at, each in enumerate(messages):
        options: dict[str, Any] = {} if each.partition is None else {"partition": each.partition}
        try:
            producer.produce(
                wire.EVENTS, value=each.value, key=each.key, headers=list(each.headers), on_delivery=lambda e, r, n=at: answered(n, e, r), **options
            )
        except (KafkaException, BufferError):
            break
        if spread_s and at % PIECE == 0:
            time.sleep(spread_s * PIECE / len(messages))
        producer.poll(0)
    producer.flush(TRY_S * 1.5)
    return list(acked.values()), [each for at, each in enumerate(messages) if at not in acked]
