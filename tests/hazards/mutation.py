"""What a mutation is: one guard of one law, taken out of the product, and the checks that must notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.hazards.edits import Change, Edit, changed


@dataclass(frozen=True)
class Mutation:
    """`guard` says in words what is removed; `checks` name seeded checks (`tests/hazards/checks.py`), the first of which must notice.

    `seed` is the first seed at which it does: the suite begins there, the table is made from seed 0 on. Where the product has a second net
    below the guard (a halt), that is what the check notices: it is no total gone wrong any more, but it is a worker that stops.
    """

    name: str
    law: str
    guard: str
    changes: tuple[Change, ...]
    checks: tuple[str, ...]
    seed: int = 0

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The product without the guard, for a block: whatever drives it, a check of ours or a simulation."""
        with changed(self.changes):
            yield

    @property
    def where(self) -> tuple[str, ...]:
        """module:attribute of every place that is changed."""
        return tuple(change.where for change in self.changes)


def without(name: str, law: str, guard: str, where: str, old: str, new: str, *checks: str, seed: int = 0) -> Mutation:
    """A mutation of one place."""
    return Mutation(name, law, guard, (Edit(where, old, new),), checks, seed)


WALL = "__import__('tests.hazards.wall', fromlist=['here']).here"
"""A worker's own clock and configuration, as an expression for the text of a mutant."""
