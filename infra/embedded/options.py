"""What a stack was asked for, remembered in its directory: a second `up` without arguments continues where it was."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from infra.embedded import ports
from infra.embedded.files import DamagedFile, read_document, write_atomically
from infra.embedded.layout import Layout

STANDARD_PLAN = "infra.embedded.plan:standard"


@dataclass(frozen=True)
class Options:
    """`config` is the absolute path of the toml, or None for the defaults; `workers` is the number of meter processes.

    `sandbox_arguments` go to the sandbox's command line (faults by seed, calls a second). `plan` is the import path of the function
    that says which processes there are; tests put stand-ins there. `policy` changes the supervisor's patience (supervision.Policy).
    `idle` are workers of the plan that shall not run for now.
    """

    config: str | None = None
    workers: int = 2
    sandbox_arguments: tuple[str, ...] = ()
    plan: str = STANDARD_PLAN
    policy: dict[str, float] = field(default_factory=dict)
    idle: tuple[str, ...] = ()


def load(layout: Layout) -> Options:
    """The remembered options, or the defaults in a fresh directory."""
    found = read_document(layout.options)
    if found is None:
        return Options()
    try:
        return replace(Options(**found), sandbox_arguments=tuple(found["sandbox_arguments"]), idle=tuple(found.get("idle", ())))
    except (KeyError, TypeError) as error:
        raise DamagedFile(layout.options, f"{type(error).__name__}: {error}") from None


def save(layout: Layout, options: Options) -> None:
    """Remembers the options for this start and the next."""
    write_atomically(layout.options, json.dumps(asdict(options), indent=1) + "\n")


def sandbox_key(layout: Layout) -> str:
    """The key of this stack's sandbox: made at the first start, the same ever after, readable by its owner only."""
    return _secret(layout, "stripe_api_key", "sk_test_", "it holds no key")


def webhook_secret(layout: Layout) -> str:
    """What the sandbox signs its webhooks with and the receiver knows them by; kept as the key is."""
    sandbox_key(layout)
    return _secret(layout, "stripe_webhook_secret", "whsec_", "it holds no signing secret")


def _secret(layout: Layout, name: str, prefix: str, damage: str) -> str:
    """One secret of the stack. Only the first is made with the file: a file without it was written by an older program, or is damaged."""
    found = read_document(layout.secrets)
    if found is None or (name not in found and "stripe_api_key" in found):
        found = {**(found or {}), name: prefix + secrets.token_hex(16)}
        write_atomically(layout.secrets, json.dumps(found) + "\n", mode=0o600)
    if not isinstance(found.get(name), str):
        raise DamagedFile(layout.secrets, damage)
    return str(found[name])


def stack_ports(layout: Layout, names: Iterable[str]) -> dict[str, int]:
    """A port for every name: those of the last start where they are free; remembered for the next."""
    remembered = _remembered_ports(layout)
    chosen = ports.choose(names, remembered)
    write_atomically(layout.ports, json.dumps({**remembered, **chosen}, indent=1) + "\n")
    return chosen


def request_ports(layout: Layout, requested: dict[str, int]) -> None:
    """Makes named ports the remembered ones; PortTaken where one is in use now."""
    if requested:
        chosen = ports.choose(requested, {}, requested)
        remembered = _remembered_ports(layout)
        write_atomically(layout.ports, json.dumps({**remembered, **chosen}, indent=1) + "\n")


def _remembered_ports(layout: Layout) -> dict[str, int]:
    found = read_document(layout.ports) or {}
    if not all(type(port) is int and 0 < port < 65_536 for port in found.values()):
        raise DamagedFile(layout.ports, "it holds something else than ports")
    return found


def port_names(workers: Iterable[str]) -> tuple[str, ...]:
    """The names that ports are chosen for: the servers', and one a worker."""
    return ("kafka", "kafka-controller", "clickhouse", "sandbox", "webhooks", "reconcile", *workers)


def absolute(config: Path | None) -> str | None:
    """A configuration's path as it is remembered: independent of where the next `up` is typed."""
    return str(Path(config).expanduser().absolute()) if config is not None else None
