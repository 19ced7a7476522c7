"""One partition's restore, from the first look to the record that makes it valid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from infra.replaying.archived import Generation, Held, clamped
from infra.replaying.folding import NotWhole, Reach, fold_archived, reach_of
from infra.restoring.condition import SENTENCES, Condition, condition_of, found_in
from infra.restoring.ports import Archive, Cluster
from infra.restoring.rerouted import OnTheWay
from streams.rebuild import Rebuild
from streams.rows import Row
from streams.sends import Send
from topics.batch import Batch
from topics.catalog import DEFINITIONS, EVENTS, RECEIPTS, REJECTED, STATE, VERDICTS, WINDOWS
from topics.instants import US_PER_MS, format_us
from topics.positions import log_of, offset_of, position
from topics.windows import Window

ARCHIVED: Final = (WINDOWS, RECEIPTS, REJECTED, VERDICTS, DEFINITIONS)
"""Topics whose archiving goes on from the beginning of their new logs."""
RECEIPTS_A_WRITE: Final = 500
"""A transaction costs 22 ms whatever it holds; a receipt is a kilobyte."""


class LostWindow(NamedTuple):
    """A window that was emitted with events which are not in the archive: what was said of it, and what is left."""

    window: Window
    emitted: Held
    scaled: int
    events: int


@dataclass
class PartitionResult:
    """What a restore finds, would do, or did."""

    partition: int
    condition: Condition = "empty"
    sentence: str = ""
    generation: int = 0
    next_offset: int = 0
    windows: int = 0
    again: int = 0
    ids: int = 0
    receipts: int = 0
    open_intents: int = 0
    definitions: int = 0
    sent_home: int = 0
    lost: list[str] = field(default_factory=list)
    lost_windows: list[LostWindow] = field(default_factory=list)
    done: bool = False


class PartitionRestore:
    """Drive it so: `look`; where it is lost `rebuild`; then, to do it, `write`, and when every partition is written `commit`."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        archive: Archive,
        cluster: Cluster,
        *,
        random_bytes: Callable[[int], bytes],
        step: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.result = PartitionResult(partition)
        self._partitions = partitions
        self._archive = archive
        self._cluster = cluster
        self._step = step
        self._random_bytes = random_bytes
        self._rebuild: Rebuild | None = None
        self._generations: list[Generation] = []
        self._end = Reach(0, 0)
        self._last: tuple[list[Send], Send]

    @property
    def records(self) -> int:
        """How many offsets are to be folded."""
        return sum(generation.whole_to - generation.base for generation in self._generations)

    async def look(self) -> Condition:
        """What is there. Raises CorruptState where usage.state cannot be read."""
        result = self.result
        self._generations = await asyncio.to_thread(self._archive.generations)
        kept = await self._cluster.kept(STATE, result.partition)
        found = found_in(result.partition, self._partitions, [(one.key, one.value, one.offset) for one in kept])
        archived = reach_of(self._generations) if self._generations else None
        result.condition = condition_of(found, archived)
        result.sentence = SENTENCES[result.condition]
        result.generation, result.next_offset = found.generation, found.next_offset
        if archived is not None and result.condition == "lost":
            self._end = archived
        return result.condition

    def last_ms(self) -> int:
        """When the newest archived record was appended. Blocks."""
        return self._archive.last_ms(self._end.generation)

    async def rebuild(self, on_the_way: OnTheWay) -> None:
        """Fold the archive. Raises NotWhole where its copy of the log, or its receipts, are not all there."""
        await asyncio.to_thread(self._rebuilt, on_the_way)

    def _rebuilt(self, on_the_way: OnTheWay) -> None:
        result, end, archive = self.result, self._end, self._archive
        rebuild = Rebuild(result.partition, self._partitions, id_key=self._random_bytes(16), writer_epoch=self._random_bytes(8))
        self._fold(rebuild, on_the_way)
        rows = rebuild.state.rows.all()
        covered = archive.covered(rows)
        result.generation, result.next_offset = max(end.generation, archive.newest_generation()) + 1, end.offset
        result.windows, result.ids, result.definitions = len(rows), rebuild.state.live_ids(), len(rebuild.published)
        result.again = sum(covered.get(row.window, -1) < row.rev for row in rows)
        self._count_receipts()
        self._say_what_is_lost({clamped(row.window): row for row in rows})
        self._rebuild = rebuild

    def _fold(self, rebuild: Rebuild, on_the_way: OnTheWay) -> None:
        archive = self._archive

        def batches(generation: int, start: int, end: int) -> Iterator[Batch]:
            return on_the_way.watch(archive.batches(generation, start, end))

        wrong = fold_archived(
            rebuild, self._generations, batches, self._end, emitted=archive.covered, facts=on_the_way.note, step=self._step
        )
        if wrong:
            raise NotWhole(f"{wrong[0]}. Nothing exact can be built from it: restore ClickHouse from its backup")

    def _count_receipts(self) -> None:
        bare = 0
        for portion in self._archive.receipts():
            self.result.receipts += len(portion)
            self.result.open_intents += sum(receipt.state == "intent" for receipt in portion)
            bare += sum(not receipt.value for receipt in portion)
        if bare:
            raise NotWhole(
                f"partition {self.result.partition}: {bare} receipts were archived by a program that did not keep their bytes, so what was delivered "
                "cannot be told exactly: restore usage.receipts from a backup of Kafka"
            )

    def _say_what_is_lost(self, rows: Mapping[Window, Row]) -> None:
        result, end, archive = self.result, self._end, self._archive
        last_ms = self.last_ms()
        since = f"since {format_us(last_ms * US_PER_MS)}" if last_ms else "since the beginning"
        marked = self._generations[end.generation].marked
        if marked > end.offset:
            result.lost.append(f"offsets {end.offset} to {marked - 1} were counted and are not in the archive: send again what was sent {since}")
        else:
            result.lost.append(f"what came after offset {end.offset} is not in the archive, if anything did: send again what was sent {since}")
        if names := archive.unfolded(position(end.generation, end.offset)):
            result.lost.append(f"in force until the loss, to be applied again: {', '.join(names)}")
        for window, emitted in sorted(archive.beyond(end.generation, end.offset).items()):
            row = rows.get(window)
            result.lost_windows.append(LostWindow(window, emitted, row.scaled if row else 0, row.events if row else 0))

    # ── doing it ─────────────────────────────────────────────────────────────────────────────────────────────────────
    async def write(self) -> None:
        """Everything but what makes it valid. Each step may be done again, wholly or by half:

        1. ClickHouse: archiving goes on from the new logs' beginnings. A crash after it leaves an archive that waits;
        2. receipts whose keys the topic does not have: the same bytes under the same keys whoever writes them;
        3. what a killed restore, or an idle meter, left on usage.state goes;
        4. segments of the state: without counters a recovery takes them for nothing.
        """
        partition, rebuild = self.result.partition, self._rebuild
        if rebuild is None:
            raise ValueError("nothing is rebuilt")
        begin, _ = await self._cluster.bounds(EVENTS, partition)
        await asyncio.to_thread(self._archive.go_on_from, await self._new_places(), self.result.generation, begin)
        await self._write_receipts()
        left = {one.key for one in await self._cluster.kept(STATE, partition) if one.key is not None}
        await self._cluster.send([Send(STATE, partition, key, None) for key in sorted(left)])
        segments = rebuild.segments(self._archive.covered)
        while (sends := await asyncio.to_thread(next, segments, None)) is not None:
            await self._cluster.send(sends)
        definitions, cluster_id = rebuild.definitions(), await self._cluster.cluster_id()
        self._last = (definitions, rebuild.counters(generation=self.result.generation, begin=begin, cluster_id=cluster_id))
        self.let_go()

    async def commit(self) -> None:
        """5. what was in force, on usage.definitions; 6. the counters record: from here on the partition is restored. A crash before 6 costs doing
        all of it again, a crash after it nothing."""
        definitions, counters = self._last
        await self._cluster.send(definitions)
        await self._cluster.send([counters])
        self.result.done = True

    def let_go(self) -> None:
        """The state is written, or was only to be shown: of all partitions at once it would be too much to hold."""
        self._rebuild = None

    async def _new_places(self) -> dict[str, int]:
        """Topics whose log is another one than the archive has read: it ends before what is archived of it."""
        found: dict[str, int] = {}
        places = await asyncio.to_thread(self._archive.places)
        for topic in ARCHIVED:
            place = places.get(topic, 0)
            _, end = await self._cluster.bounds(topic, self.result.partition)
            if end < offset_of(place):
                found[topic] = position(log_of(place) + 1, 0)
        return found

    async def _write_receipts(self) -> None:
        partition = self.result.partition
        there = {one.key for one in await self._cluster.kept(RECEIPTS, partition)}
        portions = self._archive.receipts()
        while (portion := await asyncio.to_thread(next, portions, None)) is not None:
            missing = [(receipt.key, receipt.value) for receipt in portion if receipt.key not in there]
            for at in range(0, len(missing), RECEIPTS_A_WRITE):
                await self._cluster.write_receipts(partition, missing[at : at + RECEIPTS_A_WRITE])
