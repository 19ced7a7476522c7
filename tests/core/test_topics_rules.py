"""What the eight topics must be on a server: every difference is found, and only what can be altered is altered."""

from __future__ import annotations

import pytest

from infra.settings import KafkaSettings
from infra.topics_rules import Found, altered, differences, wanted_configs
from topics.catalog import EVENTS, STATE, TOPIC_NAMES, catalog

KAFKA = KafkaSettings()


def right() -> dict[str, Found]:
    """A server as it must be."""
    return {topic.name: Found(KAFKA.partitions, KAFKA.replication, wanted_configs(topic, KAFKA)) for topic in catalog(KAFKA.retention_ms)}


def changed(topic: str, **configs: str) -> dict[str, Found]:
    """The same with one topic's settings changed (`_` for `.`)."""
    server = right()
    names = {name.replace("_", "."): value for name, value in configs.items()}
    server[topic] = server[topic]._replace(configs={**server[topic].configs, **names})
    return server


def test_a_server_as_it_must_be_has_no_difference() -> None:
    """The wanted settings themselves differ in nothing."""
    assert differences(right(), KAFKA) == []


def test_an_empty_server_gets_all_eight() -> None:
    """Each topic that is missing is one creation."""
    assert [(d.topic, d.change) for d in differences({}, KAFKA)] == [(name, "create") for name in TOPIC_NAMES]


@pytest.mark.parametrize(
    ("topic", "name", "value"),
    [
        (EVENTS, "message.timestamp.type", "CreateTime"),
        (EVENTS, "cleanup.policy", "compact"),
        (EVENTS, "retention.ms", "1000"),
        (EVENTS, "retention.bytes", "1073741824"),
        (EVENTS, "max.message.bytes", "1000"),
        (EVENTS, "min.insync.replicas", "1"),
        (EVENTS, "unclean.leader.election.enable", "true"),
        (STATE, "cleanup.policy", "delete"),
        (STATE, "min.cleanable.dirty.ratio", "0.5"),
    ],
)
def test_each_wrong_setting_is_found_and_altered(topic: str, name: str, value: str) -> None:
    """A setting that loses or double counts usage is a difference that `apply` corrects, keeping what else was set."""
    server = changed(topic, **{name.replace(".", "_"): value})
    found = differences(server, KAFKA)
    assert [(d.topic, d.what, d.is_, d.change) for d in found] == [(topic, name, value, "alter")]
    written = altered({"compression.type": "zstd", name: value}, found)
    assert written == {"compression.type": "zstd", name: wanted_configs(next(t for t in catalog() if t.name == topic), KAFKA)[name]}


@pytest.mark.parametrize(("name", "value"), [("retention.ms", "-1"), ("retention.ms", str(90 * 86_400_000)), ("max.message.bytes", "9000000")])
def test_more_than_asked_for_is_no_fault(name: str, value: str) -> None:
    """Longer retention and larger records are left as they are."""
    assert differences(changed(EVENTS, **{name.replace(".", "_"): value}), KAFKA) == []


def test_what_only_a_person_can_change_is_never_altered() -> None:
    """Partition count and replication are said with a remedy and not touched."""
    server = {name: found._replace(partitions=3, replication=1) for name, found in right().items()}
    found = differences(server, KAFKA)
    assert {(d.what, d.change) for d in found} == {("partition count", "none"), ("replication", "none")}
    assert all(d.remedy for d in found)
