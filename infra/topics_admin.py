"""`tidemark topics plan|apply|check`: the eight topics on a server, verified, created, corrected. The rules are in topics_rules.py."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from infra.kafka_io import ABSENT, admin, unreachable
from infra.topics_rules import Difference, Found, altered, differences, wanted_configs
from topics.catalog import TOPIC_NAMES, catalog
from topics.errors import TidemarkError

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

    from infra.settings import KafkaSettings

VISIBLE_WITHIN_S: Final = 15.0
"""How long a change may take to reach the broker that is asked; usually it is a tenth of a second."""
ASK_AGAIN_S: Final = (0.2, 0.5, 1.0)
"""Pauses before a topic counts as absent: of several brokers the one that was asked may not have heard of a new topic yet."""
_UNKNOWN_TOPIC: Final = 3
_ALREADY_EXISTS: Final = 36
_DYNAMIC_TOPIC_CONFIG: Final = 1
"""Kafka's `config_source` of a setting that was made on the topic itself (DescribeConfigs)."""


class _Described(NamedTuple):
    found: Found
    own: dict[str, str]
    """Only what was set on the topic itself."""


async def plan(kafka: KafkaSettings) -> list[Difference]:
    """What is not as it must be. Raises Unreachable."""
    async with admin(kafka.bootstrap) as client:
        return differences({name: topic.found for name, topic in (await _described(client, kafka)).items()}, kafka)


async def apply(kafka: KafkaSettings) -> tuple[list[Difference], list[Difference]]:
    """Creates and corrects; answers what was changed and what still differs (only a person can change that)."""
    async with admin(kafka.bootstrap) as client:
        described = await _described(client, kafka)
        before = differences({name: topic.found for name, topic in described.items()}, kafka)
        await _create(client, kafka, {change.topic for change in before if change.change == "create"})
        await _alter(client, described, before)
        left = await _settled_differences(client, kafka)
    changed = [change for change in before if change.change != "none"]
    return changed, left


async def _settled_differences(client: AIOKafkaAdminClient, kafka: KafkaSettings) -> list[Difference]:
    """What differs once the brokers know what the controller has just answered: their copy of the metadata is a moment behind."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + VISIBLE_WITHIN_S
    while True:
        left = differences({name: topic.found for name, topic in (await _described(client, kafka)).items()}, kafka)
        if all(difference.change == "none" for difference in left) or loop.time() > deadline:
            return left
        await asyncio.sleep(0.1)


async def partition_count(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has. Raises TidemarkError where there is no such topic."""
    async with admin(bootstrap) as client:
        for pause_s in (*ASK_AGAIN_S, None):
            described = await client.describe_topics([topic])
            count = next((len(one["partitions"]) for one in described if one["error_code"] == 0 and one["partitions"]), None)
            if count is not None:
                return count
            if pause_s is not None:
                await asyncio.sleep(pause_s)
    raise TidemarkError(f"Kafka at {bootstrap} has no topic {topic}; run `tidemark topics apply`")


async def _described(client: AIOKafkaAdminClient, kafka: KafkaSettings) -> dict[str, _Described]:
    try:
        shapes = {
            description["topic"]: description["partitions"]
            for description in await client.describe_topics(list(TOPIC_NAMES))
            if description["error_code"] != _UNKNOWN_TOPIC and description["partitions"]
        }
        configs = await _configs(client, sorted(shapes))
    except ABSENT as error:
        raise unreachable(kafka.bootstrap, error) from error
    return {
        name: _Described(Found(len(partitions), min(len(partition["replicas"]) for partition in partitions), configs[name][0]), configs[name][1])
        for name, partitions in shapes.items()
        if name in configs
    }


async def _configs(client: AIOKafkaAdminClient, names: list[str]) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """(in effect, set on the topic itself) of each topic; one that the asked broker has not heard of yet is missing."""
    result: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    if not names:
        return result
    for response in await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names]):
        for code, message, _type, name, entries in response.resources:
            if code == _UNKNOWN_TOPIC:
                continue
            _say_refusal(code, message, f"describing {name}")
            in_effect = {entry[0]: entry[1] or "" for entry in entries}
            result[name] = (in_effect, {entry[0]: entry[1] for entry in entries if entry[3] == _DYNAMIC_TOPIC_CONFIG})
    return result


async def _create(client: AIOKafkaAdminClient, kafka: KafkaSettings, names: set[str]) -> None:
    new = [
        NewTopic(topic.name, kafka.partitions, kafka.replication, topic_configs=wanted_configs(topic, kafka))
        for topic in catalog(kafka.retention_ms)
        if topic.name in names
    ]
    if not new:
        return
    response: Any = await client.create_topics(new)
    for name, code, *message in response.topic_errors:
        if code != _ALREADY_EXISTS:  # another `apply` was faster; what it made is verified below
            _say_refusal(code, message[0] if message else None, f"creating {name} with replication {kafka.replication}")


async def _alter(client: AIOKafkaAdminClient, described: dict[str, _Described], changes: list[Difference]) -> None:
    by_topic: defaultdict[str, list[Difference]] = defaultdict(list)
    for change in changes:
        if change.change == "alter":
            by_topic[change.topic].append(change)
    if not by_topic:
        return
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=altered(described[name].own, found)) for name, found in by_topic.items()]
    for response in await client.alter_configs(resources):
        for code, message, _type, name in response.resources:
            _say_refusal(code, message, f"changing {name}")


def _say_refusal(code: int, message: str | None, doing: str) -> None:
    if code:
        raise TidemarkError(f"Kafka refused {doing}: {message or for_code(code).__name__}")
