"""Events that one partition had sent to their home, and whose copy the home's archive does not have: sent there again, as the meter would have.

Their own records are archived where they first lay, so they are not lost, and nobody else would miss them: to their producer they are as old as
their first arrival. A copy that had arrived all the same, and was counted beyond what the archive has, is counted once: its id went with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from streams.sends import Send
from streams.state import Facts, Rerouting
from topics.batch import Batch, Headers
from topics.catalog import EVENTS
from topics.origin import origin_of

RECENT_MS: Final = 3_600_000
"""A copy is sent within the flush after its event, so an hour before the archive's end is far more than it needs; it bounds what is remembered."""
_FAR_MS: Final = 1 << 62


class OnTheWay:
    """What was sent home and what arrived, over all partitions that are restored, from `since_ms` on."""

    def __init__(self, since_ms: int) -> None:
        self._since_ms = since_ms
        self._sent: dict[tuple[int, int], Rerouting] = {}
        self._arrived: set[tuple[int, int]] = set()

    def note(self, facts: Facts) -> None:
        """What a fold sends home."""
        for one in facts.rerouted:
            origin = origin_of(one.headers, _FAR_MS)
            if origin.partition is not None and origin.offset is not None and origin.received_at_ms >= self._since_ms:
                self._sent[origin.partition, origin.offset] = one

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches of a partition, on whose way past what arrived is noted."""
        for batch in batches:
            for headers, timestamp_ms in zip(batch.headers, batch.timestamps_ms, strict=True):
                if headers and timestamp_ms >= self._since_ms:
                    self._arrive(headers, timestamp_ms)
            yield batch

    def _arrive(self, headers: Headers, timestamp_ms: int) -> None:
        origin = origin_of(headers, timestamp_ms)
        if origin.partition is not None and origin.offset is not None:
            self._arrived.add((origin.partition, origin.offset))

    def missing(self, homes: Collection[int]) -> list[Send]:
        """Copies for these homes that their archives do not have, in the order of their events."""
        away = [(place, one) for place, one in sorted(self._sent.items()) if one.home in homes and place not in self._arrived]
        return [Send(EVENTS, one.home, one.key, one.value, one.headers) for _, one in away]
