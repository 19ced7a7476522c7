"""Publishes outgoing events to `usage.events`, and returns once the broker has acknowledged every one.

Numbered effects: 1 each record is sent; 2 its acknowledgement arrives. Stopped between, the same file can be sent again: its ids are the same,
so nothing is counted twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from infra.kafka_io import producer, unreachable
from infra.send.outgoing import BadLine, Outgoing
from topics.catalog import EVENTS
from topics.errors import TidemarkError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

IN_FLIGHT = 5_000
"""Records that wait for their acknowledgement: enough to fill batches of all partitions, about 5 MB of ordinary events."""


@dataclass
class Sent:
    """What became of a file: events acknowledged, their customers, the span of their times, and lines that could not be sent."""

    sent: int = 0
    customers: set[str] = field(default_factory=set)
    first_us: int | None = None
    last_us: int | None = None
    bad: list[BadLine] = field(default_factory=list)
    shift_us: int = 0

    def note(self, event: Outgoing) -> None:
        """Count an acknowledged event."""
        self.sent += 1
        self.customers.add(event.customer)
        if event.occurred_at_us is not None:
            at_us = event.occurred_at_us + self.shift_us
            self.first_us = at_us if self.first_us is None else min(self.first_us, at_us)
            self.last_us = at_us if self.last_us is None else max(self.last_us, at_us)


def latest_us(outgoing: Iterable[Outgoing | BadLine]) -> int | None:
    """The time of the last event of a file; None where none carries a time."""
    times = (event.occurred_at_us for event in outgoing if isinstance(event, Outgoing) and event.occurred_at_us is not None)
    return max(times, default=None)


async def publish(bootstrap: str, outgoing: Iterable[Outgoing | BadLine], shift_us: int = 0) -> Sent:
    """Sends all; a line that cannot be sent is noted and the rest goes on. Raises Unreachable where Kafka stays away."""
    result = Sent(shift_us=shift_us)
    async with producer(bootstrap) as client:
        await _require_topic(client, bootstrap)
        waiting: list[tuple[Outgoing, asyncio.Future[Any]]] = []
        try:
            for event in outgoing:
                await _take(client, event, waiting, result)
        except (KafkaConnectionError, KafkaTimeoutError) as error:
            raise unreachable(bootstrap, error) from error
        await _acknowledged(waiting, result)
    return result


async def _take(client: AIOKafkaProducer, event: Outgoing | BadLine, waiting: list[tuple[Outgoing, asyncio.Future[Any]]], result: Sent) -> None:
    if isinstance(event, BadLine):
        result.bad.append(event)
        return
    try:
        waiting.append((event, await client.send(EVENTS, event.bytes_at(result.shift_us), event.customer.encode())))
    except MessageSizeTooLargeError:
        result.bad.append(_too_large(event))
    if len(waiting) >= IN_FLIGHT:
        await _acknowledged(waiting, result)


def _too_large(event: Outgoing) -> BadLine:
    return BadLine(event.line, "it is larger than 1 MiB, which the broker does not take")


async def _require_topic(client: AIOKafkaProducer, bootstrap: str) -> None:
    try:
        await client.partitions_for(EVENTS)
    except (UnknownTopicOrPartitionError, KafkaTimeoutError):
        raise TidemarkError(f"Kafka at {bootstrap} has no topic {EVENTS}; run `tidemark topics apply`") from None


async def _acknowledged(waiting: list[tuple[Outgoing, asyncio.Future[Any]]], result: Sent) -> None:
    for event, future in waiting:
        try:
            await future
        except MessageSizeTooLargeError:
            result.bad.append(_too_large(event))
        except KafkaError as error:
            raise TidemarkError(
                f"Kafka stopped acknowledging ({type(error).__name__}) after {result.sent} events; "
                "send the same file again: its ids are the same, so nothing is counted twice"
            ) from error
        else:
            result.note(event)
    waiting.clear()
