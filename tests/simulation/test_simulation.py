"""A fixed part of the simulation in every run of the suite; `python -m tests.simulation --seeds 10000` runs the rest."""

from __future__ import annotations

import pytest

from tests.simulation.plan import FOCUS, plan_of
from tests.simulation.running import faults_of, history, run_all
from tests.simulation.story import smallest, told
from tests.simulation.world import World

SEEDS = 120
"""About fifteen seconds; each seed is a whole history of all three workers."""
FOUND = (13, 91, 168, 555, 895, 1126, 1286, 1297)
"""Seeds that once found a defect of the product or of the simulation. What a seed does changes with the plans' rules: the defects themselves have
tests of their own (`tests/core/test_report_probing.py`)."""


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS // 6))
def test_every_history_ends_exact(first: int) -> None:
    """Whatever is killed, frozen, lost, delayed, compacted or changed: totals, verdicts, cells at Stripe and the archive are the oracle's."""
    found = {result.plan.seed: result.faults for result in run_all(range(first, first + SEEDS // 6)) if result.faults}
    assert not found


@pytest.mark.parametrize("seed", FOUND)
def test_seeds_that_found_something_stay_exact(seed: int) -> None:
    """A seed that once ended wrong ends exact."""
    assert not faults_of(seed)


def test_a_seed_is_one_history() -> None:
    """The same seed writes the same bytes everywhere, twice; another seed writes others."""
    first, again, other = (history(plan_of(seed)).digest for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_all_kinds_of_histories_occur() -> None:
    """Every focus and every disaster is among the first thousand plans."""
    plans = [plan_of(seed) for seed in range(1000)]
    assert {plan.focus for plan in plans} == set(FOCUS)
    assert {deed.kind for plan in plans for deed in plan.deeds} == {kind for _, weights in FOCUS.values() for kind in weights}


def test_a_failing_seed_is_made_small_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a history in which one disaster does harm, a story is left that names it and little else."""

    def harm(world: World) -> None:
        world.faults += ["harm" for deed in world.plan.deeds if deed.kind == "compact"][:1]

    monkeypatch.setattr(World, "release", harm)
    failing = next(result for result in run_all(range(50)) if result.faults and len(result.plan.deeds) > 3)
    small = smallest(failing, lambda _: None)
    assert [deed.kind for deed in small.plan.deeds] == ["compact"]
    assert not small.plan.sent
    assert "FAULT: harm" in told(small)
    assert "compaction" in told(small)
