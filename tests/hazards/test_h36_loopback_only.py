"""H36: Faust's web server listens on every interface, shows tables, and three workers want its one port.

With whole stacks: `tests/system/test_two_stacks.py` runs two side by side and looks at their listening sockets.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.embedded import kafka, ports
from infra.embedded.layout import Layout
from infra.embedded.plan import worker_names, worker_spec
from infra.http import WorkerHttp
from infra.settings import load_settings
from tests.hazards.apps import built_app
from tests.hazards.fold import clean


class Blank:
    """A worker's face with nothing to show."""

    async def status(self) -> Mapping[str, Any]:
        """See `Face`."""
        return {}

    def unready(self) -> str | None:
        """See `Face`."""
        return None

    def exposition(self) -> bytes:
        """See `Face`."""
        return b""


def _elsewhere(addresses: list[str]) -> list[str]:
    """Addresses that somebody else than this machine can reach."""
    hosts = [address.rpartition("//")[2].rpartition(":")[0] for address in addresses]
    return [f"{address} is open to others" for address, host in zip(addresses, hosts, strict=True) if not ip_address(host).is_loopback]


def _planned(root: Path, workers: int) -> list[str]:
    """The addresses of one stack, as its plan says them."""
    names = worker_names(workers)
    chosen = ports.choose([*names, "kafka", "controller"], {})
    specs = [worker_spec(Layout(root), name, chosen[name], {}) for name in names]
    node = kafka.Node(1, chosen["kafka"], chosen["controller"], root / "kafka")
    listeners = kafka.properties(kafka.Cluster("id", (node,)), node)["listeners"].split(",")
    return [spec.environment["TIDEMARK_WORKER__HTTP"] for spec in specs] + [listener.partition("//")[2] for listener in listeners]


async def _listening(addresses: list[str]) -> list[str]:
    """What this process really listens on while workers' faces are up: those of the plan, and two with the settings' own default."""
    before = _sockets()
    default = load_settings(None, {}).worker.http
    servers = [WorkerHttp(Blank(), address) for address in [*addresses, default, default]]
    for server in servers:
        await server.start()
    opened = sorted(_sockets() - before)
    for server in servers:
        await server.stop()
    return opened if len(opened) == len(servers) else [*opened, f"0.0.0.0:{len(servers) - len(opened)} missing"]


def _sockets() -> set[str]:
    found = psutil.Process(os.getpid()).net_connections(kind="tcp")
    return {f"{each.laddr.ip}:{each.laddr.port}" for each in found if each.status == psutil.CONN_LISTEN}


async def _shown() -> list[str]:
    return ["Faust shows its tables on every interface"] if built_app().conf.web_enabled else []


def seeded(seed: int) -> list[str]:
    """Two stacks side by side: all of their addresses are loopback's and no two are the same, and so are the sockets that workers open."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        stacks = [_planned(Path(folder) / name, rng.randrange(1, 4)) for name in ("one", "two")]
    planned = [address for stack in stacks for address in stack]
    faults = [] if len(set(planned)) == len(planned) else ["two stacks chose one port"]
    opened = asyncio.run(_listening([f"{ports.HOST}:0", f"{ports.HOST}:0"]))
    return faults + _elsewhere(planned) + _elsewhere(opened) + asyncio.run(_shown())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_h36_workers_listen_on_loopback_only() -> None:
    """Everything that two embedded stacks and their workers listen on is this machine's own, on ports of their own, and Faust serves nothing."""
    assert not clean(seeded, 5)
