"""The real Kafka that delivery's tests share: one broker per test module."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from infra.embedded.testing import KafkaCluster, kafka_broker

FAUST_LEAVES = [
    # A consumer that crashed or found no broker leaves its sockets and its thread's loop to the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A real broker that a test may kill and start again."""
    with kafka_broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="module")
def bootstrap(cluster: KafkaCluster) -> str:
    """The broker's address."""
    return cluster.bootstrap


async def remove_topics(admin: Any, names: Collection[str]) -> None:
    """Deletes those of the topics that are there, and returns when the broker knows none of them any more.

    Made anew earlier, what a test writes may be acknowledged by the log that is about to go.
    """
    here = sorted(set(await admin.list_topics()) & set(names))
    if here:
        await admin.delete_topics(here)
    while set(await admin.list_topics()) & set(here):
        await asyncio.sleep(0.05)
