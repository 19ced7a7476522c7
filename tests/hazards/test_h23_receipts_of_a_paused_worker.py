"""H23, law 13, in the log of receipts: a paused worker writes on; a successor reads too early, too little, or what was never committed."""

from __future__ import annotations

import asyncio
import random

import pytest

from sinks.stripe import receipt_log
from sinks.stripe.app_ports import LostOwnership
from sinks.stripe.receipt_log import ReceiptLog
from tests.agents.meter_world import in_a_loop
from tests.hazards.fold import clean
from tests.hazards.receipts_topic import Broker, Consumer, Producer
from topics.codec import encode
from topics.errors import Unreachable
from topics.receipt import Receipt, WindowReceipt, receipt_key

PARTITION = 2


def _receipt(name: int, revision: int) -> WindowReceipt:
    window = f"c{name}|m|0|60"
    return WindowReceipt(
        window=window, customer=f"c{name}", meter="m", start_s=0, end_s=60, generation=0, through_offset=revision, quantity="1", parked_at_ms=0
    )


class Worker:
    """One life of a worker of the partition: it opens the log and writes what comes after what it has read."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.log = broker, ReceiptLog("127.0.0.1:1", PARTITION)
        self.known: dict[bytes, Receipt] = {}
        self.faults: list[str] = []
        self.is_open = self.is_over = False

    async def live(self) -> None:
        """Open, then write until it is told that it is over."""
        receipts, _ = await self.log.open()
        self.is_open = True
        self.known = {receipt_key(receipt): receipt for receipt in receipts}
        truth = self.broker.newest(PARTITION)
        producer = self.log._producer
        is_ours = self.broker.epochs[producer.name] == producer.epoch  # else a successor may have written since we read
        if is_ours and {key: encode(receipt) for key, receipt in self.known.items()} != truth:
            self.faults.append(f"opened with {len(self.known)} receipts, {len(truth)} are committed, or others")
        while not self.is_over:
            await self.broker.pause()
            await self._write()

    async def _write(self) -> None:
        rng = self.broker.rng
        names = [rng.randrange(6) for _ in range(rng.randrange(1, 4))]
        records: list[tuple[bytes, Receipt]] = []
        for name in set(names):
            key = receipt_key(_receipt(name, 0))
            before = self.known.get(key)
            made = _receipt(name, (before.through_offset if isinstance(before, WindowReceipt) else 0) + 1)
            records.append((key, made))
        truth = self.broker.newest(PARTITION)
        stale = [key for key, _ in records if truth.get(key) != (encode(self.known[key]) if key in self.known else None)]
        try:
            await self.log.write(records)
        except (LostOwnership, Unreachable):
            self.is_over = True
            return
        self.known |= dict(records)
        if stale:
            self.faults.append("a worker that was taken over wrote from what it had read before")


async def _life(broker: Broker) -> list[str]:
    rng = broker.rng
    lives: list[tuple[Worker, asyncio.Task[None]]] = []
    for _ in range(6):
        worker = Worker(broker)
        lives.append((worker, asyncio.ensure_future(worker.live())))
        for _ in range(rng.randrange(120)):
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            lives[-1][1].cancel()  # kill -9, perhaps within a transaction
    for _ in range(150):
        await asyncio.sleep(0)
    for worker, task in lives:
        worker.is_over = True
        task.cancel()
    ends = await asyncio.gather(*(task for _, task in lives), return_exceptions=True)
    broken = [repr(end) for end in ends if isinstance(end, Exception)]
    return broken + [fault for worker, _ in lives for fault in worker.faults]


def seeded(seed: int) -> list[str]:
    """Six workers follow each other, of which the earlier ones go on; each opens with the last committed receipts, and only the last one writes."""
    broker = Broker(random.Random(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receipt_log, "AIOKafkaProducer", lambda **settings: Producer(broker, settings["transactional_id"]))
        patch.setattr(receipt_log, "AIOKafkaConsumer", lambda **settings: Consumer(broker, settings["isolation_level"]))
        return in_a_loop(_life(broker))


def test_h23_a_paused_worker_writes_no_receipt() -> None:
    """Whoever opens a partition's receipts has exactly the committed ones, and whoever was there before writes none any more."""
    assert not clean(seeded, 40)
