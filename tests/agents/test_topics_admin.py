"""Topics asked of a cluster whose brokers do not all know the same yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from infra import topics_admin
from infra.settings import KafkaSettings
from infra.topics_rules import wanted_configs
from topics.catalog import EVENTS, catalog
from topics.errors import TidemarkError

KAFKA = KafkaSettings(replication=1, min_insync=1)
TOPICS = {topic.name: topic for topic in catalog(KAFKA.retention_ms)}
UNKNOWN_TOPIC = 3


class Brokers:
    """An admin client whose every question goes to a broker that knows all topics, or to one that lags behind."""

    def __init__(self, *lags: bool) -> None:
        self.lags = list(lags)

    def _knows(self) -> bool:
        return not (self.lags.pop(0) if self.lags else False)

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        """Metadata."""
        code, partitions = (0, [{"replicas": [1]}] * KAFKA.partitions) if self._knows() else (UNKNOWN_TOPIC, [])
        return [{"topic": name, "error_code": code, "partitions": partitions} for name in names]

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        """DescribeConfigs."""
        code = 0 if self._knows() else UNKNOWN_TOPIC
        answers = [(code, None, 2, each.name, self._entries(each.name) if code == 0 else []) for each in resources]
        return [SimpleNamespace(resources=answers)]

    @staticmethod
    def _entries(name: str) -> list[tuple[str, str, bool, int]]:
        return [(key, value, False, 1) for key, value in wanted_configs(TOPICS[name], KAFKA).items()]


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    """Stands in for every admin client of the module."""
    made = Brokers()

    @asynccontextmanager
    async def admin(bootstrap: str) -> AsyncIterator[Brokers]:
        yield made

    monkeypatch.setattr(topics_admin, "admin", admin)
    monkeypatch.setattr(topics_admin, "ASK_AGAIN_S", (0.0, 0.0))
    return made


async def test_a_broker_that_lags_behind_makes_topics_absent_and_raises_nothing(brokers: Brokers) -> None:
    """Where the broker asked for settings has not heard of a topic yet, it is absent for now, and present when the next one is asked."""
    brokers.lags = [False, True]
    assert {one.change for one in await topics_admin.plan(KAFKA)} == {"create"}
    assert await topics_admin.plan(KAFKA) == []


async def test_a_topic_counts_as_absent_only_after_it_was_asked_for_again(brokers: Brokers) -> None:
    """A partition count is found although the first broker lags behind; a topic that nobody knows is an error with its remedy."""
    brokers.lags = [True, True]
    assert await topics_admin.partition_count("anywhere", EVENTS) == KAFKA.partitions
    brokers.lags = [True] * 10
    with pytest.raises(TidemarkError, match="run `tidemark topics apply`"):
        await topics_admin.partition_count("anywhere", EVENTS)
