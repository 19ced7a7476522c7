"""Which processes a stack consists of, and with which command and environment each is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import cast

from infra.embedded import kafka, kafka_node
from infra.embedded.jars import class_path
from infra.embedded.layout import Layout
from infra.embedded.options import Options, port_names, sandbox_key, stack_ports, webhook_secret
from infra.embedded.ports import HOST

SESSION_TIMEOUT_S = 6
"""The shortest that a broker accepts: what a killed worker's partitions wait for, where its successor has another name."""

WORKER_PATIENCE_S = 20.0
"""From SIGTERM to SIGKILL: a worker flushes, commits and leaves its group in a few seconds; later it hangs on a dead broker."""

SERVER_PATIENCE_S = 20.0
"""A broker closes its segments and the engine its parts in under a second; a loaded disk may need many."""

RECEIVER_PATH = "/stripe"
"""As infra/webhooks/face.py; said again here so that the supervisor need not import an HTTP server."""

PLAIN_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TIDEMARK_CACHE", "XDG_CACHE_HOME")
"""What servers get of our environment. Nobody's provider key is in it, nor options that would change a JVM."""


@dataclass(frozen=True)
class Probe:
    """How a process is asked how it does: `kafka` speaks Kafka's protocol, `http` GETs these paths; `status` only workers have."""

    kind: str
    port: int
    live: str = "/live"
    ready: str = "/ready"
    status: str | None = None


