"""A Kafka broker on one machine, as text: its properties, how its folder is formatted, how it is started. Builds, starts nothing.

Every property is here because a single node, a quick start or the laws need it (acknowledged means on every in-sync replica, an unknown
topic is an error, nobody outside the machine can connect).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"

MESSAGE_MAX_BYTES = 2_621_440
"""2.5 MiB: usage.state and usage.rejected take records of 2 MiB, and a batch adds headers and framing to them."""

HEAP = "512m"
"""The broker's live set is 150 MB at our sizes; with 512 MB it collects rarely, and the process stays below 400 MB resident."""

SESSION_TIMEOUT_MS = 3_000
"""How long the controller believes in a killed broker and refuses its successor. Kafka's 9 s make twelve of every kill; below 2 s
a long pause of a busy machine would fence a broker that lives."""

HEARTBEAT_MS = 500
"""Six heartbeats may be lost before the session ends."""

CLEANER_BUFFER_BYTES = 16 * 1024 * 1024
"""The log cleaner's table of keys; Kafka's 128 MiB would be a quarter of the heap, and 16 MiB holds 600,000 keys a pass."""


@dataclass(frozen=True)
class Node:
    """One broker that is also a controller.

    `advertised_port` is what it tells clients to connect to; tests put a fault proxy there. `directory` holds its data.
    """

    node_id: int
    port: int
    controller_port: int
    directory: Path
    advertised_port: int | None = None


@dataclass(frozen=True)
class Cluster:
    """Brokers of one cluster; `cluster_id` names the log to the meter (law 3), so it lives as long as the data."""

    cluster_id: str
    nodes: tuple[Node, ...]

    @property
    def bootstrap(self) -> str:
        """What a client connects to."""
        return ",".join(f"{HOST}:{node.advertised_port or node.port}" for node in self.nodes)


def cluster_id(random_bytes: bytes) -> str:
    """Kafka's spelling of 16 random bytes: url-safe base64 without padding. A leading `-` would read as an option of its tools."""
    text = base64.urlsafe_b64encode(random_bytes).decode().rstrip("=")
    return "A" + text[1:] if text.startswith("-") else text


def cluster_id_of(meta_properties: str) -> str | None:
    """The cluster id in the `meta.properties` of a formatted folder, or None where the text holds none."""
    for line in meta_properties.splitlines():
        name, _, value = line.partition("=")
        if name == "cluster.id" and value:
            return value.strip()
    return None


def replicas(brokers: int) -> int:
    """How many copies of a partition a cluster of so many brokers keeps; of these all but one must have a record before it is acknowledged."""
    return min(3, brokers)


def properties(cluster: Cluster, node: Node, extra: Mapping[str, str | int] | None = None) -> dict[str, str]:
    """The server properties of one node; `extra` overrides them."""
    copies = replicas(len(cluster.nodes))
    voters = ",".join(f"{each.node_id}@{HOST}:{each.controller_port}" for each in cluster.nodes)
    values: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": node.node_id,
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{node.port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{node.advertised_port or node.port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(node.directory),
        # A misspelled topic is an error, never a new topic with other settings.
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "message.max.bytes": MESSAGE_MAX_BYTES,
        "default.replication.factor": copies,
        "min.insync.replicas": max(1, copies - 1),
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": max(1, copies - 1),
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": max(1, copies - 1),
        # Fifty partitions of each are made for hundreds of groups; four keep the first start quick.
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        # Three groups, each of few members that start together: waiting for more of them only delays.
        "group.initial.rebalance.delay.ms": 0,
        "broker.session.timeout.ms": SESSION_TIMEOUT_MS,
        "broker.heartbeat.interval.ms": HEARTBEAT_MS,
        "log.cleaner.dedupe.buffer.size": CLEANER_BUFFER_BYTES,
    }
    values.update(extra or {})
    return {name: str(value) for name, value in values.items()}


def properties_text(values: Mapping[str, str]) -> str:
    """A Java properties file; a backslash is its escape character, so it is doubled."""
    return "".join(f"{name}={value.replace(chr(92), chr(92) * 2)}\n" for name, value in values.items())


LOG_CONFIGURATION = """\
# Warnings and errors on standard output, which the supervisor keeps in the stack's log folder.
status = error
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = OUT
# Says at every start that a client used no rack or an old protocol: nothing to act on.
logger.configs.name = org.apache.kafka.common.config
logger.configs.level = error
"""


def java_options(heap: str, log_configuration: Path, log_dir: Path) -> list[str]:
    """Options of the broker's JVM: a fixed small heap, short pauses, death instead of limping when memory is out."""
    return [
        f"-Xmx{heap}",
        "-Xms128m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={log_dir / 'kafka-jvm-%p.log'}",
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED",
        f"-Dlog4j2.configurationFile={log_configuration}",
    ]


def start_command(java: str, options: Sequence[str], class_path: str, properties_file: Path) -> list[str]:
    """The command that runs a broker in the foreground."""
    return [java, *options, "-cp", class_path, "kafka.Kafka", str(properties_file)]


def format_command(java: str, class_path: str, cluster: str, properties_file: Path) -> list[str]:
    """The command that makes a broker's empty folder a member of the cluster with that id."""
    options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", class_path]
    return [java, *options, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties_file)]
