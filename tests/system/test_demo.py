"""`make demo`, as it is run: kills, every number the same, and a month's invoices that are exact."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.embedded import stack
from tests.system.cli import Command

pytestmark = pytest.mark.system


@pytest.mark.slow
def test_the_demo_convinces(tmp_path: Path) -> None:
    """The demo kills meter, report, archive and Kafka while events flow and a month passes, ends with drift 0, exact invoices and one line of them
    proved from its events, and leaves nothing running."""
    directory = tmp_path / "demo"
    found = Command(directory).json("demo", "--dir", str(directory))
    assert found["drift"] == "0"
    assert found["faults"] == []
    assert {kill["name"] for kill in found["kills"]} >= {"meter-0", "report", "archive", "kafka"}
    assert all(line["drift"] == "0" and line["sent"] == line["stripe"] == line["raw"] for line in found["customers"])
    months = found["months"]
    assert len({month["customer"] for month in months}) == 2
    assert len(months) == 4
    assert all(month["billed"]["units"] == month["used"] > 60 and month["billed"]["status"] == "paid" for month in months)
    explained = found["explained"]
    assert explained["proof"]["holds"]
    assert explained["units"] == explained["delivered_units"] in {month["used"] for month in months}
    assert len(explained["windows"]) > 30
    assert sum(window["events"] for window in explained["windows"]) == explained["events"] >= explained["units"] > 0
    verdicts = {fate: sum(line[fate] for line in found["status"]["partitions"]) for fate in ("counted", "duplicate", "rejected", "rerouted")}
    assert all(verdicts.values())
    assert not stack.running(directory)
    assert not any(Path(f"/proc/{process['pid']}").exists() for process in found["status"]["processes"] if os.name == "posix")
