"""`tidemark adopt`: a usage.events that was deleted and made anew under a running stack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from infra.kafka_io import admin
from tests.system.conftest import NAMED, take_down
from tests.system.world import World

pytestmark = pytest.mark.system


@pytest.fixture
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack that nobody else uses: its log is going to be lost."""
    made = World(tmp_path_factory.mktemp("adopt") / "stack")
    try:
        made.up()
        yield made
    finally:
        take_down(made)


def lines(numbers: range) -> str:
    """API calls of one customer, half an hour ago, with ids by number."""
    at = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
    common = {"specversion": "1.0", "source": "adopt", "type": "api.request", "subject": NAMED, "time": at, "data": {}}
    return "".join(json.dumps(common | {"id": f"call-{number}"}) + "\n" for number in numbers)


async def lose_the_log(bootstrap: str) -> None:
    """Deletes usage.events, as a person with the wrong window open would."""
    async with admin(bootstrap) as client:
        await client.delete_topics(["usage.events"])


def test_a_recreated_log_is_adopted_and_counts_only_what_is_new(own_world: World) -> None:
    """After the topic was deleted and made anew, nothing is counted until `adopt`; then old events are duplicates and new ones count."""
    command = own_world.command
    command.run("send", "events", "-", stdin=lines(range(40)))
    command.run("settle", "--close")
    assert {row["state"] for row in command.json("adopt")} == {"fits"}
    asyncio.run(lose_the_log(own_world.bootstrap))
    command.run("topics", "apply")
    command.run("send", "events", "-", stdin=lines(range(30, 60)))
    assert "to adopt" in {row["state"] for row in command.json("adopt")}
    command.run("settle", "--timeout", "5", expect=1)
    adopted = command.json("adopt", "--yes")
    assert {row["state"] for row in adopted} <= {"adopted", "fits"}
    assert all(row["generation"] == 1 for row in adopted if row["state"] == "adopted")
    command.run("settle", "--close")
    (usage,) = [row for row in command.json("usage", NAMED)["usage"] if row["meter"] == "api_calls"]
    assert usage["quantity"] == "60"
    status = command.json("status")["partitions"]
    assert sum(line["counted"] for line in status) == 20
    assert sum(line["duplicate"] for line in status) == 10
    assert sum(row["events"] for row in command.json("windows", "--meter", "api_calls")) == 60
    audit = command.json("audit", expect=None)
    assert audit["differences"] == []
    assert [line["generation"] for line in audit["partitions"]] == [line["generation"] for line in status]
    # Sent again with another time, under the same ids: the recount has both bodies, though Kafka has only one of them left.
    assert [finding["kind"] for finding in audit["ids"]] == ["conflict"] * 10
    assert all("of generation 0" in next(iter(finding["numbers"])) for finding in audit["ids"])
