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
"""Changes that are tried by threes: 80,000 pairs, a fifth of a second where all of them fit."""
CHANCE: Final = 50
"""Several changes together are believed where there are this many times more numbers that the difference could have been than there are sums."""


class Candidate(NamedTuple):
    """One change of one cell, and by how much it changes the period's total (units × 10¹²)."""

    kind: Change
    cell: str
    delta: int


class Explained(NamedTuple):
    """The changes that explain a difference, and which others are part of an explanation that would do as well."""

    changes: tuple[Candidate, ...]
    others: tuple[Candidate, ...]


def explain(difference: int, candidates: Sequence[Candidate]) -> Explained | None:
    """The fewest changes that add up to the difference; None where none do, or where it could be chance."""
    ordered = sorted(set(candidates), key=_order)
    singles = tuple(each for each in ordered if each.delta == difference)
    if singles:
        return Explained(singles[:1], singles[1:])
    for search, tried in ((_pairs, len(ordered) ** 2 // 2), (_triples, len(ordered) ** 3 // 6)):
        found = search(difference, ordered) if _is_telling(ordered, tried) else None
        if found is not None:
            return found
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


def _pairs(difference: int, ordered: Sequence[Candidate]) -> Explained | None:
    if len(ordered) > MOST_PAIRED:
        return None
    by_delta = _by_delta(ordered)
    best: tuple[Candidate, ...] | None = None
    parts: list[Candidate] = []
    for one in ordered:
        other = _first(by_delta.get(difference - one.delta, ()), (one,))
        if other is not None:
            parts.append(one)
            best = _better(best, (one, other))
    return _explained(best, parts)


def _triples(difference: int, ordered: Sequence[Candidate]) -> Explained | None:
    if len(ordered) > MOST_TRIPLED:
        return None
    by_delta = _by_delta(ordered)
    best: tuple[Candidate, ...] | None = None
    parts: set[Candidate] = set()
    for one, other in combinations(ordered, 2):
        third = _first(by_delta.get(difference - one.delta - other.delta, ()), (one, other)) if one.cell != other.cell else None
        if third is not None:
            parts |= {one, other, third}
            best = _better(best, (one, other, third))
    return _explained(best, [each for each in ordered if each in parts])


def _by_delta(ordered: Sequence[Candidate]) -> dict[int, list[Candidate]]:
    found: dict[int, list[Candidate]] = {}
    for each in ordered:
        found.setdefault(each.delta, []).append(each)
    return found


def _first(fitting: Sequence[Candidate], beside: tuple[Candidate, ...]) -> Candidate | None:
    """The first that is of no cell of `beside`. Equal cells are many, so what fits is never listed: of one cell few changes are equal."""
    return next((each for each in fitting if all(each.cell != one.cell for one in beside)), None)


def _better(best: tuple[Candidate, ...] | None, found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The one of two explanations that is named."""
    ordered = tuple(sorted(found, key=_order))
    return ordered if best is None or _orders(ordered) < _orders(best) else best


def _explained(best: tuple[Candidate, ...] | None, parts: Sequence[Candidate]) -> Explained | None:
    return None if best is None else Explained(best, tuple(each for each in parts if each not in best))


def _order(change: Candidate) -> tuple[int, str, int]:
    return _RANK[change.kind], change.cell, change.delta


def _orders(changes: tuple[Candidate, ...]) -> tuple[list[int], list[str]]:
    return [_RANK[each.kind] for each in changes], [each.cell for each in changes]
