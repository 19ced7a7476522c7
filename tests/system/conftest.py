"""The stack that the tests of this folder share, and the certainty that nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from infra.embedded import stack
from tests.system.cli import ROOT
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
    stack.down(world.directory)
    assert_gone(world)


def assert_gone(world: World) -> None:
    """No process of the stack is left."""
    left = pids_of(world.directory)
    assert not left, f"processes are left: {left}"


@contextmanager
def guarded(directory: Path) -> Iterator[None]:
    """Even when this test run is killed, what runs in the directory is taken down: a process of its own waits for our end of a pipe.

    It is told the directory through that pipe: named in its command line, it would itself seem to be a process of the stack.
    """
    code = "import sys, pathlib; from infra.embedded import stack; stack.down(pathlib.Path(sys.stdin.read().strip()))"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd=directory.parent, start_new_session=True, text=True)
    assert guard.stdin is not None
    guard.stdin.write(f"{directory}\n")
    guard.stdin.flush()
    try:
        yield
    finally:
        guard.communicate()


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack of two meters with three customers who are billed since two hours ago."""
    made = World(tmp_path_factory.mktemp("system") / "stack")
    with guarded(made.directory):
        made.up()
        since_s = int(time.time()) - 7200
        meters = ("api_calls", "eu_calls", "tokens", "storage", "credits", "pings")
        for customer, kind in ((NAMED, "named"), (ANCHORED, "anchored"), (LOOKED_UP, "looked_up")):
            made.bind(customer, meters, since_s, kind=kind)
        made.apply()
        yield made
    assert_gone(made)
