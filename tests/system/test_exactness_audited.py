"""The audit of the stack that all tests of this folder have used so far: killed, frozen, fed with everything bad."""

from __future__ import annotations

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
