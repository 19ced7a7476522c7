"""A second stack beside the first, set up by the command alone, with one worker; it goes down and on while the first runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import psutil
import pytest

from infra.embedded import stack
from tests.oracle.ledger import Bound
from tests.system.comparing import assert_all_agree
from tests.system.conftest import NAMED, assert_gone, guarded, pids_of
from tests.system.traffic import Message, event, rfc3339, usage
from tests.system.world import FUTURE_S, METERS, Binding, World

pytestmark = pytest.mark.system
CUSTOMERS = ("solo", "duo")


@pytest.fixture(scope="module")
def other(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack of one meter worker, whose customers are only named in its file."""
    made = World(tmp_path_factory.mktemp("other") / "stack", seed=2)
    made.bindings = {customer: Binding({}) for customer in CUSTOMERS}
    made.write_config()
    with guarded(made.directory):
        made.up(workers=1)
        yield made
    assert_gone(made)
    assert stack.running(world.directory)


def test_setup_and_sync_make_who_is_billed(other: World) -> None:
    """`stripe setup` makes what is missing and, done again, nothing; after `stripe sync` each customer's meters have an item."""
    since_s = int(time.time()) // 3600 * 3600 - 7200
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_s))
    made = other.command.json("stripe", "setup", "--since", since)
    assert sum(row["what"] == "subscription" for row in made) == len(CUSTOMERS)
    assert other.command.json("stripe", "setup", "--since", since) == []
    other.command.run("stripe", "sync")
    other.send(usage(other.rng, "first", (*CUSTOMERS, "nobody"), 200, time.time()))
    other.command.run("settle")
    rows = other.command.json("bindings")
    assert {(row["customer"], row["meter"]) for row in rows} == {(customer, meter.slug) for customer in CUSTOMERS for meter in METERS}
    for row in rows:
        edge_s = month_before(row["period_anchor"])
        other.bound[row["customer"], row["meter"]] = Bound(row["item"], since_s, edges=(edge_s,))
        other.cuts[row["customer"]] = (edge_s,)
    assert_all_agree(other)


def month_before(anchor: str) -> int:
    """The billing edge before an anchor that lies ahead: the same second a month earlier, on a shorter month's last day."""
    at = datetime.fromisoformat(anchor)
    last = at.replace(day=1) - timedelta(days=1)
    return int(last.replace(day=min(at.day, last.day)).timestamp())


def test_a_meter_changes_its_grid_while_it_counts(other: World) -> None:
    """A changed window holds from a boundary that no counted event has reached, and every event is in the grid of its own time."""
    before = [Message(b"lone", event("lone", f"old-{n}", "ping", None, rfc3339(time.time() - n))) for n in range(40)]
    other.send(before)
    from_s = other.change_window("pings", 20, "lone")
    assert from_s > time.time()
    while from_s + 21 > time.time() + FUTURE_S:
        time.sleep(0.5)
    other.send(Message(b"lone", event("lone", f"new-{n}", "ping", None, rfc3339(from_s + n))) for n in range(-15, 21))
    ledger = assert_all_agree(other)
    lengths = {span.start_s >= from_s: span.end_s - span.start_s for span in ledger.totals if span.meter == "pings"}
    assert lengths == {False: 10, True: 20}


def test_two_stacks_do_not_meet(world: World, other: World) -> None:
    """Two stacks share no port and no process, are reached from this machine only, and each counts its own."""
    addresses = [listening(each) for each in (world, other)]
    assert not addresses[0] & addresses[1]
    assert {ip for ip, _ in addresses[0] | addresses[1]} == {"127.0.0.1"}
    assert not pids_of(world.directory) & pids_of(other.directory)
    for each in (world, other):
        each.send(usage(each.rng, "both", (NAMED, "solo"), 100, time.time()), librdkafka=True)
    for each in (world, other):
        assert_all_agree(each)


def listening(world: World) -> set[tuple[str, int]]:
    """Every address on which a process of the stack listens."""
    found = set()
    for pid in pids_of(world.directory):
        sockets = psutil.Process(pid).net_connections("inet")
        found |= {(each.laddr.ip.removeprefix("::ffff:"), each.laddr.port) for each in sockets if each.status == psutil.CONN_LISTEN}
    assert len(found) >= 7
    return found


def test_down_and_up_go_on(world: World, other: World) -> None:
    """After an orderly `down` nothing runs, and the next `up`, with another worker, has the same addresses and goes on where it was."""
    before = other.state
    other.send(usage(other.rng, "last", CUSTOMERS, 100, time.time()))
    other.command.run("down")
    assert not pids_of(other.directory)
    assert other.command.run("status", expect=3).stderr
    other.up(workers=2)
    assert (other.state.bootstrap, other.state.stripe_api_key) == (before.bootstrap, before.stripe_api_key)
    other.send(usage(other.rng, "next", CUSTOMERS, 100, time.time()))
    assert_all_agree(other)
    assert stack.running(world.directory)
