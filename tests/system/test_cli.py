"""The verbs that show and repair, as a user types them, on the running stack."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.system.conftest import NAMED
from tests.system.world import World

pytestmark = pytest.mark.system
ROOT = Path(__file__).resolve().parents[2]


def event(customer: str, number: str, at: datetime) -> str:
    """One API call as a line of a file."""
    body = {"specversion": "1.0", "id": number, "source": "cli", "type": "api.request", "subject": customer, "time": at.isoformat(), "data": {}}
    return json.dumps(body)


def test_status_is_what_scripts_read(world: World) -> None:
    """`status --json` has every name of SURFACES, also where `--json` stands before other options, and the sandbox's own key."""
    found = world.command.json("status")
    assert set(found) >= {"kafka", "stripe", "clickhouse", "processes", "partitions", "windows", "settled"}
    assert found["stripe"] == {"api_base": world.state.stripe_api_base, "api_key": world.state.stripe_api_key}
    assert {process["name"] for process in found["processes"]} >= {"kafka", "sandbox", "meter-0", "meter-1", "report", "archive", "webhooks"}
    assert all(set(process) >= {"name", "pid", "state", "restarts", "http"} for process in found["processes"])
    fates = {"counted", "duplicate", "rejected", "too_late", "rerouted", "control", "skipped"}
    for line in found["partitions"]:
        assert set(line) >= {"partition", "base", "next_offset", "end_offset", "residual", "archived_offset", *fates}
        assert line["next_offset"] - line["base"] == sum(line[fate] for fate in fates)
    assert set(found["windows"]) == {"open", "due", "delivered", "undelivered", "parked", "unbound"}
    early = json.loads(world.command.run("status", "--json", "--dir", str(world.directory)).stdout)
    assert set(early) == set(found)


def test_a_window_is_taken_apart_and_proved(world: World) -> None:
    """`explain` of a window with a duplicate, a late event and two revisions shows all of them, and recomputes each hash."""
    at = (datetime.now(UTC) - timedelta(minutes=30)).replace(second=7, microsecond=0)
    lines = [event(NAMED, f"explained-{n}", at + timedelta(seconds=n)) for n in range(3)]
    world.command.run("send", "events", "-", stdin="\n".join([*lines, lines[0], ""]))
    world.command.run("settle", "--close")
    world.command.run("send", "events", "-", stdin=event(NAMED, "explained-late", at) + "\n")
    world.command.run("settle", "--close")
    found = world.command.json("explain", NAMED, "api_calls", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    ours = {one["event_id"] for one in found["counted"] if one["event_id"].startswith("explained-")}
    assert ours == {"explained-0", "explained-1", "explained-2", "explained-late"}
    assert "explained-0" in {one["event_id"] for one in found["duplicates"]}
    assert "explained-late" in {one["event_id"] for one in found["late"]}
    assert len(found["revisions"]) >= 2
    assert all(revision["proved"] and revision["hash"] == revision["recounted"]["hash"] for revision in found["revisions"])
    assert found["proof"]["holds"]
    assert {attempt["state"] for attempt in found["deliveries"]} <= {"delivered", "confirmed"}
    shown = world.command.run("explain", NAMED, "api_calls", at.strftime("%Y-%m-%dT%H:%M:%SZ")).stdout
    assert "proved" in shown
    assert "duplicate" in shown
    assert "late" in shown


def test_a_period_is_taken_apart_for_somebody_who_does_not_trust_us(world: World, tmp_path: Path) -> None:
    """`explain --period` proves every window of a customer's period, writes a page, and evidence that the document's program finds right."""
    page, evidence = tmp_path / "period.html", tmp_path / "period.jsonl"
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = world.command.json("explain", NAMED, "--period", at, "--html", str(page), "--evidence", str(evidence))
    assert found["proof"]["holds"], found["proof"]
    windows = [window for meter in found["meters"] for window in meter["windows"]]
    assert windows
    assert all(window["state"] == "delivered" for window in windows if window["revisions"] and float(window["quantity"]))
    assert "Proved" in page.read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "infra/docs/explaining.md").read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-I", "-c", program, str(evidence)], capture_output=True, text=True, check=False)
    assert "all of it follows from the events in this file" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_dead_letters_keep_the_exact_bytes(world: World) -> None:
    """A rejected event is listed by its reason and shown with the very bytes that were sent; a line without a customer exits 1."""
    line = '{"subject":"' + NAMED + '","specversion":"0.3","odd":  1.10}'
    done = world.command.run("send", "events", "-", stdin=f"{line}\ngarbage\n", expect=1)
    assert "line 2" in done.stderr
    world.command.run("settle")
    rows = world.command.json("dead-letters", "list", "--reason", "not_cloudevents", "--customer", NAMED)
    shown = world.command.json("dead-letters", "show", rows[-1]["id"])
    assert bytes.fromhex(shown["value_hex"]).decode() == line
    assert shown["reason"] == "not_cloudevents"
    assert any(row["reason"] == "not_cloudevents" for row in world.command.json("dead-letters", "list"))
    world.command.run("dead-letters", "show", "0:99999999", expect=1)


