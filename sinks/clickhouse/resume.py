"""Law 18: where a partition goes on after an assignment, and which of its records are there already. Pure.

The order of writing is rows, then the progress row, then the commit. So a crash leaves rows without progress (found here and skipped),
or progress without a commit (progress is what is believed); never progress without rows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Resume(NamedTuple):
    """Read from `start`; do not insert the records at the offsets of `skip`, they are archived."""

    start: int
    skip: frozenset[int]


def resume(progress: int | None, present: Collection[int], begin: int) -> Resume:
    """`progress`: next offset by the progress row (None: nothing was ever archived); `present`: archived offsets at or above it.

    Starts at the greatest contiguous archived offset + 1. Holes (markers, aborted records) end the run, they are read again and found
    empty. `begin` is the log's first offset, used only where there is no progress: a log that lost what was not archived must be refused
    by the caller, not skipped (H34).
    """
    start = begin if progress is None else progress
    found = {offset for offset in present if offset >= start}
    while start in found:
        found.discard(start)
        start += 1
    return Resume(start, frozenset(found))


def gap_sentence(topic: str, partition: int, wanted: int, begin: int, end: int) -> str:
    """Why a partition cannot go on: retention passed it, or the log was cut or recreated."""
    if wanted < begin:
        return (
            f"{topic} {partition}: offsets {wanted} to {begin - 1} were removed by retention before they were archived; "
            "the archive stops there rather than show what it cannot prove. Raise the topic's retention, and run `tidemark adopt` to go on"
        )
    return (
        f"{topic} {partition}: archived up to {wanted}, but the log ends at {end}: it was recreated or cut. "
        "Run `tidemark adopt` if that was meant"
    )
