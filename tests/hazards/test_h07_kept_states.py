"""H7, law 2: a worker goes on with a state from before a rebalance that its changelog, with somebody else's writes in it, does not make."""

from __future__ import annotations

from tests.agents.keeping_life import life_of
from tests.hazards.fold import clean, small_segments


def seeded(seed: int) -> list[str]:
    """Two workers hand a partition to and fro: what is kept is what a recovery makes at that moment, and the outcome is the naive account's."""
    with small_segments():
        return life_of(seed, seen=[])


def test_h07_a_kept_state_is_what_its_changelog_makes() -> None:
    """Whoever wrote to the changelog, and when, a state from before a rebalance goes on only where reading it would make the same."""
    assert not clean(seeded, 30)
