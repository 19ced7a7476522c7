"""The stack that the tests of this folder share, and the certainty that nothing of it is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.embedded import stack
from tests.system.world import World

NAMED, ANCHORED, LOOKED_UP = "acme", "globex", "ünï 顧客|%7C"
"""Customers who are billed, by where their period comes from; the last one's name is as hostile as a name may be."""


def pids_of(directory: Path) -> set[int]:
    """Every process whose command line or environment names the directory."""
    found = set()
    for each in psutil.process_iter():
        try:
            words = [*each.cmdline(), *each.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(directory) in word for word in words) and each.pid != os.getpid():
            found.add(each.pid)
    return found


def take_down(world: World) -> None:
    """Takes a stack down, whatever state a test left it in, and asserts that none of its processes is left."""
    state = stack.read_state(world.directory)
    known = {each.pid for each in state.processes if each.pid is not None} if state is not None else set()
    stack.down(world.directory)
    left = {pid for pid in known if psutil.pid_exists(pid)} | pids_of(world.directory)
    assert not left, f"processes are left: {left}"


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack of two meters with three customers who are billed since two hours ago, under faults of the provider."""
    made = World(tmp_path_factory.mktemp("system") / "stack")
    try:
        made.up()
        since_s = int(time.time()) - 7200
        meters = ("api_calls", "eu_calls", "tokens", "storage", "credits", "pings")
        for customer, kind in ((NAMED, "named"), (ANCHORED, "anchored"), (LOOKED_UP, "looked_up")):
            made.bind(customer, meters, since_s, kind=kind)
        made.apply()
        yield made
    finally:
        take_down(made)
