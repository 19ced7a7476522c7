"""Which stack or servers a command speaks to: `--dir D` (else TIDEMARK_DIR), `--config F` (else TIDEMARK_CONFIG, else `up`'s file)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from topics.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from infra.settings import Settings

STATE_FILE: Final = "stack.json"
DEFAULT_DIR: Final = Path(".tidemark")
"""Where `up` keeps its data when nobody names a place; the other verbs look there when nobody names anything."""


@dataclass(frozen=True)
class Target:
    """What a command speaks to: settings that already point at it, and the stack's state where it is an embedded one."""

    settings: Settings
    directory: Path | None = None
    state: Mapping[str, Any] | None = None

    @property
    def processes(self) -> list[dict[str, Any]]:
        """The processes of the embedded stack, or the workers that the settings name."""
        if self.state is not None:
            return [dict(process) for process in self.state["processes"]]
        workers = self.settings.status.workers
        return [{"name": url, "pid": None, "state": "running", "restarts": 0, "http": url.rstrip("/")} for url in workers]


def directory_of(option: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The directory that was named, by option or environment."""
    if option is not None:
        return option
    return Path(environment["TIDEMARK_DIR"]) if environment.get("TIDEMARK_DIR") else None


def resolve(
    dir_option: Path | None = None, config_option: Path | None = None, environment: Mapping[str, str] | None = None, *, stack: bool = True
) -> Target:
    """The target of a command. Raises UsageError, ConfigurationFault, or Unreachable where the named stack is not up.

    `stack` False: only the configuration is wanted (`check`, `init`), a stack need not run.
    """
    from infra.settings import DEFAULT_FILE, load_settings

    environment = os.environ if environment is None else environment
    named = directory_of(dir_option, environment)
    config = config_option or (Path(environment["TIDEMARK_CONFIG"]) if environment.get("TIDEMARK_CONFIG") else None)
    directory = named if named is not None or config is not None else _default_directory()
    if directory is None:
        if config is None and Path(DEFAULT_FILE).exists():
            config = Path(DEFAULT_FILE)
        return Target(load_settings(config, environment))
    state = read_state(directory)
    if state is None:
        if stack:
            raise Unreachable(f"there is no stack in {directory}; start one with `tidemark up --dir {directory}`")
        own = directory / DEFAULT_FILE
        return Target(load_settings(config or (own if own.exists() else None), environment), directory)
    if stack and not _is_supervised(directory):
        raise Unreachable(f"the stack in {directory} does not run: its supervisor was killed; `tidemark up --dir {directory}` goes on where it was")
    settings = load_settings(config or _config_of(state), environment, stack_tree(state))
    return Target(settings, directory, state)


def _default_directory() -> Path | None:
    return DEFAULT_DIR if (DEFAULT_DIR / STATE_FILE).exists() else None


def _is_supervised(directory: Path) -> bool:
    from infra.embedded.layout import Layout
    from infra.embedded.locking import holder

    return holder(Layout(directory.expanduser().absolute())) is not None


def _config_of(state: Mapping[str, Any]) -> Path | None:
    return Path(state["config"]) if state.get("config") else None


def read_state(directory: Path) -> Mapping[str, Any] | None:
    """A stack's state file as JSON; None where there is none. Raises UsageError where another user owns it."""
    from infra.embedded.state import read_state as read

    try:
        found = read(directory)
    except PermissionError:
        raise UsageError(f"{directory / STATE_FILE} belongs to another user; run as the one who started the stack") from None
    return None if found is None else found.document()


def stack_tree(state: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a running stack dictates, as tables of the file: its addresses, as many copies as it has brokers (to three), no password."""
    copies = min(3, (state.get("kafka") or {}).get("bootstrap", "").count(",") + 1)
    tree: dict[str, Any] = {
        "kafka": {"replication": copies, "min_insync": max(1, copies - 1)},
        "clickhouse": {"user": "default", "database": "tidemark"},
        "stripe": {},
    }
    if state.get("kafka"):
        tree["kafka"]["bootstrap"] = state["kafka"]["bootstrap"]
    if state.get("clickhouse"):
        tree["clickhouse"]["url"] = state["clickhouse"]["url"]
    for name in ("api_base", "api_key"):
        if (state.get("stripe") or {}).get(name):
            tree["stripe"][name] = state["stripe"][name]
    return tree
