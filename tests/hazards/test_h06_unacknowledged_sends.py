"""H6, law 5, at the meter's producer: its call returns although a broker has not answered, or only one of three copies is written."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from infra import outbox as outbox_module
from infra.outbox import KafkaOutbox, NotAcknowledged
from streams.sends import Send
from tests.agents.meter_world import in_a_loop
from tests.hazards.fold import clean


class Producer:
    """aiokafka's producer as far as the outbox uses it: batches are acknowledged after a while, in any order, or refused."""

    def __init__(self, rng: random.Random, refuses: float, **settings: Any) -> None:
        self.rng, self.refuses, self.settings = rng, refuses, settings
        self.acknowledged = 0

    async def start(self) -> None:
        """Connected."""

    async def stop(self) -> None:
        """Closed."""

    def create_batch(self) -> list[Any]:
        """An empty batch."""
        return Batch()

    async def send_batch(self, batch: list[Any], _topic: str, *, partition: int) -> asyncio.Future[None]:
        """On its way; `partition` is not looked at."""
        return asyncio.ensure_future(self._answer(len(batch)))

    async def _answer(self, count: int) -> None:
        for _ in range(self.rng.randrange(12)):
            await asyncio.sleep(0)
        if self.rng.random() < self.refuses:
            raise KafkaError("refused")
        self.acknowledged += count


class Batch(list[Any]):
    """Takes three records."""

    def append(self, key: Any = None, value: Any = None, **_more: Any) -> Any:
        """None where it is full."""
        if len(self) >= 3:
            return None
        super().append((key, value))
        return True


async def _life(rng: random.Random) -> list[str]:
    made: list[Producer] = []
    refuses = rng.choice((0.0, 0.0, 0.2))

    def make(**settings: Any) -> Producer:
        made.append(Producer(rng, refuses, **settings))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox_module, "AIOKafkaProducer", make)
        outbox = KafkaOutbox("127.0.0.1:1", "hazards")
        await outbox.start()
    sends = [Send(rng.choice(("usage.state", "usage.verdicts")), rng.randrange(2), None, b"%d" % number) for number in range(rng.randrange(1, 20))]
    producer = made[0]
    copies, again = producer.settings.get("acks"), producer.settings.get("enable_idempotence")
    safe = (copies, again) == ("all", True)
    faults = [] if safe else [f"acks {copies!r}, idempotent {again!r}: a fail-over loses or doubles what was acknowledged"]
    try:
        await outbox.send_all(sends)
    except NotAcknowledged:
        return faults if refuses else [*faults, "refused although every record was taken"]
    if producer.acknowledged != len(sends):
        faults.append(f"returned with {producer.acknowledged} of {len(sends)} records acknowledged")
    return faults


def seeded(seed: int) -> list[str]:
    """Records in several batches, some of which are refused: the call returns when all are acknowledged, and raises where one is not."""
    return in_a_loop(_life(random.Random(seed)))


def test_h06_a_send_returns_when_every_copy_is_written() -> None:
    """The meter's producer asks for all in-sync replicas, and its call returns only when every record is acknowledged."""
    assert not clean(seeded, 30)
