"""Puts a shape's events on a topic, in the order in which they are made, each at its customer's home, and says what they sum to."""

from __future__ import annotations

import time

from confluent_kafka import Producer

from tests.benchmarks.shapes import Expected, Shape, blocks

FLUSH_S = 300
PRODUCER = {
    "linger.ms": 50,
    "batch.size": 1_000_000,
    "batch.num.messages": 100_000,
    "acks": "all",
    "queue.buffering.max.messages": 500_000,
    # Kafka's own partitioner, by which the meter knows a customer's home (law 1); librdkafka has another as its default.
    "partitioner": "murmur2_random",
}


def publish(bootstrap: str, topic: str, shape: Shape, count: int, seed: int, first: int = 0) -> Expected:
    """Send `count` events and wait for every acknowledgement. Raises RuntimeError where one is missing."""
    refused: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "on_delivery": lambda error, _: refused.append(str(error)) if error else None, **PRODUCER})
    total = Expected()
    for block in blocks(shape, count, seed, time.time(), first):
        for customer, value in zip(block.customers, block.values, strict=True):
            try:
                producer.produce(topic, value, customer)
            except BufferError:
                _wait_for_room(producer)
                producer.produce(topic, value, customer)
        producer.poll(0)
        total += block.expected
    left = producer.flush(FLUSH_S)
    if left or refused:
        raise RuntimeError(f"of {count} events {left} were not acknowledged and {len(refused)} refused ({refused[:1]})")
    return total


def _wait_for_room(producer: Producer) -> None:
    """Until half of what is buffered has gone, so that the next wait is not one event away."""
    while len(producer) > PRODUCER["queue.buffering.max.messages"] // 2:  # type: ignore[operator]
        producer.poll(0.05)
