"""Which of a cell's own histories explain a difference: an exact search for few changes that add up to it, bounded and deterministic. Pure.

A provider that shows a total alone gives one number for many cells. One change that is exactly the difference explains it. Several changes
together explain it only where chance would not: of a thousand pairs one always fits a small number, and says nothing then.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final, Literal, NamedTuple

from topics.quantity import ONE

Change = Literal["stale_retry", "lost_report", "double_report"]
_RANK: Final[dict[str, int]] = {"stale_retry": 0, "lost_report": 1, "double_report": 2}
"""Of changes that fit equally well the first is named: an older revision that fits by chance is rarer than a cell's units that do."""

MOST_PAIRED: Final = 20_000
"""Changes of a period that are tried in pairs: a month of windows of two minutes; it takes 20 ms."""
MOST_TRIPLED: Final = 400
"""Changes that are tried by threes: 80,000 pairs, a twentieth of a second."""
CHANCE: Final = 50
"""Several changes together are believed where there are this many times more numbers that the difference could have been than there are sums."""


class Candidate(NamedTuple):
    """One change of one cell, and by how much it changes the period's total (units × 10¹²)."""

    kind: Change
    cell: str
    delta: int


class Explained(NamedTuple):
    """The changes that explain a difference, and which others would do as well."""

    changes: tuple[Candidate, ...]
    others: tuple[tuple[Candidate, ...], ...]


def explain(difference: int, candidates: Sequence[Candidate]) -> Explained | None:
    """The fewest changes that add up to the difference; None where none do, or where it could be chance."""
    ordered = sorted(set(candidates), key=lambda each: (_RANK[each.kind], each.cell, each.delta))
    singles = tuple((each,) for each in ordered if each.delta == difference)
    if singles:
        return Explained(singles[0], singles[1:])
    for found, tried in ((_pairs, len(ordered) ** 2 // 2), (_triples, len(ordered) ** 3 // 6)):
        if not _is_telling(ordered, tried):
            continue
        several = found(difference, ordered)
        if several:
            return Explained(several[0], tuple(several[1:]))
    return None


def one_of(difference: int, candidates: Sequence[Candidate]) -> Candidate | None:
    """The one change that is exactly the difference."""
    found = [each for each in candidates if each.delta == difference]
    return min(found, key=lambda each: (_RANK[each.kind], each.cell), default=None)


def _is_telling(ordered: Sequence[Candidate], tried: int) -> bool:
    """True where a sum that fits is no accident: the numbers that sums could be are far more than the sums that were tried."""
    if len(ordered) < 2:
        return False
    spread = (max(each.delta for each in ordered) - min(each.delta for each in ordered)) // ONE
    return tried * CHANCE <= 2 * spread


def _pairs(difference: int, ordered: Sequence[Candidate]) -> list[tuple[Candidate, ...]]:
    if len(ordered) > MOST_PAIRED:
        return []
    by_delta: dict[int, list[Candidate]] = {}
    for each in ordered:
        by_delta.setdefault(each.delta, []).append(each)
    found = [
        (one, other)
        for one in ordered
        for other in by_delta.get(difference - one.delta, ())
        if one < other and one.cell != other.cell
    ]
    return sorted(found, key=_order)


def _triples(difference: int, ordered: Sequence[Candidate]) -> list[tuple[Candidate, ...]]:
    if len(ordered) > MOST_TRIPLED:
        return []
    by_delta: dict[int, list[Candidate]] = {}
    for each in ordered:
        by_delta.setdefault(each.delta, []).append(each)
    found = {
        tuple(sorted((one, other, third)))
        for one, other in combinations(ordered, 2)
        for third in by_delta.get(difference - one.delta - other.delta, ())
        if len({one.cell, other.cell, third.cell}) == 3
    }
    return sorted(found, key=_order)


def _order(changes: tuple[Candidate, ...]) -> tuple[list[int], list[str]]:
    return [_RANK[each.kind] for each in changes], [each.cell for each in changes]
