"""A real broker and a real engine for tests, each in one line; both are gone when the block ends, whatever happened in it.

Start them from the main thread: the kernel ends them when the thread that started them ends.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from infra.embedded import http_probe, kafka, kafka_node, kafka_probe, ports, process
from infra.embedded.jars import class_path
from topics.errors import Unreachable

START_TIMEOUT_S = 60
"""A broker serves after two seconds, an engine after one; a loaded machine may need many times that."""

POLL_S = 0.05


@dataclass
class BrokerNode:
    """One running broker that a test may kill and start again on the same data."""

    node: kafka.Node
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the broker; `KafkaCluster.wait` tells when it serves."""
        self.process = process.start(self.command, self.log, os.environ)

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class KafkaCluster:
    """Running brokers; `bootstrap` is for clients."""

    bootstrap: str
    nodes: list[BrokerNode] = field(default_factory=list)

    def wait(self) -> None:
        """Returns when every node serves and knows all the others."""
        for each in self.nodes:
            until(partial(_serves, each, len(self.nodes)), f"the Kafka node on port {each.node.port}", each.log)


@dataclass
class EngineServer:
    """A running engine; `url` is for clickhouse-connect (host and port for those who want them apart)."""

    url: str
    host: str
    port: int
    directory: Path
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def kafka_broker(
    directory: Path,
    *,
    brokers: int = 1,
    advertised_ports: Mapping[int, int] | None = None,
    properties: Mapping[str, str | int] | None = None,
    heap: str = kafka.HEAP,
) -> Iterator[KafkaCluster]:
    """A Kafka cluster of 1 or 3 brokers under `directory`; a second block on the same directory finds the same data.

    `advertised_ports` (node id → port) puts a proxy in front; `properties` overrides any server property. No topics are made.
    """
    home = directory / "kafka"
    java_class_path = class_path()
    names = [f"{name}-{number}" for number in range(1, brokers + 1) for name in ("kafka", "controller")]
    chosen = ports.choose(names, {})
    nodes = tuple(
        kafka.Node(
            number,
            chosen[f"kafka-{number}"],
            chosen[f"controller-{number}"],
            home / f"node-{number}" / "data",
            (advertised_ports or {}).get(number),
        )
        for number in range(1, brokers + 1)
    )
    cluster = kafka.Cluster(kafka_node.known_cluster_id(home), nodes)
    running = KafkaCluster(cluster.bootstrap)
    with ExitStack() as ending:
        for node in nodes:
            command = kafka_node.command(home, cluster, node, java_class_path, home, properties, heap)
            running.nodes.append(BrokerNode(node, command, home / f"node-{node.node_id}.log"))
        for each in running.nodes:
            ending.callback(each.kill)
            each.start()
        running.wait()
        yield running


@contextmanager
def engine_server(directory: Path, *, port: int | None = None) -> Iterator[EngineServer]:
    """ClickHouse's engine behind HTTP over `directory`/clickhouse; ends cleanly, so that another block can open the same directory."""
    data = directory / "clickhouse"
    log = directory / "clickhouse.log"
    own_port = port or ports.free_port()
    command = [sys.executable, "-m", "infra.embedded.engine", "--dir", str(data), "--port", str(own_port)]
    child = process.start(command, log, {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        until(lambda: http_probe.answers(ports.HOST, own_port, 1.0), f"the engine on port {own_port}", log, child)
        yield EngineServer(f"http://{ports.HOST}:{own_port}", ports.HOST, own_port, data, log, child)
    finally:
        process.end(child, patience_s=20)


def until(condition: Callable[[], bool], what: str, log: Path, child: subprocess.Popen[bytes] | None = None) -> None:
    """Waits for a condition; an Unreachable with the end of the log when it does not come, or the child ends first."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if (child is not None and child.poll() is not None) or time.monotonic() > deadline_s:
            raise Unreachable(f"{what} did not start:\n{process.tail(log, 20)}")
        time.sleep(POLL_S)


def unique(prefix: str) -> str:
    """A name that no other test uses, so that tests can share a broker or an engine."""
    return f"{prefix}-{secrets.token_hex(4)}"


def _serves(each: BrokerNode, brokers: int) -> bool:
    """Whether a node answers and sees the whole cluster; raises when its process ended."""
    if each.process is not None and each.process.poll() is not None:
        raise Unreachable(f"Kafka ended:\n{process.tail(each.log, 20)}")
    return kafka_probe.brokers_alive(ports.HOST, each.node.port, 1.0) >= brokers
