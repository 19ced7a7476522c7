"""Drift of eleven kinds, planted by seed: all found, named right, nothing else found; repaired through the log, by whoever dies on the way."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from infra.reconciling.drift import KINDS
from tests.drift.__main__ import Engine, archives
from tests.drift.planting import kinds_of
from tests.drift.trial import honest, planted

ANY = random.Random(os.environ.get("TIDEMARK_TEST_SEED") or os.environ.get("PYTEST_XDIST_TESTRUNUID")).randrange(1_000, 1_000_000)
"""Another one each time; the processes of one run (`-n`) must name the same, and CI's second run the first one's."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all seeds."""
    with archives() as found:
        yield found


@pytest.mark.parametrize("seed", [ANY])
def test_nothing_is_found_in_honest_books(engine: Engine, seed: int) -> None:
    """Late events, revisions, duplicates, rejected events, shared cells, fractions and a final invoice are no drift."""
    assert engine.run(honest, seed).faults == []


@pytest.mark.parametrize("seed", [0, ANY])
def test_all_drift_is_found_named_and_repaired(engine: Engine, seed: int) -> None:
    """What was planted is found with its cause and nothing else is; after the repair, killed on the way, nothing is left and every unit is billed."""
    trial = engine.run(planted, seed)
    assert trial.faults == []
    assert len(trial.planted) >= len(kinds_of(seed)) - 1


def test_a_seed_plants_every_kind() -> None:
    """Every fifth seed has all eleven kinds."""
    assert set(kinds_of(0)) == set(kinds_of(5)) == set(KINDS)
