"""The audit of the stack that all tests of this folder have used so far: killed, frozen, fed with everything bad."""

from __future__ import annotations

from urllib.request import urlopen

import pytest

from tests.system.world import World

pytestmark = pytest.mark.system


def test_after_everything_every_number_is_the_same(world: World) -> None:
    """Whatever the tests before have sent and killed: the recount agrees with table, totals, definitions and ClickHouse, and nothing is left out."""
    world.command.run("settle")
    found = world.command.json("audit", expect=None)
    assert (found["differences"], found["unchecked"]) == ([], [])
    assert all(line["recounted"] == line["table"] for line in found["partitions"])
    assert sum(line["checked"]["windows"] for line in found["partitions"]) > 0


def test_after_everything_no_number_drifts(world: World) -> None:
    """From the raw events to what the sandbox holds every number is the same, every window is in one state, and none is missing on its way."""
    # What producers sent under one id twice is theirs, and is listed.
    found = world.command.json("reconcile", expect=None)
    assert [drift["sentence"] for drift in found["drifts"] if drift["kind"] not in {"old_duplicate", "conflicting_body"}] == []
    assert (found["unchecked"], found["coverage"]["gaps"]) == ([], [])
    assert sum(found["coverage"]["states"].values()) == found["checked"]["windows"] > 0
    assert found["checked"]["totals"] > 0


def test_the_stack_reconciles_by_itself(world: World) -> None:
    """The process `reconcile` of every stack is live, ready and has metrics; what no run has said yet is absent."""
    http = world.state.process("reconcile").http
    assert {path: urlopen(f"{http}/{path}", timeout=10).status for path in ("live", "ready", "status")} == {"live": 200, "ready": 200, "status": 200}
    text = urlopen(f"{http}/metrics", timeout=10).read().decode()
    assert "tidemark_ready 1.0" in text
    assert 'tidemark_reconcile_runs_total{result="failed"}' in text
