"""Which processes a stack under fire consists of: brokers that only a proxy leads to, and more workers than usually run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from infra.embedded import kafka, kafka_node, plan
from infra.embedded.jars import class_path
from infra.embedded.layout import Layout
from infra.embedded.options import Options, sandbox_key, stack_ports
from infra.embedded.plan import Plan, Probe, Spec
from infra.embedded.ports import HOST

ONE, THREE = "tests.chaos.plan:one_broker", "tests.chaos.plan:three_brokers"

METERS, REPORTS, ARCHIVES = ("meter-0", "meter-1", "meter-2"), ("report", "report-1"), ("archive", "archive-1")
WORKERS = (*METERS, *REPORTS, *ARCHIVES)

HASTY = ("meter-1", "report-1", "archive-1")
"""Workers whose consumer may be silent for HASTY_POLL_S only, so that a freeze outlasts it: such a worker never rejoins by itself (H37)."""
HASTY_POLL_S = 8.0

HEAPS = {1: "384m", 3: "224m"}
"""By number of brokers: three fit beside their neighbours on a small machine."""

FIRST_TIER = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""A broker that lives for a minute never earns back what the second compiler costs; one thread of collection is enough for its heap."""


def one_broker(layout: Layout, options: Options) -> Plan:
    """A single broker, replication 1."""
    return _planned(layout, options, 1)


def three_brokers(layout: Layout, options: Options) -> Plan:
    """Three brokers, replication 3, two in sync."""
    return _planned(layout, options, 3)


def broker_names(brokers: int) -> tuple[str, ...]:
    """The brokers of a stack."""
    return ("kafka",) if brokers == 1 else tuple(f"kafka-{number}" for number in range(1, brokers + 1))


def _planned(layout: Layout, options: Options, brokers: int) -> Plan:
    """The standard servers and workers, with so many brokers, each reached by clients through the proxy."""
    names = broker_names(brokers)
    sides = [f"{name}-{side}" for name in names for side in ("inner", "controller", "proxied")]
    ports = stack_ports(layout, (*names, *sides, "proxy", "clickhouse", "sandbox", *WORKERS))
    key = sandbox_key(layout)
    nodes = tuple(
        kafka.Node(number, ports[name], ports[f"{name}-controller"], layout.kafka / f"node-{number}" / "data", ports[f"{name}-proxied"])
        for number, name in enumerate(names, 1)
    )
    cluster = kafka.Cluster(kafka_node.known_cluster_id(layout.kafka), nodes)
    clickhouse_url, api_base = f"http://{HOST}:{ports['clickhouse']}", f"http://{HOST}:{ports['sandbox']}"
    links = [f"{name}={ports[f'{name}-proxied']}:{ports[name]}" for name in names]
    common = plan.worker_environment(options, cluster.bootstrap, clickhouse_url, api_base, key)
    return Plan(
        servers=(
            Spec(
                "proxy",
                (sys.executable, "-m", "tests.chaos.proxy", "--control", str(ports["proxy"]), *links),
                plan.plain_environment(),
                Probe("http", ports["proxy"], live="/live", ready="/live"),
                http=f"http://{HOST}:{ports['proxy']}",
            ),
            *(_broker(layout, cluster, node, name, ports[f"{name}-inner"]) for name, node in zip(names, nodes, strict=True)),
            Spec(
                "clickhouse",
                (sys.executable, "-m", "infra.embedded.engine", "--dir", str(layout.clickhouse), "--port", str(ports["clickhouse"])),
                plan.plain_environment(),
                Probe("http", ports["clickhouse"], live="/ping", ready="/ping"),
            ),
            Spec(
                "sandbox",
                (sys.executable, "-m", "infra.sandbox", "--host", HOST, "--port", str(ports["sandbox"]), "--state", str(layout.sandbox)),
                {**plan.plain_environment(), "STRIPE_API_KEY": key},
                Probe("http", ports["sandbox"], live="/healthz", ready="/healthz"),
            ),
        ),
        workers=tuple(_worker(layout, name, ports[name], common) for name in WORKERS),
        prepare=(sys.executable, "-m", "infra.embedded.prepare", str(layout.root)),
        prepare_environment=common,
        bootstrap=cluster.bootstrap,
        clickhouse_url=clickhouse_url,
        stripe_api_base=api_base,
        stripe_api_key=key,
    )


def _broker(layout: Layout, cluster: kafka.Cluster, node: kafka.Node, name: str, inner_port: int) -> Spec:
    """One broker: clients are told the proxy's port, the other brokers (and its own transaction markers) take a listener of their own."""
    brokers = len(cluster.nodes)
    outer = f"PLAINTEXT://{HOST}:{node.advertised_port}"
    extra: dict[str, str | int] = {
        "listeners": f"PLAINTEXT://{HOST}:{node.port},INNER://{HOST}:{inner_port},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"{outer},INNER://{HOST}:{inner_port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT",
        "inter.broker.listener.name": "INNER",
    }
    java, *rest = kafka_node.command(layout.kafka, cluster, node, class_path(), layout.logs, extra, HEAPS[brokers])
    options = [each for each in rest if each not in {"-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"}]
    return Spec(name, (java, *FIRST_TIER, *options), plan.plain_environment(), Probe("kafka", node.port))


def _worker(layout: Layout, name: str, port: int, common: Mapping[str, str]) -> Spec:
    """The product's worker; a hasty one gets its shorter patience from a module of ours, everything else of it is the product's."""
    spec = plan.worker_spec(layout, name, port, common)
    if name not in HASTY:
        return spec
    kind = name.split("-", maxsplit=1)[0]
    return replace(spec, command=(sys.executable, "-m", "tests.chaos.hasty", kind, str(HASTY_POLL_S)))
