"""Which event broke a window: those that the log has and the archive has not, or has otherwise; without Kafka the offsets that are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from infra.auditing.archive import PartitionArchive, digest_of
from infra.auditing.recount import LogRecord
from infra.kafka_io import begin_offsets, reader
from infra.reconciling.archive import Archive, Reader
from infra.reconciling.drift import Coordinate
from topics.catalog import EVENTS
from topics.errors import TidemarkError

MOST_RECORDS: Final = 200_000
"""Of a window's stretch of the log so many records are compared one by one: some seconds."""
MOST_SHOWN: Final = 20
CHUNK: Final = 20_000


class Stretch(NamedTuple):
    """Where the events of one broken window lie: of a customer, on one generation of a partition, [first, last]."""

    customer: str
    partition: int
    generation: int
    first: int
    last: int


class Suspects:
    """Looks for the events of broken windows. `bootstrap` None: Kafka is not asked."""

    def __init__(self, archive: Archive, rows: Reader, bootstrap: str | None) -> None:
        self._archive = archive
        self._rows = rows
        self._bootstrap = bootstrap

    def of(self, stretch: Stretch) -> tuple[Coordinate, ...]:
        """The events that are not there, or not what the log has, as far as that can be found out."""
        if stretch.last - stretch.first >= MOST_RECORDS:
            return ()
        offsets = self._by_log(stretch)
        if offsets is None:
            holes = self._archive.holes(stretch.partition, stretch.generation, stretch.first, stretch.last + 1, MOST_SHOWN + 1)
            offsets = [offset for first, last in holes for offset in range(first, min(last, first + MOST_SHOWN) + 1)]
            # More holes than one can look at say nothing: transactions leave one each.
            offsets = offsets if len(offsets) <= MOST_SHOWN else []
        return tuple(Coordinate(stretch.partition, stretch.generation, offset) for offset in offsets[:MOST_SHOWN])

    def _by_log(self, stretch: Stretch) -> list[int] | None:
        """By comparison with the log; None where Kafka does not answer, or has not the stretch any more."""
        if self._bootstrap is None:
            return None
        try:
            return asyncio.run(self._compared(self._bootstrap, stretch))
        except TidemarkError:
            return None

    async def _compared(self, bootstrap: str, stretch: Stretch) -> list[int] | None:
        begin = (await begin_offsets(bootstrap, EVENTS, [stretch.partition]))[stretch.partition]
        if begin > stretch.first:
            return None
        found: list[int] = []
        copied = dict(self._copied(stretch))
        async for record in reader(bootstrap, EVENTS, stretch.partition, stretch.first):
            if record.offset > stretch.last:
                break
            said = digest_of(LogRecord(record.offset, record.timestamp, record.key, record.value, record.headers))
            if record.key == stretch.customer.encode() and copied.get(record.offset) != said:
                found.append(record.offset)
        return found

    def _copied(self, stretch: Stretch) -> Iterator[tuple[int, str]]:
        partition = PartitionArchive(self._rows, stretch.partition)
        for start in range(stretch.first, stretch.last + 1, CHUNK):
            end = min(start + CHUNK, stretch.last + 1)
            yield from ((offset, said.says) for offset, said in partition.raw(stretch.generation, start, end).items())
