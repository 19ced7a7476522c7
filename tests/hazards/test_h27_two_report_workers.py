"""H27: windows and receipts that are partitioned by their own keys put one customer's cells on two workers that know nothing of each other."""

from __future__ import annotations

import asyncio
import random

import pytest

from sinks.stripe import receipt_log
from sinks.stripe.receipt_log import ReceiptLog
from tests.agents.meter_world import in_a_loop
from tests.core.meterlog import NOW_MS, PARTITIONS, Log, meters_record, usage
from tests.core.report_world import START_S, World, total_of
from tests.hazards.fold import Fold, clean
from tests.hazards.receipts_topic import Broker, Consumer, Producer
from tests.hazards.test_h22_late_request import judged, world_of
from tests.oracle.hashes import java_partition
from topics.catalog import WINDOWS
from topics.home import home_of
from topics.instants import format_us
from topics.meters import Meter
from topics.quantity import ONE
from topics.receipt import WindowReceipt, receipt_key

METER = Meter(slug="calls", event_type="api.request", window_s=60)


def _rebalanced(world: World) -> None:
    """The partition goes to another worker while this one is in the middle of something, and wakes later."""
    worker = world.start()
    world.feed()
    for _ in range(world.chance.randrange(1, 60)):
        world.step(worker)
        world.pass_time(100)
    world.suspend()
    world.pass_time(world.chance.choice((100, 30_000, 90_000)))
    world.wake()


def seeded(seed: int) -> list[str]:
    """One customer's hundred totals under two workers that take turns, with requests that hang."""
    world = world_of(seed, {"acme": "si_1"})
    world.slow = world.chance.choice((0.0, 0.3))
    for number in range(100):
        world.source.append(total_of("acme", START_S - 3600 * (1 + number % 20), (1 + number) * ONE, number))
        if number % 10 == 9:
            _rebalanced(world)
    world.settle()
    world.pass_time(700_000)
    return judged(world, {"acme": "si_1"})


def seeded_places(seed: int) -> list[str]:
    """Every total and every receipt of a customer, as they are really written, against the partition that Java's client would choose."""
    rng, faults = random.Random(seed), list[str]()
    names = [f"cus_{rng.randrange(10**6)}" for _ in range(6)]
    for partition in range(PARTITIONS):
        log = Log()
        log.add(*meters_record((METER,)), NOW_MS)
        for number, name in enumerate(names):
            if home_of(name.encode(), PARTITIONS) == partition:
                log.add(name.encode(), usage(name, f"e{number}", format_us(NOW_MS * 1000)), NOW_MS)
        life = Fold(log, rng, partition=partition)
        life.finish()
        placed = [send.partition for send in life.written if send.topic == WINDOWS]
        faults += [f"a total of partition {partition}'s customer lies on {where}" for where in placed if where != partition]
    return faults + in_a_loop(_receipts(rng, names))


async def _receipts(rng: random.Random, names: list[str]) -> list[str]:
    """The receipts of each customer, written by the worker of its home."""
    broker = Broker(rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receipt_log, "AIOKafkaProducer", lambda **settings: Producer(broker, settings["transactional_id"]))
        patch.setattr(receipt_log, "AIOKafkaConsumer", lambda **settings: Consumer(broker, settings["isolation_level"]))
        for name in names:
            log = ReceiptLog("127.0.0.1:1", java_partition(name.encode(), PARTITIONS))
            await log.open()
            receipt = WindowReceipt(
                window=f"{name}|m|0|60", customer=name, meter="m", start_s=0, end_s=60, generation=0, through_offset=1, quantity="1", parked_at_ms=0
            )
            await log.write([(receipt_key(receipt), receipt)])
            await log.close()
            await asyncio.sleep(0)
    return [
        f"a receipt of {name} lies on partition {partition}"
        for partition, records in broker.logs.items()
        for record in records
        for name in names
        if name.encode() in record.key and java_partition(name.encode(), PARTITIONS) != partition
    ]


def test_h27_two_workers_deliver_one_customer_once() -> None:
    """A customer's hundred totals under two workers and random rebalances end exact, with no two intents of a cell open at once."""
    assert not clean(seeded, 15)


def test_h27_all_of_a_customer_lies_on_its_home() -> None:
    """Totals and receipts of a customer lie on its home partition, whatever their own keys are."""
    assert not clean(seeded_places, 10)
