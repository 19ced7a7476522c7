"""What `stack.json` says: addresses and processes of a stack that is up, or was when its supervisor was killed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.embedded.files import DamagedFile, read_document, write_atomically
from infra.embedded.layout import Layout
from topics.errors import TidemarkError

VERSION = 1


@dataclass(frozen=True)
class ProcessState:
    """One process: `state` is starting, running, restarting, stopped or halted; `http` its address if it is a worker.

    `detail` is a sentence where there is something to say: a crash loop, why it was killed, what it said when it halted.
    """

    name: str
    pid: int | None
    state: str
    restarts: int
    http: str | None
    detail: str | None = None


@dataclass(frozen=True)
class StackState:
    """One embedded stack. The key is that of the stack's own sandbox; it opens nothing else."""

    supervisor_pid: int
    config: Path | None
    bootstrap: str
    clickhouse_url: str
    stripe_api_base: str
    stripe_api_key: str = field(repr=False)
    processes: tuple[ProcessState, ...] = ()

    def process(self, name: str) -> ProcessState:
        """The process of that name; a TidemarkError where the stack has none."""
        for each in self.processes:
            if each.name == name:
                return each
        raise TidemarkError(f"this stack has no process {name}: it has {', '.join(each.name for each in self.processes)}")

    def document(self) -> dict[str, Any]:
        """The JSON document of `stack.json`, whose shape scripts rely on."""
        return {
            "version": VERSION,
            "embedded": True,
            "supervisor_pid": self.supervisor_pid,
            "config": str(self.config) if self.config else None,
            "kafka": {"bootstrap": self.bootstrap},
            "stripe": {"api_base": self.stripe_api_base, "api_key": self.stripe_api_key},
            "clickhouse": {"url": self.clickhouse_url},
            "processes": [
                {
                    "name": each.name,
                    "pid": each.pid,
                    "state": each.state,
                    "restarts": each.restarts,
                    "http": each.http,
                    "detail": each.detail,
                }
                for each in self.processes
            ],
        }


def write_state(layout: Layout, state: StackState) -> None:
    """Replaces `stack.json`; only its owner may read it."""
    write_atomically(layout.state, json.dumps(state.document(), indent=1) + "\n", mode=0o600)


def read_state(directory: Path) -> StackState | None:
    """The state of the stack in a directory, or None where none is up (or was, when its supervisor was killed)."""
    path = Layout(Path(directory)).state
    found = read_document(path)
    if found is None:
        return None
    if found.get("version") != VERSION:
        raise TidemarkError(f"{path} was written by another version of Tidemark: take the stack down with the one that started it")
    try:
        return StackState(
            supervisor_pid=int(found["supervisor_pid"]),
            config=Path(found["config"]) if found["config"] else None,
            bootstrap=found["kafka"]["bootstrap"],
            clickhouse_url=found["clickhouse"]["url"],
            stripe_api_base=found["stripe"]["api_base"],
            stripe_api_key=found["stripe"]["api_key"],
            processes=tuple(ProcessState(**each) for each in found["processes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, f"{type(error).__name__}: {error}") from None
