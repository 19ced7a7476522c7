"""Law 2: what a partition's state stands on in this assignment: the changelog read whole, or the state in memory that those very records make.

A state that was let go of cleanly is kept with the changelog's bounds: its end is where the recovery of that state ended plus the records of our own
that were acknowledged since. Every record takes an offset of its own, so where the changelog still has exactly these bounds nobody else has written
to it, neither before we let go nor after, whoever held the partition; reading it again could only make the same state. Anything else, and the
whole changelog is read. That is a proof from the log; what the group's protocol promises plays no part in it. Pure.
"""

from __future__ import annotations

from collections.abc import Collection

from streams.ports import Base, ChangelogRecord, Kept
from topics.catalog import STATE
from topics.errors import CorruptState


class Bases:
    """The bases of one worker's partitions. Drive it so: `begin`, for each partition `stands`, else `collect`, then `complete`, `take`, `keep`."""

    def __init__(self) -> None:
        self._collected: dict[int, dict[int, ChangelogRecord]] = {}
        self._complete: set[int] = set()
        self._bounds: dict[int, tuple[int, int]] = {}
        self._kept: dict[int, Kept] = {}
        self._standing: set[int] = set()

    def begin(self, partitions: Collection[int]) -> None:
        """A new assignment: what was collected for the one before is no longer a complete base; kept states of others' partitions are let go."""
        self._collected.clear()
        self._complete.clear()
        self._bounds.clear()
        self._standing.clear()
        for partition in self._kept.keys() - set(partitions):
            del self._kept[partition]

    def stands(self, partition: int, begin: int, end: int) -> bool:
        """The changelog has offsets [begin, end), asked after the assignment. True: a state that was kept is what they make, and nothing need be
        read; else the kept one is let go before the reading begins."""
        self._bounds[partition] = begin, end
        self._standing.discard(partition)
        kept = self._kept.get(partition)
        if kept is not None and (kept.begin, kept.end) == (begin, end):
            self._standing.add(partition)
            return True
        self._kept.pop(partition, None)
        return False

    def collect(self, partition: int, record: ChangelogRecord) -> None:
        """Keep each record once. Faust may hand one over twice after an interrupted recovery."""
        self._collected.setdefault(partition, {})[record.offset] = record

    def complete(self, partitions: Collection[int]) -> None:
        """The changelogs were read to the end that they had after this assignment began."""
        self._complete = set(partitions)
        for partition in set(self._collected) - self._complete:
            del self._collected[partition]

    def take(self, partition: int) -> Base:
        """See `streams.ports.Changelog.take`."""
        if partition not in self._complete:
            raise CorruptState(f"{STATE}-{partition} was not recovered in this assignment; restart the worker")
        self._complete.discard(partition)
        collected = self._collected.pop(partition, {})
        bounds = self._bounds.pop(partition, None)
        if partition in self._standing:  # what somebody wrote meanwhile is no whole base; it is read at the next assignment
            self._standing.discard(partition)
            return Base((), bounds, self._kept.pop(partition).core)
        records = [collected[offset] for offset in sorted(collected)]
        if bounds is not None and records:
            bounds = bounds[0], max(bounds[1], records[-1].offset + 1)
        return Base(records, bounds)

    def keep(self, partition: int, kept: Kept) -> None:
        """See `streams.ports.Changelog.keep`."""
        self._kept[partition] = kept
