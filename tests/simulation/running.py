"""Many histories: in one process or in several, with small limits everywhere so that short lives meet what long ones do."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
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
