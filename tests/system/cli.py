"""The command as a user types it: a process of its own, with nothing of our environment that could point it elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GUARD_S = 300
"""No verb may hang for ever: this only ends a test that has failed already."""


@dataclass(frozen=True)
class Command:
    """`tidemark` speaking to the stack in `directory`; `config` is given to the verbs where it is not None."""

    directory: Path
    config: Path | None = None

    def run(self, *arguments: str, expect: int | None = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """One verb; asserts its exit code unless `expect` is None."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEMARK_", "STRIPE_")) or name == "TIDEMARK_CACHE"}
        environment = kept | {"TIDEMARK_DIR": str(self.directory), "PYTHONPATH": str(ROOT)}
        config = () if self.config is None else ("--config", str(self.config))
        done = subprocess.run(
            [sys.executable, "-m", "infra", *arguments, *config],
            cwd=self.directory.parent,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=GUARD_S,
            check=False,
        )
        if expect is not None:
            said = f"tidemark {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
            assert done.returncode == expect, said
        return done

    def json(self, *arguments: str, expect: int | None = 0) -> Any:
        """One verb's answer as JSON; stdout must hold nothing else."""
        return json.loads(self.run(*arguments, "--json", expect=expect).stdout)

    def sql(self, query: str) -> list[dict[str, Any]]:
        """The rows of one query."""
        rows: list[dict[str, Any]] = self.json("sql", query)
        return rows
