"""What scripts and dashboards read, and what they must never see."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from infra.embedded.layout import Layout
from infra.embedded.options import webhook_secret
from tests.system.cli import Command
from tests.system.comparing import assert_all_agree
from tests.system.conftest import NAMED
from tests.system.traffic import event, rfc3339, usage
from tests.system.world import World

pytestmark = pytest.mark.system
METRICS = {
    *("tidemark_events_total", "tidemark_conservation_residual", "tidemark_consumer_lag", "tidemark_windows"),
    *("tidemark_close_to_delivered_seconds", "tidemark_delivery_outcomes_total"),
}


def test_windows_close_by_themselves(world: World) -> None:
    """A window is delivered once its end and grace have passed, without anything that closes it, and a late event corrects it there."""
    # The next window, in which no event of another test lies.
    start_s = int(time.time()) // 10 * 10 + 10
    ping = [(NAMED, f"ping-{number}-{start_s}", "ping", None, rfc3339(start_s + 1)) for number in range(2)]
    item = world.bound[NAMED, "pings"].item
    for count, fields in enumerate(ping, 1):
        world.command.run("send", "events", "-", stdin=event(*fields).decode() + "\n")
        deadline_s = time.monotonic() + 120
        while world.provider.cells(item).get(start_s) != count:
            assert time.monotonic() < deadline_s, f"{count} pings are not at the provider: {world.provider.cells(item)}"
            time.sleep(0.5)
    assert_all_agree(world)


def test_metrics_say_what_status_says(world: World) -> None:
    """Every worker answers /live, /ready and /metrics; every name is exported, and the counters are those of the status."""
    world.send(usage(world.rng, "metrics", (NAMED,), 50, time.time()))
    assert_all_agree(world)
    status = world.command.json("status")
    lines: list[str] = []
    for process in status["processes"]:
        if process["http"]:
            assert {fetch(process["http"] + path)[0] for path in ("/live", "/ready")} == {200}
            lines += fetch(process["http"] + "/metrics")[1].splitlines()
    shown = {line.split(" ")[2].removesuffix("_total") for line in lines if line.startswith("# TYPE")}
    assert {name.removesuffix("_total") for name in METRICS} <= shown
    for partition in status["partitions"]:
        for fate in ("counted", "duplicate", "rejected"):
            name = f'tidemark_events_total{{partition="{partition["partition"]}",verdict="{fate}"}}'
            assert [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)] == [partition[fate]]
    assert all(float(line.rpartition(" ")[2]) == 0 for line in lines if line.startswith("tidemark_conservation_residual{"))


def fetch(url: str) -> tuple[int, str]:
    """Status and text of a page."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, answer.read().decode()


def test_no_log_holds_a_secret(world: World) -> None:
    """The sandbox's key stands in the two files that only their owner may read, its signing secret in one, and neither in a log of any process."""
    key = world.state.stripe_api_key
    layout = Layout(world.directory)
    signing = webhook_secret(layout)
    for path in (layout.state, layout.secrets):
        assert key in path.read_text()
        assert (signing in path.read_text()) == (path == layout.secrets)
        assert path.stat().st_mode & 0o077 == 0
    logs = [path for path in layout.logs.rglob("*") if path.is_file()]
    assert len(logs) >= 8
    assert [path.name for path in logs for secret in (key, signing) if secret.encode() in path.read_bytes()] == []


def test_settle_says_what_is_open(world: World) -> None:
    """When the time is out before everything is done, settle ends with 1 and says what is still open."""
    world.send(usage(world.rng, "open", (NAMED,), 300, time.time()))
    world.kill("archive")
    done = world.command.run("settle", "--close", "--timeout", "0", "--json", expect=1)
    assert json.loads(done.stdout)["settled"] is False
    assert "still open: " in done.stderr
    assert_all_agree(world)


def test_a_wrong_configuration_is_told_whole(tmp_path: Path) -> None:
    """Every fault of a file is named at once with its place, nothing is started, and the exit code is 2."""
    path = tmp_path / "wrong.toml"
    path.write_text(
        '[kafka]\npartitions = 0\n[stripe]\nmode = "metered"\n[timing]\nhorizon = "soon"\n[[meters]]\nslug = "a"\nevent_type = "x"\nwindow = "7m"\n'
        '[[meters]]\nslug = "a"\nevnt_type = "y"\n[[customers]]\nid = "c"\n[[customers.items]]\nmeter = "nope"\n'
        'stripe_subscription_item = "si_1"\nfractions = "guess"\nlate = "never"\n'
    )
    places = ("kafka.partitions", "stripe.mode", "timing.horizon", "window of 420 s", "evnt_type", "nope", "fractions", "late")
    for verb in (("check", "--offline"), ("up", "--detach")):
        done = Command(tmp_path / "stack").run(*verb, "--config", str(path), expect=2)
        assert [place for place in places if place not in done.stderr] == [], done.stderr
        assert not (tmp_path / "stack" / "stack.json").exists()


def test_wrong_use_and_absent_stacks(tmp_path: Path) -> None:
    """A wrong option ends with 2, a stack that is not there with 3, each with one sentence that says what to do."""
    command = Command(tmp_path / "nothing")
    assert "tidemark up" in command.run("status", expect=3).stderr
    assert command.run("settle", "--timeout", "never", expect=2).stderr
    assert command.run("send", "csv", "-", "--type", "t", expect=2, stdin="a\n1\n").stderr
    assert command.run("no-such-verb", expect=2).stderr
