"""What a mutation is: one guard of one law, taken out of the product, and the checks that must notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.hazards.edits import Edit, changed


@dataclass(frozen=True)
class Mutation:
    """`guard` says in words what is removed; `checks` name seeded checks (`tests/hazards/checks.py`), the first of which must notice.

    The seed at which the suite begins to look is the first one in `infra/docs/guards.md`. Where the product has a second net below the guard (a
    halt), that is what the check notices: no total goes wrong then, but a worker stops.
    """

    name: str
    law: str
    guard: str
    edits: tuple[Edit, ...]
    checks: tuple[str, ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The product without the guard, for a block: whatever drives it, a check of ours or a simulation."""
        with changed(self.edits):
            yield

    @property
    def where(self) -> tuple[str, ...]:
        """module:attribute of every place that is changed."""
        return tuple(edit.where for edit in self.edits)


def without(name: str, law: str, guard: str, where: str, old: str, new: str, *checks: str) -> Mutation:
    """A mutation of one place."""
    return Mutation(name, law, guard, (Edit(where, old, new),), checks)


WALL = "__import__('tests.hazards.wall', fromlist=['here']).here"
"""A worker's own clock and configuration, as an expression for the text of a mutant."""
