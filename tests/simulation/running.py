"""Many histories: in one process or in several, with small limits everywhere so that short lives meet what long ones do."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from streams import changelog
from tests.simulation.plan import Plan, plan_of
from tests.simulation.world import Result, live

SMALL: Final[dict[str, Any]] = {"SPARE_SEGMENTS": 2, "RESAID_ROWS": 3, "MERGED_PARTS": 1}
"""Segments of the changelog are said again, merged and tombstoned within seconds instead of hours."""


@contextmanager
def small_limits() -> Iterator[None]:
    """The product's own constants, made small for a while; its log is quiet meanwhile."""
    before = {name: getattr(changelog, name) for name in SMALL}
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        for name, value in SMALL.items():
            setattr(changelog, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(changelog, name, value)
        logging.disable(disabled)


def history(plan: Plan) -> Result:
    """Carry a plan out. What the simulation itself, or the product, raises beyond every guard is a fault like any other."""
    with small_limits():
        return live(plan)


def faults_of(seed: int) -> list[str]:
    """What is wrong after the history of a seed; nothing where all is exact."""
    return history(plan_of(seed)).faults


def run_all(seeds: range) -> Iterator[Result]:
    """One after another; the garbage of a history is collected between two of them, not within."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for number, seed in enumerate(seeds):
            if number % 20 == 0:
                gc.collect()
            yield history(plan_of(seed))
    finally:
        if was_enabled:
            gc.enable()


@dataclass
class Sums:
    """What all histories came to."""

    seeds: int = 0
    steps: int = 0
    windows: int = 0
    kills: int = 0
    deeds: Counter[str] = field(default_factory=Counter)
    faults: dict[int, list[str]] = field(default_factory=dict)

    def add(self, other: Sums) -> None:
        """And these."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.windows += other.windows
        self.kills += other.kills
        self.deeds += other.deeds
        self.faults |= other.faults


def chunk_of(seeds: range) -> Sums:
    """A few histories in this process."""
    sums = Sums()
    for result in run_all(seeds):
        sums.add(Sums(1, result.steps, result.emitted, result.kills, Counter(deed.kind for deed in result.plan.deeds)))
        if result.faults:
            sums.faults[result.plan.seed] = result.faults
    return sums
