"""Records of the log that the archive lacks and that no window shows: duplicates, rejected events, control records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from infra.reconciling.drift import Coordinate, Drift

MOST_SHOWN = 50


class Lacking(NamedTuple):
    """One generation of a partition: how many records the mark counts that are not there, and the holes in its offsets, as [first, last].

    Of `markers` offsets transactions left no record, so not every hole is a loss.
    """

    partition: int
    generation: int
    missing: int
    markers: int
    holes: tuple[tuple[int, int], ...]


def in_gaps(lacking: Iterable[Lacking], found: Sequence[Drift]) -> list[Drift]:
    """One drift a partition for the records that no broken window explains. `found`: the drifts of all windows."""
    broken = [drift for drift in found if drift.kind == "raw_event"]
    told: dict[tuple[int, int], set[int]] = {}
    for drift in broken:
        for event in drift.events:
            told.setdefault((event.partition, event.generation), set()).add(event.offset)
    # Those of which no offset is known may lie anywhere.
    without = sum(max(0, drift.lacks - len(drift.events)) for drift in broken)
    made = []
    for each in lacking:
        known = told.get((each.partition, each.generation), set())
        # A hole may be a whole partition: it is never written out.
        left = each.missing - sum(any(first <= offset <= last for first, last in each.holes) for offset in known) - without
        if left > 0:
            made.append(_drift(each, left, known))
    return made


def _drift(lacking: Lacking, left: int, known: set[int]) -> Drift:
    offsets = [offset for first, last in lacking.holes for offset in range(first, min(last, first + MOST_SHOWN) + 1) if offset not in known]
    among = f", among {len(offsets)} offsets without a record, of which transactions left {lacking.markers}" if lacking.markers else ""
    return Drift(
        kind="raw_event",
        customer="",
        events=tuple(Coordinate(lacking.partition, lacking.generation, offset) for offset in offsets[:MOST_SHOWN]),
        sentence=f"partition {lacking.partition}: {left} records below the archived mark are missing from ClickHouse{among}; no window's total shows "
        "them, so they were no counted events",
        advice="--repair takes the rows from Kafka again while the log has them; find out who deletes from the archive's tables",
        repair="restore",
    )
