"""What Kafka knows beyond the archive: how far the meter has closed, how far the report is, and whether the archive has followed.

Months later, or once Kafka is lost, none of it is there: then what was due is taken as due only where a partition has long been silent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from infra import topics_admin
from infra.face import group
from infra.kafka_io import committed_offsets, end_offsets, reader
from topics.catalog import DEFINITIONS, RECEIPTS, WINDOWS
from topics.closed import Closed
from topics.definitions import decode_definition
from topics.errors import Unreachable
from topics.positions import offset_of

FOLLOWED: Final = (WINDOWS, RECEIPTS)
PATIENCE_S: Final = 60.0
"""How long the archive may take to follow what lay on the topics when the provider had been read: it needs two seconds."""


class Reach(NamedTuple):
    """One partition: the meter's newest word on what it has closed, and below which offset of usage.windows the receipts hold everything."""

    closed: Closed | None
    taken: int


class Following:
    """One Kafka."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.partitions: tuple[int, ...] = ()

    def reach(self) -> dict[int, Reach] | None:
        """How far meter and report are, by partition; None where Kafka does not answer."""
        try:
            return asyncio.run(self._reach())
        except Unreachable:
            return None

    async def _reach(self) -> dict[int, Reach]:
        count = await topics_admin.partition_count(self._bootstrap, WINDOWS)
        self.partitions = tuple(range(count))
        # The report's word first: what it has taken was closed before.
        taken = await committed_offsets(self._bootstrap, group("report"), WINDOWS, self.partitions)
        closed = {partition: await self._closed(partition) for partition in self.partitions}
        return {partition: Reach(closed[partition], taken.get(partition) or 0) for partition in self.partitions}

    async def _closed(self, partition: int) -> Closed | None:
        found: Closed | None = None
        async for record in reader(self._bootstrap, DEFINITIONS, partition, 0):
            if record.value is None:
                continue
            said = decode_definition(record.value, f"{DEFINITIONS} {partition}, offset {record.offset}")
            found = said if isinstance(said, Closed) else found
        return found

    def ends(self) -> dict[str, dict[int, int]]:
        """Where windows and receipts end now, for a reader of committed records. Raises Unreachable."""

        async def ask() -> dict[str, dict[int, int]]:
            return {topic: await end_offsets(self._bootstrap, topic, self.partitions) for topic in FOLLOWED}

        return asyncio.run(ask())


def wait(ends: Mapping[str, Mapping[int, int]], archived: Callable[[], Mapping[str, Mapping[int, int]]], patience_s: float = PATIENCE_S) -> set[int]:
    """Returns the partitions that the archive has not followed up to `ends` when patience ended."""
    until = time.monotonic() + patience_s
    while behind := _behind(ends, archived()):
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    return behind


def _behind(ends: Mapping[str, Mapping[int, int]], archived: Mapping[str, Mapping[int, int]]) -> set[int]:
    pairs: Iterable[tuple[str, int, int]] = ((topic, partition, end) for topic, of in ends.items() for partition, end in of.items())
    # After a restore the archive counts in places (topics/positions.py): the newest is in the log that there is now.
    return {partition for topic, partition, end in pairs if end and offset_of(archived.get(topic, {}).get(partition, 0)) < end}
