"""Dead letters on the running stack: what they are worth, previewed, sent by people who are killed and who run at once, and counted once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.system.cli import ROOT
from tests.system.conftest import NAMED
from tests.system.traffic import Message, event, rfc3339
from tests.system.world import World

pytestmark = pytest.mark.system
COUNT = 320
"""More than three transactions of a replay."""
SOURCE = "letters"


def started(world: World, *arguments: str) -> subprocess.Popen[str]:
    """A command that runs beside the test."""
    environment = os.environ | {"TIDEMARK_DIR": str(world.directory), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "infra", "dead-letters", "replay", *arguments]
    return subprocess.Popen(command, cwd=world.directory.parent, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_letters_are_put_right_and_counted_once(world: World) -> None:
    """Strings for numbers are listed, previewed, and sent by three at once, one of them killed: each counts exactly once, at its own time."""
    at = rfc3339(time.time() - 600)
    strings = [event(NAMED, f"dl-{n}", "llm.request", f'{{"tokens": " {n + 1} ", "n": 1.50}}', at, SOURCE) for n in range(COUNT)]
    bad = [Message(NAMED.encode(), value) for value in strings]
    others = [
        Message(b"someone", event(NAMED, "dl-key", "llm.request", '{"tokens": 1000}', at, SOURCE)),
        Message(NAMED.encode(), b"\xef\xbb\xbf" + event(NAMED, "dl-bom", "llm.request", '{"tokens": 2000}', at, SOURCE)),
    ]
    world.send([*bad, *others])
    world.command.run("settle")
    mine = ("--source", SOURCE)
    listed = world.command.json("dead-letters", "list", *mine, "--limit", "1000")
    assert {row["state"] for row in listed} == {"waiting"}
    assert len(listed) == COUNT + 1  # a byte order mark leaves no source to select by
    (key,) = [row for row in listed if row["reason"] == "key_mismatch"]
    assert key["would_have_counted"][0]["quantity"] == "1000"
    by_reason = {row["reason"]: row for row in world.command.json("dead-letters", "list")}
    assert by_reason["bad_quantity"]["states"]["waiting"] >= COUNT
    assert by_reason["key_mismatch"]["waiting_worth"]["money"], "the price of one unit is known at the sandbox"

    _preview(world, listed)
    before = {row["event_id"]: row["received_at"] for row in listed}
    order = (*mine, "--reason", "bad_quantity", "--number", "data.tokens", "--yes", "--why", "strings")
    running = [started(world, *order) for _ in range(3)]
    time.sleep(1.5)
    running[0].send_signal(signal.SIGKILL)
    for each in running:
        said = each.communicate(timeout=300)
        assert each.returncode in {0, 1, -signal.SIGKILL}, said
        assert each.returncode != 1 or "another `dead-letters replay` has begun" in said[1], said
    world.command.json("dead-letters", "replay", *order)
    world.command.json("dead-letters", "replay", key["id"], "--key-from-subject", "--yes", "--why", "the key was wrong")
    world.command.json("dead-letters", "replay", "--reason", "not_json", "--strip-bom", "--yes", "--why", "windows", expect=None)
    world.command.run("settle")
    counts = f"FROM usage_events WHERE verdict = 'counted' AND source = '{SOURCE}'"
    rows = world.rows(f"SELECT event_id, sum(quantity) AS q, count() AS n {counts} GROUP BY event_id")
    counted = {row["event_id"]: (int(row["q"]), row["n"]) for row in rows}
    assert counted == {f"dl-{n}": (n + 1, 1) for n in range(COUNT)} | {"dl-key": (1000, 1), "dl-bom": (2000, 1)}
    received = world.command.sql(f"SELECT event_id, received_at {counts}")
    assert all(row["received_at"][:19] == before[row["event_id"]][:19].replace("T", " ") for row in received if row["event_id"] in before)
    assert {row["state"] for row in world.command.json("dead-letters", "list", *mine, "--limit", "1000")} == {"counted"}
    again = world.command.json("dead-letters", "replay", *order)
    assert again["sent"] == 0
    assert again["counts"]["done"] == COUNT
    shown = world.command.json("dead-letters", "show", key["id"])
    assert shown["state"] == "counted"


def _preview(world: World, listed: list[dict[str, str]]) -> None:
    one = next(row["id"] for row in listed if row["event_id"] == "dl-0")
    preview = world.command.json("dead-letters", "fix", one, "--number", "data.tokens")
    (letter,) = preview["letters"]
    assert preview["sent"] == 0
    assert letter["before"]["value"].replace('" 1 "', "1") == letter["after"]["value"]
    assert [share["quantity"] for share in letter["counts"]] == ["1"]
    stuck = world.command.json("dead-letters", "fix", one, "--set", "data.tokens=many", expect=1)
    assert stuck["letters"][0]["rejected"] == "bad_quantity"
    saved = world.directory.parent / "fix.json"
    world.command.run("dead-letters", "fix", one, "--number", "data.tokens", "--save", str(saved))
    assert json.loads(saved.read_text())["number"] == ["data.tokens"]
    assert world.command.json("dead-letters", "replay", one, "--fix", str(saved))["counts"]["send"] == 1
    world.command.run("dead-letters", "replay", one, "--yes", expect=2)
    world.command.run("dead-letters", "replay", expect=2)
    world.command.run("dead-letters", "replay", "0:99999999", expect=1)
