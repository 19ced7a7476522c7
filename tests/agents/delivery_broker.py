"""The real Kafka that delivery's tests share: one broker per test module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real broker; `TIDEMARK_TEST_KAFKA` names one that runs already."""
    running = os.environ.get("TIDEMARK_TEST_KAFKA")
    if running:
        yield running
        return
    from infra.embedded.testing import kafka_broker

    folder: Path = tmp_path_factory.mktemp("kafka")
    with kafka_broker(folder) as broker:
        yield broker.bootstrap
