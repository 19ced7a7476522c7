"""The demo's producer: sends in small acknowledged portions, and sends a portion again where Kafka died under it. Ids make that harmless."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from infra.demo.usage import Made
from infra.kafka_io import producer
from topics.catalog import EVENTS
from topics.errors import Unreachable
from topics.home import home_of

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

Moved = Callable[[int], Awaitable[None]]
"""Hears how many records more are acknowledged."""
PORTION = 250
"""Records acknowledged together: small enough that every kill falls between many of them."""
RETRY_S = 0.5
ACK_TIMEOUT_S = 30.0
"""A broker is back within 12 s of its kill (facts of the stack); a portion without acknowledgement after this is sent anew."""


async def send_all(bootstrap: str, records: Sequence[Made], partitions: int, *, seconds: float, moved: Moved) -> int:
    """Sends everything within about `seconds` (longer where Kafka is away); `moved` hears of each portion.

    Returns how many portions had to be sent again.
    """
    portions = deque(records[start : start + PORTION] for start in range(0, len(records), PORTION))
    pause_s = seconds / max(1, len(portions))
    again = 0
    while portions:
        try:
            await _send_portions(bootstrap, portions, partitions, pause_s, moved)
        except (KafkaError, Unreachable, TimeoutError):
            again += 1
            await asyncio.sleep(RETRY_S)
    return again


async def _send_portions(bootstrap: str, portions: deque[Sequence[Made]], partitions: int, pause_s: float, moved: Moved) -> None:
    """Takes portions off the front as they are acknowledged, with one producer, as long as it lives."""
    async with producer(bootstrap) as client:
        while portions:
            async with asyncio.timeout(ACK_TIMEOUT_S):
                await _send(client, portions[0], partitions)
            await moved(len(portions.popleft()))
            await asyncio.sleep(pause_s)


async def _send(client: AIOKafkaProducer, portion: Sequence[Made], partitions: int) -> None:
    futures: list[asyncio.Future[Any]] = []
    for made in portion:
        partition = None
        if made.kind == "misplaced" and made.key is not None:
            partition = (home_of(made.key, partitions) + 1) % partitions  # as a producer with another hash would
        futures.append(await client.send(EVENTS, made.value, made.key, partition=partition))
    await asyncio.gather(*futures)
