"""`tidemark replay`: one partition after the other, the archive's copy folded from its base and held against what is running.

The point is the lesser of what the table's changelog stands for and what the archive had by then; totals beyond it are counted, not compared. A
running total is the table's row; where the row was let go as final, the newest revision that was archived.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from infra.auditing.sources import Source, table_state
from infra.replaying.archived import Generation, Held, clamped
from infra.replaying.compare import Comparison, Line, Wanted
from infra.replaying.folding import Reach, fold_archived, reach_of
from streams.rebuild import Rebuild
from streams.rows import Row
from streams.state import PartitionState
from topics.batch import Batch
from topics.content_hash import MODULUS
from topics.instants import US_PER_S
from topics.windows import Window

ARCHIVE_WAIT_S: Final = 15.0
"""The archive is mostly a second behind the table; what it has not after this is not compared."""
LOOK_EVERY_S: Final = 0.5
LONGEST_S: Final = 86_400
"""No window is longer than a day: one that overlaps a range ends at most so much after it."""


@dataclass
class PartitionReplay:
    """What came of one partition. `notes`: what could not be compared, in sentences; `wrong`: why its copy of the log is no base for corrections."""

    partition: int
    upto: Reach = field(default_factory=lambda: Reach(0, 0))
    equal: int = 0
    newer: int = 0
    events: int = 0
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Copy(Protocol):
    """One partition in ClickHouse; `archived.ArchivedLog` is one. Calls block."""

    partition: int

    def generations(self) -> list[Generation]:
        """See `ArchivedLog`."""
        ...

    def batches(self, generation: int, start: int, end: int) -> Iterator[Batch]:
        """See `ArchivedLog`."""
        ...

    def batches_of(self, customer: str, generation: int, start: int, end: int) -> Iterator[tuple[int, Batch]]:
        """See `ArchivedLog`."""
        ...

    def totals(self, from_s: int, to_s: int, customer: str = "", meter: str = "") -> dict[Window, Held]:
        """See `ArchivedLog`."""
        ...


class Replay:
    """One partition's replay."""

    def __init__(self, source: Source, archive: Copy, partitions: int, wanted: Wanted, step: Callable[[int], None]) -> None:
        self.result = PartitionReplay(archive.partition)
        self.state: PartitionState | None = None
        """The running table, whose definitions say what is in force."""
        self._source = source
        self._archive = archive
        self._partitions = partitions
        self._wanted = wanted
        self._step = step

    async def run(self) -> PartitionReplay:
        """Fold and compare. Raises Unreachable, CorruptState, NotWhole where nothing is archived, Halt as the fold does."""
        self.state = await table_state(self._source, self.result.partition, self._partitions)
        point = Reach(self.state.generation, self.state.counters.next_offset)
        generations = await self._reached(point)
        end = reach_of(generations, point)
        self.result.upto = end
        if end < point:
            self.result.notes.append(f"offsets {end.offset} to {point.offset - 1} are counted and not archived yet: their windows are not compared")
        await asyncio.to_thread(self._fold, generations, end)
        return self.result

    async def _reached(self, point: Reach) -> list[Generation]:
        """The archive's logs, once it has reached the table's point or the wait for it is over."""
        now = asyncio.get_running_loop().time
        deadline_s = now() + ARCHIVE_WAIT_S
        while True:
            generations = await asyncio.to_thread(self._archive.generations)
            if (generations and Reach(generations[-1].number, generations[-1].whole_to) >= point) or now() >= deadline_s:
                return generations
            await asyncio.sleep(LOOK_EVERY_S)

    def _fold(self, generations: Sequence[Generation], end: Reach) -> None:
        result, wanted = self.result, self._wanted
        rebuild = Rebuild(result.partition, self._partitions, id_key=os.urandom(16), writer_epoch=os.urandom(8))
        comparison = Comparison(result.partition, wanted, self._running(), end.rev)

        def final(rows: list[Row]) -> None:
            comparison.take(rows, is_final=True)

        def batches(generation: int, start: int, stop: int) -> Iterator[Batch]:
            if not wanted.customer:
                yield from self._archive.batches(generation, start, stop)
                return
            for now_ms, batch in self._archive.batches_of(wanted.customer, generation, start, stop):
                rebuild.pass_time(now_ms)
                yield batch

        wrong = fold_archived(rebuild, generations, batches, end, emitted=everyone_knows, final=final, step=self._step)
        last = rebuild.final()
        comparison.take(last, is_final=True)
        ended = set(last)
        comparison.take((row for row in rebuild.state.rows.all() if row not in ended), is_final=False)
        comparison.rest(rebuild.state.clocks.final_until_us // US_PER_S)
        result.equal, result.newer, result.events, result.lines = comparison.equal, comparison.newer, comparison.events, comparison.lines
        # Of one customer's records alone the fates of the others cannot be counted.
        result.wrong = [] if wanted.customer else wrong

    def _running(self) -> dict[Window, Held]:
        """The newest revision that was archived of each window in question, and over it the table's own rows."""
        wanted, found = self._wanted, dict[Window, Held]()
        for window, held in self._archive.totals(wanted.from_s, wanted.to_s + LONGEST_S, wanted.customer, wanted.meter).items():
            if wanted.takes(window):
                found[window] = held
        for row in self.state.rows.all() if self.state is not None else ():
            if wanted.takes(row.window):
                found[clamped(row.window)] = Held(row.rev, row.scaled, row.events, f"{row.content_hash % MODULUS:064x}")
        return found


def everyone_knows(rows: Sequence[Row]) -> dict[Window, int]:
    """`streams.rebuild.Emitted` of a replay, which emits nothing: what is final may go."""
    return {row.window: row.rev for row in rows}
