"""Plans of stacks for tests: stand-ins for the workers, and for the servers too where the test is about the supervisor alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from infra.embedded import plan
from infra.embedded.layout import Layout
from infra.embedded.options import Options, sandbox_key, stack_ports
from infra.embedded.plan import Plan, Probe, Spec
from infra.embedded.ports import HOST

SCRIPT = Path(__file__).with_name("stand_in.py")

ALL_STAND_INS = "tests.system.stand_ins:all_stand_ins"
REAL_SERVERS = "tests.system.stand_ins:real_servers"

WORKERS = ("meter-0", "meter-1")


def home(directory: Path, name: str) -> Path:
    """Where a stand-in reads how to behave."""
    return Layout(directory).worker(name)


def all_stand_ins(layout: Layout, options: Options) -> Plan:
    """A stack without Kafka, engine or sandbox: a server stand-in and the workers."""
    ports = stack_ports(layout, ["server", *WORKERS])
    return Plan(
        servers=(_spec(layout, "server", ports["server"], is_worker=False),),
        workers=tuple(_spec(layout, name, ports[name]) for name in WORKERS),
        prepare=(sys.executable, "-c", f"open({str(layout.root / 'prepared')!r}, 'a').write('once\\n')"),
        prepare_environment=plan.plain_environment(),
        bootstrap=f"{HOST}:1",
        clickhouse_url=f"http://{HOST}:1",
        stripe_api_base=f"http://{HOST}:{ports['server']}",
        stripe_api_key=sandbox_key(layout),
    )


def real_servers(layout: Layout, options: Options) -> Plan:
    """Tidemark's own stack with a stand-in for every worker and nothing to prepare."""
    standard = plan.standard(layout, replace(options, workers=1))
    workers = tuple(_spec(layout, each.name, each.probe.port) for each in standard.workers)
    return replace(standard, workers=workers, prepare=None)


def _spec(layout: Layout, name: str, port: int, *, is_worker: bool = True) -> Spec:
    return Spec(
        name,
        (sys.executable, "-S", str(SCRIPT), str(port), str(layout.worker(name))),
        plan.plain_environment(),
        Probe("http", port, status="/status" if is_worker else None),
        is_worker=is_worker,
        http=f"http://{HOST}:{port}" if is_worker else None,
        patience_s=5.0,
    )
