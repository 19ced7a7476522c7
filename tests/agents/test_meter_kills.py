"""Meter workers as processes on a real Kafka, killed, frozen, stopped and joined at random: totals, verdicts and revisions stay exact."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.agents.meter_rig import Rig, Traffic, rig

CHUNK = 400
"""Records between two deeds; small, so that a kill finds flushes, emissions and recoveries under way."""


def produce(made: Rig, traffic: Traffic, chunks: int) -> None:
    """Some traffic, spread over a second or so."""
    for _ in range(chunks):
        made.send([traffic.next() for _ in range(CHUNK)])
        time.sleep(traffic.rng.random() * 0.3)


def test_one_worker_killed_again_and_again(tmp_path: Path) -> None:
    """A worker that is killed with SIGKILL at random moments, even while it starts, counts everything exactly once."""
    rng = random.Random(1)
    with rig(tmp_path) as made:
        traffic = Traffic(1)
        made.start("meter-0")
        for _ in range(6):
            produce(made, traffic, rng.randrange(1, 6))
            made.signal("meter-0", signal.SIGKILL)
            made.start("meter-0")
        lines = made.settle()
        assert made.wrongs(traffic.truth, lines) == []


def test_two_workers_killed_frozen_stopped_and_joined(tmp_path: Path) -> None:
    """Two workers with SIGKILL, SIGTERM, SIGSTOP past the session time-out and rebalances between them count everything exactly once."""
    rng = random.Random(7)
    with rig(tmp_path) as made:
        traffic = Traffic(7)
        for name in ("meter-0", "meter-1"):
            made.start(name)
        for deed in ("kill", "stop", "freeze", "kill", "kill both", "stop"):
            produce(made, traffic, rng.randrange(2, 6))
            name = rng.choice(("meter-0", "meter-1"))
            if deed == "freeze":
                made.signal(name, signal.SIGSTOP)
                produce(made, traffic, 3)
                time.sleep(8)  # its session is over: the other one has all partitions
                produce(made, traffic, 2)
                made.signal(name, signal.SIGCONT)
                continue
            for victim in ("meter-0", "meter-1") if deed == "kill both" else (name,):
                made.signal(victim, signal.SIGTERM if deed == "stop" else signal.SIGKILL)
                produce(made, traffic, 1)
                made.start(victim)
        lines = made.settle(90)
        assert made.wrongs(traffic.truth, lines) == []