@dataclass(frozen=True)
class Spec:
    """One process: what to run and how to watch it. `http` is shown in the stack's state; the environment may hold the sandbox's key."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    probe: Probe
    is_worker: bool = False
    http: str | None = None
    patience_s: float = SERVER_PATIENCE_S


@dataclass(frozen=True)
class Plan:
    """A whole stack: servers first (all at once), then `prepare` once, then workers; ended the other way round."""

    servers: tuple[Spec, ...]
    workers: tuple[Spec, ...]
    prepare: tuple[str, ...] | None
    prepare_environment: Mapping[str, str] = field(repr=False)
    bootstrap: str
    clickhouse_url: str
    stripe_api_base: str
    stripe_api_key: str = field(repr=False)


def load(layout: Layout, options: Options) -> Plan:
    """The plan that the options name by import path (`module:function`)."""
    module, _, name = options.plan.partition(":")
    return cast("Plan", getattr(import_module(module), name)(layout, options))


def worker_names(meters: int) -> tuple[str, ...]:
    """The workers of a stack; each name is also a static member of its Kafka group, so it is the same after every restart."""
    return (*(f"meter-{number}" for number in range(meters)), "report", "archive")


def standard(layout: Layout, options: Options) -> Plan:
    """Kafka, the engine, the sandbox, the workers of Tidemark, and the receiver that the sandbox tells of what happens."""
    names = worker_names(options.workers)
    ports = stack_ports(layout, port_names(names))
    key, secret = sandbox_key(layout), webhook_secret(layout)
    node = kafka.Node(1, ports["kafka"], ports["kafka-controller"], layout.kafka / "node-1" / "data")
    cluster = kafka.Cluster(kafka_node.known_cluster_id(layout.kafka), (node,))
    clickhouse_url = f"http://{HOST}:{ports['clickhouse']}"
    api_base = f"http://{HOST}:{ports['sandbox']}"
    plain = plain_environment()
    servers = (
        Spec(
            "kafka",
            tuple(kafka_node.command(layout.kafka, cluster, node, class_path(), layout.logs)),
            plain,
            Probe("kafka", node.port),
        ),
        Spec(
            "clickhouse",
            (sys.executable, "-m", "infra.embedded.engine", "--dir", str(layout.clickhouse), "--port", str(ports["clickhouse"])),
            plain,
            Probe("http", ports["clickhouse"], live="/ping", ready="/ping"),
        ),
        Spec(
            "sandbox",
            (
                *(sys.executable, "-m", "infra.sandbox", "--host", HOST, "--port", str(ports["sandbox"]), "--state", str(layout.sandbox)),
                *("--webhooks-to", f"http://{HOST}:{ports['webhooks']}{RECEIVER_PATH}"),
                *options.sandbox_arguments,
            ),
            {**plain, "STRIPE_API_KEY": key, "STRIPE_WEBHOOK_SECRET": secret},
            Probe("http", ports["sandbox"], live="/healthz", ready="/healthz"),
        ),
    )
    common = worker_environment(options, cluster.bootstrap, clickhouse_url, api_base, key)
    beside = (receiver_spec(ports["webhooks"], common, secret), reconcile_spec(ports["reconcile"], common))
    return Plan(
        servers=servers,
        workers=(*(worker_spec(layout, name, ports[name], common) for name in names), *beside),
        prepare=(sys.executable, "-m", "infra.embedded.prepare", str(layout.root)),
        prepare_environment=common,
        bootstrap=cluster.bootstrap,
        clickhouse_url=clickhouse_url,
        stripe_api_base=api_base,
        stripe_api_key=key,
    )


def plain_environment() -> dict[str, str]:
    """The environment of a server: what a program needs to run at all, and where our modules are."""
    return {name: os.environ[name] for name in PLAIN_ENVIRONMENT if name in os.environ} | python_environment()


def python_environment() -> dict[str, str]:
    """What makes our modules importable in a child, however this process found them."""
    root = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]), "PYTHONUNBUFFERED": "1"}


def worker_environment(options: Options, bootstrap: str, clickhouse_url: str, api_base: str, key: str) -> dict[str, str]:
    """What every worker and the preparation get: our own environment, and over it the addresses of this stack.

    An embedded stack always reports to its own sandbox: a real key in the environment is replaced, never used.
    """
    copies = kafka.replicas(bootstrap.count(",") + 1)
    return {
        **os.environ,
        **python_environment(),
        "TIDEMARK_CONFIG": options.config or "",
        "TIDEMARK_EMBEDDED": "1",
        "TIDEMARK_KAFKA__BOOTSTRAP": bootstrap,
        "TIDEMARK_KAFKA__REPLICATION": str(copies),
        "TIDEMARK_KAFKA__MIN_INSYNC": str(max(1, copies - 1)),
        "TIDEMARK_CLICKHOUSE__URL": clickhouse_url,
        "TIDEMARK_CLICKHOUSE__USER": "",
        "TIDEMARK_CLICKHOUSE__PASSWORD": "",
        "TIDEMARK_CLICKHOUSE__DATABASE": "",
        "TIDEMARK_STRIPE__API_BASE": api_base,
        "STRIPE_API_KEY": key,
        "STRIPE_WEBHOOK_SECRET": "",
    }


def worker_spec(layout: Layout, name: str, port: int, common: Mapping[str, str]) -> Spec:
    """One Faust worker."""
    kind = name.split("-", maxsplit=1)[0]
    directory = layout.worker(name)
    return Spec(
        name,
        (sys.executable, "-m", "infra.worker", kind),
        {
            **common,
            "TIDEMARK_WORKER__NAME": name,
            "TIDEMARK_WORKER__HTTP": f"{HOST}:{port}",
            "TIDEMARK_WORKER__DIR": str(directory),
            "TIDEMARK_WORKER__SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
        },
        Probe("http", port, status="/status"),
        is_worker=True,
        http=f"http://{HOST}:{port}",
        patience_s=WORKER_PATIENCE_S,
    )


def receiver_spec(port: int, common: Mapping[str, str], secret: str) -> Spec:
    """The receiver of webhooks: no Faust worker, but it too needs topics and is ended before Kafka."""
    return Spec(
        "webhooks",
        (sys.executable, "-m", "infra.webhooks"),
        {**common, "STRIPE_WEBHOOK_SECRET": secret, "TIDEMARK_WORKER__NAME": "webhooks", "TIDEMARK_WORKER__HTTP": f"{HOST}:{port}"},
        Probe("http", port, status="/status"),
        is_worker=True,
        http=f"http://{HOST}:{port}",
        patience_s=WORKER_PATIENCE_S,
    )


def reconcile_spec(port: int, common: Mapping[str, str]) -> Spec:
    """The scheduled reconciliation: it only reads, and begins minutes after the stack."""
    return Spec(
        "reconcile",
        (sys.executable, "-m", "infra.reconciling"),
        {**common, "TIDEMARK_WORKER__NAME": "reconcile", "TIDEMARK_WORKER__HTTP": f"{HOST}:{port}"},
        Probe("http", port, status="/status"),
        is_worker=True,
        http=f"http://{HOST}:{port}",
        patience_s=WORKER_PATIENCE_S,
    )
