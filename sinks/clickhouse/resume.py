"""Law 18: where a partition goes on after an assignment, and which of its records are there already. Pure.

The order of writing is rows, then the progress row, then the commit. So a crash leaves rows without progress (found here and skipped),
or progress without a commit (progress is what is believed); never progress without rows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from topics.catalog import EVENTS


class Resume(NamedTuple):
    """Read from `start`; do not insert the records at the offsets of `skip`, they are archived."""

    start: int
    skip: frozenset[int]


def resume(progress: int | None, present: Collection[int], begin: int) -> Resume:
    """`progress`: the progress row's next offset (None: nothing was ever archived); `present`: archived offsets at or above it.

    The progress row is the greatest offset below which nothing is missing: it is written after its rows, and passes holes (markers,
    aborted records) that rows alone cannot tell from loss. What lies archived above it is read again and not inserted again: an insert
    is atomic only for each part, so of a batch that was cut off any subset may be there. `begin` is the log's first offset, used only
    where there is no progress: a log that lost what was not archived is refused by the caller, never skipped (H34).
    """
    start = begin if progress is None else progress
    return Resume(start, frozenset(offset for offset in present if offset >= start))


def gap_sentence(topic: str, partition: int, wanted: int, begin: int, end: int) -> str:
    """Why a partition cannot go on: retention passed it, or the log was cut or recreated."""
    adopt = f"`tidemark adopt --partition {partition}`"
    goes_on = f"{adopt} begins a new generation without them" if topic == EVENTS else "a new clickhouse.database archives what is left"
    if wanted < begin:
        return (
            f"{topic} {partition}: offsets {wanted} to {begin - 1} were removed by retention before they were archived; the archive stops "
            f"there rather than show what it cannot prove. Raise the topic's retention; {goes_on}"
        )
    return f"{topic} {partition}: archived up to {wanted}, but the log ends at {end}: it was recreated or cut; {goes_on}"
