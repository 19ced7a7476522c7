"""The real Kafka that delivery's tests share: one broker per test module."""

from __future__ import annotations

from collections.abc import Iterator

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