def test_what_is_in_force_is_left_alone(world: World) -> None:
    """Applying, migrating and checking a stack that is as it should be changes nothing, and nothing but the file's own period is complained of."""
    assert {answer["state"] for answer in world.command.json("apply")} == {"unchanged"}
    assert world.command.json("migrate") == {"applied": []}
    assert world.command.json("topics", "plan") == []
    assert world.command.json("topics", "check") == []
    assert world.command.json("topics", "apply") == {"changed": [], "left": []}
    # One customer's file names a period that Stripe does not have, on purpose (`World.bind`): every item of it is named, and nothing else.
    faults = world.command.json("check", expect=1)["faults"]
    named = next(iter(world.bindings))
    bound = sum(customer == named for customer, _ in world.bound)
    assert [fault["place"] for fault in faults] == [f"customers[0].items[{number}].period_anchor" for number in range(bound)]
    assert {row["state"] for row in world.command.json("adopt")} == {"fits"}
    assert all(row["reason"] != "unbound" for row in world.command.json("release"))


def test_reading_is_all_that_sql_does(world: World) -> None:
    """`sql` gives `[{column: value}]` with decimals as text, and refuses what would change something with exit code 2."""
    assert world.command.sql("SELECT 1 AS n, toDecimal64('1.50', 2) AS d, 'x' AS s") == [{"n": 1, "d": "1.5", "s": "x"}]
    for query in ("DROP TABLE raw_events", "INSERT INTO raw_events SELECT * FROM raw_events", "ALTER TABLE raw_events DELETE WHERE 1"):
        world.command.run("sql", query, expect=2)
    assert world.command.run("sql", "SELECT no_such_column", expect=1).stderr.count("\n") < 4


def test_tables_in_a_pipe_are_plain_and_whole(world: World) -> None:
    """Where stdout is a pipe there is no colour and no cut line: each row of a table is one line."""
    rows = world.command.json("bindings")
    shown = world.command.run("bindings").stdout
    assert "\x1b" not in shown
    assert "…" not in shown
    assert len(shown.splitlines()) == len(rows) + 1
    assert all(any(row["item"] in line for line in shown.splitlines()) for row in rows)


def test_usage_is_the_running_total(world: World) -> None:
    """`usage` sums what is counted of a customer by meter, also for a span of time, before any window is closed."""
    since = (datetime.now(UTC) - timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    before = totals(world, since)
    world.command.run("send", "events", "-", stdin=event(NAMED, f"usage-{time.time_ns()}", since) + "\n")
    world.command.run("settle")
    assert totals(world, since) == before + 1
    assert world.command.json("usage", NAMED, "--to", "1999-01-01")["usage"] == []


def totals(world: World, since: datetime) -> int:
    """API calls of the customer since an instant, as `usage` says."""
    found = world.command.json("usage", NAMED, "--meter", "api_calls", "--from", since.isoformat())["usage"]
    return int(found[0]["quantity"]) if found else 0
