"""All of Kafka's data is deleted under a stack that has counted, delivered and archived; `tidemark restore` builds it again from ClickHouse."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.embedded.layout import Layout
from tests.system.conftest import NAMED, guarded, take_down
from tests.system.traffic import Message, usage
from tests.system.world import World

pytestmark = pytest.mark.system

REPORTS = "usage_records"
METERS = ("api_calls", "tokens", "pings")
OTHERS = ("acme-2", "acme-3", "acme-4", "acme-5")
"""Customers on several partitions whom nobody bills yet: their windows are parked whole."""


@pytest.fixture
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack that nobody else uses: its Kafka is going to be lost."""
    made = World(tmp_path_factory.mktemp("restore") / "stack")
    with guarded(made.directory):
        try:
            made.up()
            made.bind(NAMED, METERS, int(time.time()) - 7200, kind="named")
            made.apply()
            yield made
        finally:
            take_down(made)


def totals(world: World) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Every window as analysts see it."""
    rows = world.rows("SELECT customer, meter, window_start AS s, toString(quantity) AS q, events, hash FROM window_totals")
    return {(row["customer"], row["meter"], row["s"]): (row["q"], row["events"], row["hash"]) for row in rows}


def calls(world: World) -> int:
    """How many calls the sandbox answered that set usage, whatever it said."""
    said = world.provider.control("calls")["by_endpoint"]
    return sum(sum(counts.values()) for name, counts in said.items() if name.startswith(REPORTS))


def attempts(world: World) -> int:
    """How many attempts to set a cell the receipts name; each is one call, where nothing is sent twice."""
    rows = world.rows("SELECT uniqExact(cell, revision, attempt) AS n FROM deliveries WHERE kind = 'cell' AND idempotency_key != ''")
    return int(rows[0]["n"])


def fates(old: list[Message], new: list[Message]) -> tuple[int, int]:
    """(counted, duplicate) of what is sent after the restore: every id of the first sending is known."""
    ids = {json.loads(message.value)["id"] for message in new}
    return len(ids), len(old) + len(new) - len(ids)


def test_a_lost_kafka_is_built_again_from_the_archive(own_world: World) -> None:
    """When all of Kafka's data is gone, every total is the same again, nothing is delivered twice, old events are duplicates and new ones count."""
    world, command = own_world, own_world.command
    everyone, now_s = (NAMED, *OTHERS), time.time()
    first = list(usage(world.rng, "first", everyone, 600, now_s))
    world.send(first)
    world.apply()
    command.json("settle", "--close", "--timeout", "240")
    before, told, items = totals(world), calls(world), world.bindings[NAMED].items
    assert told == attempts(world)
    cells = {meter: world.provider.cells(item) for meter, item in items.items()}
    assert any(cells.values())
    command.run("down")
    shutil.rmtree(Layout(world.directory).kafka)

    refused = command.run("up", "--detach", "--config", str(world.config), "--workers", "2", expect=1)
    assert "tidemark restore" in refused.stderr
    dry = command.json("restore", expect=1)
    assert {line["condition"] for line in dry} == {"lost"}
    assert sum(line["windows"] for line in dry) >= len(before)
    assert totals(world) == before

    done = command.json("restore", "--yes")
    assert all(line["done"] and line["generation"] == 1 for line in done)
    assert all(line["lost_windows"] == [] for line in done)
    command.run("settle", "--close", "--timeout", "240")
    assert totals(world) == before
    assert calls(world) == told
    assert {meter: world.provider.cells(item) for meter, item in items.items()} == cells
    assert {line["condition"] for line in command.json("restore")} <= {"restored", "there"}

    new = list(usage(world.rng, "second", everyone, 150, time.time()))
    world.send([*first[:200], *new])
    world.apply()
    command.json("settle", "--close", "--timeout", "240")
    status = command.json("status")["partitions"]
    assert (sum(line["counted"] for line in status), sum(line["duplicate"] for line in status)) == fates(first[:200], new)
    assert all(line["residual"] == 0 and line["archived_offset"] == line["end_offset"] for line in status)
    recount = world.rows("SELECT customer, meter, window_start AS s, toString(quantity) AS q, events, hash FROM window_recount")
    assert {(row["customer"], row["meter"], row["s"]): (row["q"], row["events"], row["hash"]) for row in recount} == totals(world)
    assert calls(world) == attempts(world) > told
    for meter, item in items.items():
        of_it = f"FROM coverage WHERE customer = '{NAMED}' AND meter = '{meter}' AND state = 'delivered'"
        (sums,) = world.rows(f"SELECT toString(sum(counted)) AS counted, toString(sum(delivered)) AS delivered {of_it}")
        assert str(sum(world.provider.cells(item).values())) == sums["delivered"] == sums["counted"], meter
    day = ("--from", "2020-01-01", "--to", "2100-01-01")
    replayed = command.json("replay", *day)
    assert (sum(part["equal"] for part in replayed["partitions"]), replayed["windows"]) == (len(totals(world)), [])
    assert [part["upto"] for part in replayed["partitions"]] == [line["next_offset"] for line in status]
    of_one = command.json("replay", *day, "--customer", NAMED)["partitions"]
    assert [part["equal"] for part in of_one] == [sum(customer == NAMED for customer, _, _ in totals(world))]
    audit = command.json("audit", expect=None)
    assert audit["differences"] == []

