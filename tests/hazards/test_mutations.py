"""Every guard that is taken out is missed by the check that it belongs to, at the seed that the document names."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.hazards.checks import CHECKS
from tests.hazards.edits import Edit, changed, function_at, source_of
from tests.hazards.mutations import ALL, MUTATIONS, Mutation
from tests.hazards.table import DOCUMENT

BUDGET = 150
"""Seeds tried where the one in the document does not do any more: a change of a world moves the seeds, it must not hide a mutation."""
HAZARDS = {f"H{number}" for number in (*range(1, 21), *range(22, 41))}
"""The hazards that concern counting, delivering and the archive."""


@cache
def documented() -> dict[str, int | None]:
    """Mutation → the first seed that the document gives for its first check."""
    found: dict[str, int | None] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| `([a-z0-9-]+)` \|", line):
            first = re.search(r", first (\d+)", line)
            found[match[1]] = int(first[1]) if first else None
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name)
def test_a_missing_guard_is_noticed(mutation: Mutation) -> None:
    """Without the guard the check finds a wrong total, lost usage or a worker that stops."""
    check = CHECKS[mutation.checks[0]]
    seed = documented().get(mutation.name)
    budget = max(1, round(BUDGET * check.share))
    order = [*([] if seed is None else [seed]), *range(budget)]
    with mutation.applied():
        assert any(check.faults(each) for each in order), f"{mutation.checks[0]} does not notice it in {budget} seeds"


def test_the_document_lists_every_mutation() -> None:
    """`infra/docs/guards.md` has one row a mutation, in the registry's order; `python -m tests.hazards.table --seeds 100 --write` makes it."""
    assert list(documented()) == [mutation.name for mutation in ALL]


def test_every_hazard_has_a_check_and_every_check_a_mutation() -> None:
    """No row of the hazards is without a check, no check without a guard that it holds, and no name is used twice."""
    assert {check.hazard for check in CHECKS.values()} == HAZARDS
    assert {name for mutation in ALL for name in mutation.checks} == set(CHECKS)
    assert len(MUTATIONS) == len(ALL)


def test_a_mutation_ends_with_its_block() -> None:
    """After each mutation the product's functions are what they were, and a guard whose text has moved fails by name."""
    before = {place: function_at(place).__code__ for mutation in ALL for place in mutation.where}
    for mutation in ALL:
        with mutation.applied():
            assert any(function_at(place).__code__ is not before[place] for place in mutation.where)
        assert all(function_at(place).__code__ is before[place] for place in mutation.where)
    with pytest.raises(AssertionError, match="must follow the code"):
        changed((Edit("streams.step:step", "no such text", ""),)).__enter__()
    assert "def step(" in source_of("streams.step:step")
