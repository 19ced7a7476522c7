"""What tests of the meter's shell share: short lives with small segments, in a loop of their own."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from streams import changelog
from tests.agents.meter_world import World, in_a_loop


def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saying again, merging and retiring happen in short lives too; halts of mutants need no log."""
    monkeypatch.setattr(changelog, "SPARE_SEGMENTS", 2)
    monkeypatch.setattr(changelog, "RESAID_ROWS", 3)
    monkeypatch.setattr(changelog, "MERGED_PARTS", 1)
    logging.getLogger("streams.driver").setLevel(logging.CRITICAL + 1)


def inside(life: Callable[[World], Coroutine[Any, Any, None]], seed: int = 1) -> None:
    """Run one deterministic life in a loop of its own."""
    in_a_loop(life(World(random.Random(seed))))


async def turns(count: int = 200) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)
