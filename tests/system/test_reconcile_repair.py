"""`tidemark reconcile --repair` on the whole stack: a dry run changes nothing, `--apply` goes through the log, and then nothing is found."""

from __future__ import annotations

import time
from typing import Any

import clickhouse_connect
import pytest

from tests.system.conftest import NAMED
from tests.system.traffic import event, rfc3339
from tests.system.world import World

pytestmark = pytest.mark.system
METER = "tokens"
ONLY = ("--customer", NAMED, "--meter", METER)


def kinds(world: World) -> list[str]:
    """What is found of the meter."""
    found: dict[str, Any] = world.command.json("reconcile", *ONLY, expect=None)
    return sorted(drift["kind"] for drift in found["drifts"])


def alter(world: World, statement: str) -> None:
    """A statement by somebody who may write to the archive."""
    with clickhouse_connect.get_client(dsn=f"{world.state.clickhouse_url}/tidemark") as client:
        client.command(f"{statement} SETTINGS mutations_sync = 1")


def test_drift_at_stripe_and_in_the_archive_is_repaired_through_the_log(world: World) -> None:
    """A cell set to 0 by hand and a raw row that was deleted are named; a dry run leaves them, `--apply` puts all back as it was."""
    now_s = int(time.time())
    marks = [f"repair-{now_s}-{number}" for number in range(3)]
    lines = [event(NAMED, mark, "llm.request", '{"tokens": 731}', rfc3339(now_s - 4000 - 3600 * at)) for at, mark in enumerate(marks)]
    world.command.run("send", "events", "-", stdin="\n".join(line.decode() for line in lines) + "\n")
    world.command.run("settle", "--close")
    assert kinds(world) == []
    item = world.bindings[NAMED].items[METER]
    before = world.provider.cells(item)
    second = max(before)
    with world.provider.sound():
        world.provider.post(f"/v1/subscription_items/{item}/usage_records", quantity=0, timestamp=second, action="set")
    alter(world, f"ALTER TABLE raw_events DELETE WHERE event_id = '{marks[0]}'")
    assert kinds(world) == ["lost_report", "raw_event"]

    said = world.command.json("reconcile", "--repair", *ONLY, expect=1)
    assert said["applied"] is False and sorted(each["kind"] for each in said["proposals"]) == ["lost_report", "raw_event"]
    assert next(each for each in said["proposals"] if each["kind"] == "lost_report")["units"] == str(before[second])
    assert world.provider.cells(item)[second] == 0 and kinds(world) == ["lost_report", "raw_event"]
    assert "--reason" in world.command.run("reconcile", "--repair", "--apply", *ONLY, expect=2).stderr

    done = world.command.json("reconcile", "--repair", "--apply", "--reason", "set to 0 by hand, ticket 12", *ONLY)
    assert done["applied"] is True and all(step["done"] for step in done["steps"])
    world.command.run("settle")
    assert kinds(world) == []
    assert world.provider.cells(item) == before
