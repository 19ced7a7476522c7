"""The whole pipeline under bad input, kills, freezes and outages; after each, everything shown equals the oracle's account."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.embedded import stack
from tests.system import wire
from tests.system.comparing import assert_all_agree
from tests.system.conftest import ANCHORED, LOOKED_UP, NAMED, pids_of
from tests.system.joining import joined
from tests.system.traffic import Message, bad_inputs, event, rfc3339, usage
from tests.system.world import PARTITIONS, World

pytestmark = pytest.mark.system
CUSTOMERS = (NAMED, ANCHORED, LOOKED_UP, *(f"drifter-{number}" for number in range(5)))
FAULTS = {"lost": 0.06, "cut": 0.03, "500": 0.03, "500_effect": 0.03, "503": 0.03, "429": 0.05, "409": 0.03, "hold": 0.02, "delay": 0.03}
FROZEN_S = 9.0
"""Longer than the session time-out of the embedded stack (6 s), so that a frozen worker's partitions move on before it thaws."""


def burst(world: World, name: str, count: int = 240) -> list[Message]:
    """Good events of now, with ids of their own."""
    return list(usage(world.rng, f"{name}-{world.rng.getrandbits(40):x}", CUSTOMERS, count, time.time()))


def test_every_bad_input(world: World) -> None:
    """Each bad input lands in `usage.rejected` with its bytes and reason or is re-routed, and what was sent beside it is counted."""
    for at, librdkafka in enumerate((False, True)):
        bad = bad_inputs(f"bad-{at}", (NAMED, LOOKED_UP)[at], time.time(), PARTITIONS)
        good = burst(world, "beside", 3 * len(bad))
        mixed = [each for at, wrong in enumerate(bad) for each in (*good[3 * at : 3 * at + 3], wrong)]
        world.send(mixed, librdkafka=librdkafka)
    ahead = event(NAMED, "nearly-five-minutes-ahead", "ping", None, rfc3339(time.time() + 290))
    world.send([Message(NAMED.encode(), ahead)])
    ledger = assert_all_agree(world)
    assert set(ledger.refused().values()) >= {each.label for each in bad_inputs("x", NAMED, time.time(), PARTITIONS)} - {"usage"}
    assert sum(ledger.counters(partition)["rerouted"] for partition in range(PARTITIONS)) > 20


def test_aborted_transactions_are_not_usage(world: World) -> None:
    """A hundred events that a producer aborted are not counted, the hundred that it committed are, and no offset lacks a fate."""
    kept, dropped = ([Message(b"acme", event(NAMED, f"{name}-{n}", "api.request")) for n in range(100)] for name in ("kept", "dropped"))
    world.acked += wire.send_transactions(world.bootstrap, kept, dropped)
    ledger = assert_all_agree(world)
    assert {each.key for each in kept} == {b"acme"}
    assert {event_id for _, _, event_id in ledger.seen if event_id.startswith("kept-")} == {f"kept-{n}" for n in range(100)}
    assert not any(event_id.startswith("dropped-") for _, _, event_id in ledger.seen)


def test_every_process_is_killed(world: World) -> None:
    """With each process killed by SIGKILL while events flow and the provider failing in every way, all totals are exact."""
    world.provider.control("faults", {"seed": world.seed, "rates": FAULTS, "only": "usage_records"})
    names = [each.name for each in world.state.processes]
    rounds = [(name,) for name in names] + [tuple(name for name in names if name not in {"kafka", "clickhouse", "sandbox"})]
    world.rng.shuffle(rounds)
    for at, killed in enumerate(rounds):
        sender = threading.Thread(target=world.send, args=(burst(world, f"kill-{at}"),), kwargs={"librdkafka": at % 2 == 1})
        sender.start()
        time.sleep(world.rng.uniform(0.0, 0.4))
        world.kill(*killed)
        sender.join()
    assert_all_agree(world)
    restarts = {each.name: each.restarts for each in world.state.processes}
    assert all(restarts[name] for name in names), restarts


def test_all_at_once(world: World) -> None:
    """When every process dies at once none is left behind, and a second `up` on the same directory goes on exactly where it was."""
    world.send(burst(world, "before"))
    stack.kill(world.directory, "supervisor")
    gone_by_s = time.monotonic() + 60
    while pids_of(world.directory):
        assert time.monotonic() < gone_by_s, "processes outlived their supervisor"
        time.sleep(0.1)
    world.up()
    world.send(burst(world, "after"), librdkafka=True)
    assert_all_agree(world)


@contextmanager
def frozen(world: World, name: str) -> Iterator[None]:
    """A process that is suspended for the block, and thaws after it."""
    pid = world.state.process(name).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("name", ["meter-0", "report"])
def test_a_frozen_worker_thaws(world: World, name: str) -> None:
    """A worker that is suspended past its session, while another takes over what it had, harms nothing when it thaws."""
    world.send(burst(world, "thaw"))
    with frozen(world, name):
        world.send(burst(world, "frozen"), librdkafka=True)
        time.sleep(FROZEN_S)
        world.send(burst(world, "frozen"))
    world.send(burst(world, "thawed"))
    assert_all_agree(world)


def test_workers_join_die_and_leave(world: World) -> None:
    """While events flow a third and a fourth meter join, one is killed for good and taken out, one leaves; partitions move, and nothing is lost."""
    ended = threading.Event()
    sender = threading.Thread(target=_send_until, args=(world, ended))
    sender.start()
    try:
        with joined(world, "meter-7") as third, joined(world, "meter-8") as fourth:
            third.process.kill()
            third.process.wait()
            # Out at once, or gone by its session time-out already: either way the others share what it had.
            assert world.command.run("worker", "meter", "--take-out", "meter-7", expect=None).returncode in {0, 1}
            fourth.until_it_holds({1, 2}, "it shares with the two of the stack")
            fourth.process.terminate()
            assert fourth.process.wait(30) == 0
    finally:
        ended.set()
        sender.join()
    world.send(burst(world, "after the moves"))
    assert_all_agree(world)


def _send_until(world: World, ended: threading.Event) -> None:
    while not ended.wait(0.2):
        world.send(burst(world, "moving", 60))


def test_servers_stand_still(world: World) -> None:
    """Kafka, ClickHouse and the provider may each hang for seconds while events flow, and nothing is lost."""
    for name in ("clickhouse", "sandbox", "kafka"):
        sender = threading.Thread(target=world.send, args=(burst(world, f"hung-{name}"),))
        with frozen(world, name):
            sender.start()
            time.sleep(FROZEN_S / 2)
        sender.join()
    assert_all_agree(world)
