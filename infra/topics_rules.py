"""What the eight topics must be on a server, and how what is there differs: pure, so that plan, apply and check agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from topics.catalog import STATE, Topic, catalog

if TYPE_CHECKING:
    from infra.settings import KafkaSettings


class Found(NamedTuple):
    """A topic as the server describes it; `configs` are the values in effect."""

    partitions: int
    replication: int
    configs: Mapping[str, str]


class Difference(NamedTuple):
    """One thing that is not as it must be. `change`: `apply` can put it right; otherwise `remedy` says what a person must do."""

    topic: str
    what: str
    is_: str
    wanted: str
    change: Literal["create", "alter", "none"]
    remedy: str = ""

    def __str__(self) -> str:
        if self.change == "create":
            return f"{self.topic}: the topic does not exist"
        tail = f" {self.remedy}" if self.remedy else ""
        return f"{self.topic}: {self.what} is {self.is_}, must be {self.wanted}.{tail}"


def wanted_configs(topic: Topic, kafka: KafkaSettings) -> dict[str, str]:
    """The settings of a topic that exactness depends on, each with its reason."""
    configs = {
        "cleanup.policy": topic.cleanup,
        "message.timestamp.type": "LogAppendTime" if topic.log_append_time else "CreateTime",  # law 0: the broker's clock is "now"
        "max.message.bytes": str(topic.max_message_bytes),
        "min.insync.replicas": str(kafka.min_insync),  # law 5: an acknowledged record survives the loss of a broker
        "unclean.leader.election.enable": "false",  # law 5: no acknowledged record is given up for availability
    }
    if topic.cleanup == "delete":
        configs["retention.ms"] = str(topic.retention_ms)
        configs["retention.bytes"] = "-1"  # a server's default by size would delete usage that no worker has read
    if topic.name == STATE:
        # Every superseded segment is rubbish at once: clean at a tenth, so that recovery reads little more than what is live.
        configs["min.cleanable.dirty.ratio"] = "0.1"
    return configs


def differences(found: Mapping[str, Found], kafka: KafkaSettings) -> list[Difference]:
    """Everything that is not as it must be, in the catalogue's order."""
    result: list[Difference] = []
    for topic in catalog(kafka.retention_ms):
        there = found.get(topic.name)
        if there is None:
            wanted = f"{kafka.partitions} partitions, replication {kafka.replication}"
            result.append(Difference(topic.name, "topic", "absent", wanted, "create"))
        else:
            result += _different(topic, there, kafka)
    return result


def _different(topic: Topic, there: Found, kafka: KafkaSettings) -> list[Difference]:
    result: list[Difference] = []
    if there.partitions != kafka.partitions:
        remedy = f"The count is fixed for ever (law 1): write partitions = {there.partitions} in [kafka], or use an empty cluster."
        result.append(Difference(topic.name, "partition count", str(there.partitions), str(kafka.partitions), "none", remedy))
    if there.replication < kafka.replication:
        remedy = "Reassign its replicas with Kafka's own tool, or lower replication in [kafka] (not for money)."
        result.append(Difference(topic.name, "replication", str(there.replication), str(kafka.replication), "none", remedy))
    for name, value in wanted_configs(topic, kafka).items():
        is_ = there.configs.get(name, "unset")
        if not _enough(name, is_, value):
            result.append(Difference(topic.name, name, is_, value, "alter"))
    return result


def _enough(name: str, is_: str, wanted: str) -> bool:
    """Longer retention, a larger record or more replicas in sync than asked for is no fault."""
    if name in {"retention.ms", "max.message.bytes", "min.insync.replicas"} and is_.lstrip("-").isdigit():
        return (name == "retention.ms" and is_ == "-1") or int(is_) >= int(wanted) > -1
    if name == "min.cleanable.dirty.ratio":
        return is_ != "unset" and float(is_) <= float(wanted)
    return is_ == wanted


def altered(there: Mapping[str, str], changes: list[Difference]) -> dict[str, str]:
    """The whole set of a topic's own settings to write: the server's call replaces all of them, so the old ones are kept."""
    return dict(there) | {change.what: change.wanted for change in changes if change.change == "alter"}
