"""A hot customer on a real Kafka: its partition is long, and the others do not wait for its end (fault row A17)."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import kafka_io
from tests.agents.delivery_broker import FAUST_LEAVES, bootstrap, cluster  # noqa: F401 - fixtures
from tests.agents.delivery_harness import make_topic, until, worker

pytestmark = [pytest.mark.system, *FAUST_LEAVES]
HOT, OTHERS = 40_000, 1_500
"""Records of a kilobyte: the hot partition takes some ten fetches, each of the others one."""


async def test_other_partitions_are_read_while_a_hot_one_is_far_behind(bootstrap: str, tmp_path: Path) -> None:  # noqa: F811
    """Nine of ten records lie on one partition: the others are handed over to their ends before half of it is, and nothing is left out."""
    topic = await make_topic(bootstrap)
    async with kafka_io.producer(bootstrap) as client:
        for partition, count in ((0, HOT), (1, OTHERS), (2, OTHERS), (3, OTHERS)):
            for number in range(count):
                await client.send(topic, b"%1000d" % number, key=b"hot" if partition == 0 else b"k%d" % number, partition=partition)
        await client.flush()
    async with worker(bootstrap, topic, tmp_path) as running:
        await until(lambda: (running.flow.position((topic, 0)) or 0) >= HOT, "the hot partition handed over")
        await until(lambda: all((running.flow.position((topic, p)) or 0) >= OTHERS for p in (1, 2, 3)), "the others handed over")
        batches = list(running.mini.batches)
        last_of_others = max(at for at, batch in enumerate(batches) if batch.partition != 0)
        hot_before = sum(len(batch) for batch in batches[:last_of_others] if batch.partition == 0)
        assert hot_before < HOT // 2
    assert [running.mini.offsets(partition) for partition in range(4)] == [list(range(count)) for count in (HOT, OTHERS, OTHERS, OTHERS)]
