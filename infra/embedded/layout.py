"""Where everything of a stack lies under its one directory. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The data directory of one stack."""

    root: Path

    @property
    def state(self) -> Path:
        """What runs now and where: read by every verb; not there while the stack is down. Holds the sandbox's key: mode 0600."""
        return self.root / "stack.json"

    @property
    def options(self) -> Path:
        """What `up` was asked for last, so that the next `up` need not be told again."""
        return self.root / "options.json"

    @property
    def ports(self) -> Path:
        """The ports chosen at the first start."""
        return self.root / "ports.json"

    @property
    def secrets(self) -> Path:
        """The sandbox's key and the signing secret of its webhooks: mode 0600."""
        return self.root / "secrets.json"

    @property
    def run(self) -> Path:
        """Which processes run: pid files, and the lock of the supervisor."""
        return self.root / "run"

    @property
    def lock(self) -> Path:
        """Locked by the supervisor while it lives; its text is the supervisor's pid."""
        return self.run / "supervisor.lock"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.root / "logs"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    @property
    def kafka(self) -> Path:
        """Brokers' data and properties."""
        return self.root / "kafka"

    @property
    def clickhouse(self) -> Path:
        """The engine's data."""
        return self.root / "clickhouse"

    @property
    def sandbox(self) -> Path:
        """The Stripe sandbox's state."""
        return self.root / "sandbox"

    def worker(self, name: str) -> Path:
        """A worker's private scratch directory."""
        return self.root / "workers" / name
