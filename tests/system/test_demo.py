"""`make demo`, as it is run: kills, and every number the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.embedded import stack
from tests.system.cli import Command

pytestmark = pytest.mark.system


@pytest.mark.slow
def test_the_demo_convinces(tmp_path: Path) -> None:
    """The demo kills meter, report, archive and Kafka while events flow, ends with drift 0, and leaves nothing running."""
    directory = tmp_path / "demo"
    found = Command(directory).json("demo", "--dir", str(directory))
    assert found["drift"] == "0"
    assert found["faults"] == []
    assert {kill["name"] for kill in found["kills"]} >= {"meter-0", "report", "archive", "kafka"}
    assert all(line["drift"] == "0" and line["sent"] == line["stripe"] == line["raw"] for line in found["customers"])
    verdicts = {fate: sum(line[fate] for line in found["status"]["partitions"]) for fate in ("counted", "duplicate", "rejected", "rerouted")}
    assert all(verdicts.values())
    assert not stack.running(directory)
    assert not any(Path(f"/proc/{process['pid']}").exists() for process in found["status"]["processes"] if os.name == "posix")
