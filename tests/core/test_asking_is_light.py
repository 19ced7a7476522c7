"""What only asks does not wait for what counts: the compiled functions take seconds to load."""

from __future__ import annotations

import subprocess
import sys

import pytest

ASKING = (
    "infra.cli.app", "infra.status", "infra.check", "infra.reading", "infra.explaining.line", "infra.explaining.window", "infra.explaining.amount",
    "infra.explaining.period", "sinks.clickhouse.client", "infra.send", "infra.settle",
)  # fmt: skip
"""What `status`, `check`, `sql`, `explain`, `send` and `settle` load."""


@pytest.mark.parametrize("module", ASKING)
def test_whoever_only_asks_loads_no_compiled_functions(module: str) -> None:
    """A command that a person waits for starts without numba."""
    code = f"import sys, {module}; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
