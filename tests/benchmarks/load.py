"""The load: usage events of about 240 bytes on `usage.events`, the same bytes for every contestant that reads them."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from confluent_kafka import Producer

from topics.home import home_of

PARTITIONS = 4
CUSTOMERS = 2000
SPREAD_S = 180
"""Events lie in the last three minutes: four windows of one minute a customer."""


def events(count: int, seed: int, now_s: float) -> Iterator[tuple[str, bytes]]:
    """Customer and CloudEvent of `count` requests in the three minutes before `now_s`."""
    rng = random.Random(seed)
    names = [f"cus_{number:08d}" for number in range(CUSTOMERS)]
    stamps = [datetime.fromtimestamp(now_s - SPREAD_S + index * SPREAD_S / 10_000, UTC) for index in range(10_000)]
    times = [stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z") for stamp in stamps]
    head, middle = '{"specversion":"1.0","id":"', '","source":"bench","type":"api.request","subject":"'
    for _ in range(count):
        customer = rng.choice(names)
        identity = uuid.UUID(int=rng.getrandbits(128))
        text = f'{head}{identity}{middle}{customer}","time":"{rng.choice(times)}","data":{{"units":{rng.randrange(1, 1000)}}}}}'
        yield customer, text.encode()


def publish(bootstrap: str, topic: str, count: int, seed: int) -> None:
    """Send `count` events, each to its customer's home, and wait for every acknowledgement."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 1_000_000, "acks": "all", "queue.buffering.max.messages": 1_000_000}
    )
    homes: dict[str, int] = {}
    for customer, value in events(count, seed, time.time()):
        if customer not in homes:
            homes[customer] = home_of(customer.encode(), PARTITIONS)
        while True:
            try:
                producer.produce(topic, value, key=customer, partition=homes[customer])
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    left = producer.flush(120)
    if left:
        raise RuntimeError(f"{left} of {count} events were not acknowledged")
