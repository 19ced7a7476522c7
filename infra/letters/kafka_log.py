"""`replay.Log` on Kafka: one transactional producer for this command, wherever it runs, and readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Self

from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from infra import topics_admin
from infra.kafka_io import producer, unreachable
from infra.letters.replay import Outgoing
from infra.letters.tail import Tail, read_tail
from topics.catalog import EVENTS
from topics.errors import TidemarkError

TRANSACTIONAL_ID: Final = "tidemark-dead-letters"
TRANSACTION_TIMEOUT_MS: Final = 10_000
"""A commit takes tens of milliseconds. A run that is killed in one keeps the meter waiting at its records no longer than this."""

FENCED: Final = (
    "another `dead-letters replay` has begun since, or this one stood still for ten seconds; what it sent is found by the next run, so run it again"
)


class KafkaLog:
    """See `replay.Log`. Use it in `async with`."""

    def __init__(self, bootstrap: str, took: Callable[[int], None] = lambda _: None) -> None:
        self._bootstrap = bootstrap
        self._took = took
        self._opened = AsyncExitStack()
        self._producer: Any = None
        self.partitions = 0

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_exception_handler(_not_twice)
        self.partitions = await topics_admin.partition_count(self._bootstrap, EVENTS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def open(self) -> None:
        """See `replay.Log`."""
        fenced = producer(self._bootstrap, transactional_id=TRANSACTIONAL_ID, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
        self._producer = await self._opened.enter_async_context(fenced)

    async def tail(self, archived_to: Mapping[int, int]) -> Tail:
        """See `replay.Log`."""
        return await read_tail(self._bootstrap, archived_to, self.partitions, self._took)

    async def send(self, records: Sequence[Outgoing]) -> None:
        """See `replay.Log`."""
        waiting: list[Any] = []
        try:
            await self._producer.begin_transaction()
            for each in records:
                sending = self._producer.send(EVENTS, each.value, each.key, partition=each.partition, headers=list(each.headers))
                waiting.append(await sending)
            await asyncio.gather(*waiting)
            await self._producer.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch):
            raise TidemarkError(FENCED) from None
        except (KafkaError, OSError) as error:
            raise unreachable(self._bootstrap, error) from error


def _not_twice(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """aiokafka keeps an error that it has raised in futures of its own too, and asyncio would say each with its whole stack."""
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)
