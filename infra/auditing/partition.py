"""One partition's audit, from the first question to the last comparison (`run.py` says what it is compared with, and at which point)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from infra.auditing import compare
from infra.auditing.archive import CHUNK, PartitionArchive, Reach, Reader
from infra.auditing.claims import Claims, Revision
from infra.auditing.findings import Finding, Findings, PartitionAudit
from infra.auditing.recount import NoMeters, Recount, Tally
from infra.auditing.sources import Bounds, Source, emitted, published, table_claims, table_state
from infra.auditing.views import ArchiveCheck
from streams.state import PartitionState
from topics.catalog import EVENTS, VERDICTS, WINDOWS
from topics.errors import CorruptState, LostLog, MalformedRecord

ARCHIVE_WAIT_S: Final = 15.0
"""The archive is mostly a second behind; what it has not after this is said not to be compared."""
LOOK_EVERY_S: Final = 0.5
STEP: Final = 500
"""Records between two steps of the progress bar, and two looks of the event loop at anything else."""
FAR: Final = 2**63


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be audited. `partitions` empty: all; `archive` None: ClickHouse is left out; `since_ms`: ids only where received since."""

    partitions: Sequence[int] = ()
    customer: str | None = None
    archive: Reader | None = None
    since_ms: int = -1
    tell: Callable[[str], None] = lambda _: None
    step: Callable[[int], None] = lambda _: None


class PartitionRun:
    """One partition, from the first question to the last comparison."""

    def __init__(self, source: Source, partition: int, partitions: int, order: Order) -> None:
        self.partition = partition
        self.result = PartitionAudit(partition, findings=Findings(customer=order.customer))
        self.recount: Recount | None = None
        self.is_recounted = False
        self._source = source
        self._read_to = 0
        self._partitions = partitions
        self._order = order
        self._findings = self.result.findings
        self._claims = Claims()
        self._archive = None if order.archive is None else PartitionArchive(order.archive, partition)

    async def audit(self) -> None:
        """Everything about this partition but what other partitions have to say about it."""
        self._order.tell(f"partition {self.partition}: reading the table")
        try:
            state = await table_state(self._source, self.partition, self._partitions)
        except (CorruptState, MalformedRecord) as error:
            self._findings.add(_unrecoverable(self.partition, str(error)))
            self.result.cannot("nothing else: without the table there is no point of the log to count up to")
            return
        result, bounds = self.result, await self._source.bounds(EVENTS)
        result.generation, result.base, result.next_offset = state.generation, state.counters.base, state.counters.next_offset
        result.log_begin, result.residual, result.table = bounds.begin, state.counters.residual, compare.numbers(state.counters)
        if state.definitions.meters_digest is None:
            result.cannot("anything: no meter has counted it yet (`tidemark apply` puts meters in force)")
            return
        compare.check_residual(state, self._findings)
        reach = await self._archive_reach(state)
        has_all = await self._read_claims(state)
        await self._recount(state, bounds, reach)
        await self._compare(state, has_all)
        self._claims = Claims()
        if self.recount is not None:
            self.recount.let_go()

    async def read_on(self) -> None:
        """Look for re-routed copies in what has come to the log since it was read."""
        if self.recount is not None:
            async with aclosing(self._source.log(self._read_to)) as records:
                async for record in records:
                    self.recount.note_origin(record)

    # ── what is claimed ──────────────────────────────────────────────────────────────────────────────────────────────
    async def _archive_reach(self, state: PartitionState) -> dict[int, Reach]:
        """How far ClickHouse is, once it has reached the point or the wait for it is over."""
        if self._archive is None:
            self.result.cannot("ClickHouse: it was left out")
            return {}
        now = asyncio.get_running_loop().time
        deadline = now() + ARCHIVE_WAIT_S
        while True:
            reach = await asyncio.to_thread(self._archive.reach)
            mine, point = reach.get(state.generation), state.counters.next_offset
            if (mine is not None and mine.whole_to >= point) or now() >= deadline:
                break
            self._order.tell(f"partition {self.partition}: waiting for the archive to reach offset {point}")
            await asyncio.sleep(LOOK_EVERY_S)
        self.result.archived_to = None if mine is None else min(point, mine.whole_to)
        if mine is None:
            self.result.cannot(f"ClickHouse: it has no mark of generation {state.generation}")
        elif mine.whole_to < point:
            self.result.cannot(f"offsets {mine.whole_to} to {point - 1} in ClickHouse: they are not archived yet")
        return reach

    async def _read_claims(self, state: PartitionState) -> bool:
        """Collects what every source says of every revision; returns whether usage.windows has all that was ever emitted."""
        self._order.tell(f"partition {self.partition}: reading usage.windows")
        # Asked before the topic is read: what was archived by now is on it.
        archived_to = 0 if self._archive is None else await asyncio.to_thread(self._archive.archived_to, WINDOWS)
        kept = [] if self._archive is None else await asyncio.to_thread(self._archive.revisions)
        latest = [] if self._archive is None else await asyncio.to_thread(self._archive.latest)
        topic = await emitted(self._source, self.partition, self._partitions, self._findings)
        for claims in (table_claims(state), topic.claims, kept, latest):
            self._claims.add(claims, self._findings, self.partition)
        if self._archive is not None:
            offsets = {claim.revision: claim.log_offset for claim in (*reversed(topic.claims), *kept)}
            compare.check_archived(
                self._claims, archived_to=archived_to, begin=topic.begin, offsets=offsets, partition=self.partition, findings=self._findings
            )
        if topic.begin:
            self.result.cannot(f"{WINDOWS} below offset {topic.begin}: retention has removed it; ClickHouse's copy stands for it")
        if is_another := state.generation > 0 if self._archive is None else await asyncio.to_thread(self._archive.was_lost, WINDOWS):
            self.result.cannot(f"{WINDOWS} of before the log was lost or adopted: ClickHouse's copy stands for it")
        return not topic.begin and not is_another

    # ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────
    async def _recount(self, state: PartitionState, bounds: Bounds, reach: dict[int, Reach]) -> None:
        """Counts the log again up to the point, where all of it is left somewhere."""
        recount = Recount(self.partition, self._partitions, state.counters.base, self._findings, self._settle)
        recount.since_ms = self._order.since_ms
        self.recount = recount
        if (missing := await self._missing(state, bounds, reach)) is not None:
            self.result.cannot(missing)
            return
        self._order.tell(f"partition {self.partition}: counting offsets {state.counters.base} to {state.counters.next_offset}")
        try:
            for generation in range(state.generation):
                recount.begin_generation(generation, reach[generation].base)
                await self._take_copy(recount, generation, reach[generation].base, state.closed[generation])
                recount.reach(state.closed[generation])
                if recount.counters.skipped != reach[generation].skipped:
                    self._findings.add(_copy_is_short(self.partition, generation, reach[generation].skipped, recount.counters.skipped))
            recount.begin_generation(state.generation, state.counters.base)
            await self._take_log(recount, state, bounds)
        except NoMeters as error:
            self.result.cannot(f"the recount: {error}, and yet the table has counted it")
            return
        except LostLog as error:
            self.result.cannot(f"the recount: {error}")
            return
        self.is_recounted = True

    async def _missing(self, state: PartitionState, bounds: Bounds, reach: dict[int, Reach]) -> str | None:
        """Why the log cannot be counted again, or None: which part of it is neither in Kafka nor in ClickHouse's copy."""
        needed = [(generation, -1, state.closed[generation]) for generation in range(state.generation)]
        if bounds.begin > state.counters.base:
            needed.append((state.generation, state.counters.base, bounds.begin))
        for generation, base, end in needed:
            what = f"a recount: Kafka no longer has offsets below {end} of generation {generation}, and ClickHouse's copy"
            held = reach.get(generation)
            if self._archive is None or held is None:
                return f"{what} is not there or was left out"
            if held.whole_to < end:
                return f"{what} ends at {held.whole_to}"
            base, skipped = (held.base, held.skipped) if base < 0 else (base, state.counters.skipped)
            first = await asyncio.to_thread(self._archive.first_record, generation, base, end) if end > base else base
            if end > base and (first is None or first - base > skipped):
                return f"{what} begins at {first if first is not None else end}: the totals of earlier events cannot be added up again"
        return None

    async def _take_copy(self, recount: Recount, generation: int, start: int, end: int) -> None:
        """Counts a part of ClickHouse's copy."""
        for at in range(start, end, CHUNK):
            chunk = [] if self._archive is None else await asyncio.to_thread(self._archive.records, generation, at, min(end, at + CHUNK))
            for record in chunk:
                recount.take(record)
                self.result.checked.copy_records += 1
                self._count_step()

    async def _take_log(self, recount: Recount, state: PartitionState, bounds: Bounds) -> None:
        """Counts the present generation; on the way, once as much is counted as ClickHouse has, compares with what its views say."""
        base, point = state.counters.base, state.counters.next_offset
        begin = min(max(base, bounds.begin), point)
        if begin > base:
            await self._take_copy(recount, state.generation, base, begin)
            recount.reach(begin)
            self.result.cannot(f"offsets {base} to {begin - 1} against Kafka: retention has removed them; ClickHouse's copy was counted instead")
        check = await self._archive_check(state, begin)
        async with aclosing(self._source.log(begin)) as records:
            async for record in records:
                if not self._read_to and record.offset > begin:
                    await self._must_still_begin_at(begin)
                self._read_to = record.offset + 1
                if record.offset >= point:
                    recount.note_origin(record)
                    continue
                if check is not None and record.offset >= check.due_at:
                    await asyncio.to_thread(check.catch_up, recount, record.offset)
                fate = recount.take(record)
                if check is not None:
                    check.note(record, fate)
                self._count_step()
        recount.reach(point)
        if check is not None:
            await asyncio.to_thread(check.catch_up, recount, point)

    async def _must_still_begin_at(self, begin: int) -> None:
        """The first record lies higher than it might: a hole, or retention between two questions. Later it cannot hide: the reader says so."""
        now = (await self._source.bounds(EVENTS)).begin
        if now > begin:
            raise LostLog(f"retention removed offsets {begin} to {now - 1} just before they were read; audit again")

    async def _archive_check(self, state: PartitionState, begin: int) -> ArchiveCheck | None:
        """The comparison with ClickHouse from `begin` on, or from where an archive begins that was made when the first verdicts were gone."""
        to, base = self.result.archived_to, state.counters.base
        if self._archive is None or to is None:
            return None
        first = await asyncio.to_thread(self._archive.first_record, state.generation, base, to) if to > base else base
        first = to if first is None else first
        if first - base <= state.counters.skipped or (await self._source.bounds(VERDICTS)).begin == 0:
            return ArchiveCheck(self._archive, self.result, begin, to)
        self.result.cannot(
            f"offsets {base} to {first - 1} in ClickHouse, nor what its views add up to: the archive begins at {first}, as the verdicts of "
            "earlier events had left their topic when it was made"
        )
        return ArchiveCheck(self._archive, self.result, max(begin, first), to, has_all=False)

    def _count_step(self) -> None:
        self.result.checked.log_records += 1
        if self.result.checked.log_records % STEP == 0:
            self._order.step(STEP)

    def _settle(self, revision: Revision, tally: Tally) -> None:
        self._claims.settle(revision, tally.total, self._findings, self.partition)

    # ── comparisons ──────────────────────────────────────────────────────────────────────────────────────────────────
    async def _compare(self, state: PartitionState, has_all: bool) -> None:
        """The recount against the table and everything that was emitted; without a recount, the sources among themselves."""
        findings, checked, recount = self._findings, self.result.checked, self.recount if self.is_recounted else None
        unfound = compare.check_emitted(recount, state, self._claims, findings, everywhere=has_all)
        if unfound:
            self.result.cannot(f"{unfound} revisions that were emitted: they are older than what retention has left of {WINDOWS}")
        if recount is None:
            self._claims.among_themselves(findings, self.partition)
            return
        point = (state.generation, state.counters.next_offset)
        checked.newer_revisions = self._claims.left(point, findings, self.partition)
        checked.revisions = self._claims.settled
        checked.windows = len(recount.windows)
        self.result.recounted = compare.numbers(recount.counters)
        compare.check_counters(recount, state, findings)
        checked.rows = compare.check_rows(recount, state, findings)
        compare.check_in_force(recount, state, findings)
        await self._compare_definitions(recount, state)

    async def _compare_definitions(self, recount: Recount, state: PartitionState) -> None:
        try:
            topic = await published(self._source, self.partition)
        except MalformedRecord as error:
            self._findings.add(_unreadable_definition(self.partition, str(error)))
            return
        below = state.counters.next_offset if state.generation == 0 else FAR
        self.result.checked.definitions = compare.check_definitions(
            recount.put_in_force, topic, below=below, exactly=state.generation == 0, partition=self.partition, findings=self._findings
        )


def _copy_is_short(partition: int, generation: int, marked: int, found: int) -> Finding:
    return Finding(
        kind="raw",
        partition=partition,
        what=f"offsets without a record in generation {generation}",
        one="ClickHouse (raw_events)",
        one_says=str(found),
        other="ClickHouse (mark_log)",
        other_says=str(marked),
        cause="rows of raw_events were deleted or added, and Kafka does not have this log any more: what follows may differ for that reason",
    )


def _unrecoverable(partition: int, sentence: str) -> Finding:
    return Finding(
        kind="state",
        partition=partition,
        what="the table cannot be recovered",
        one="usage.state",
        one_says=sentence,
        other="the product's own recovery",
        other_says="a worker that takes this partition halts with the same sentence",
        cause="a record of usage.state was lost, changed or written by something else than the meter",
    )


def _unreadable_definition(partition: int, sentence: str) -> Finding:
    return Finding(
        kind="record",
        partition=partition,
        what="a record of usage.definitions",
        one="usage.definitions",
        one_says=sentence,
        other="the meter",
        other_says="it never writes such a record",
        cause="something else than the meter wrote to usage.definitions: see who may",
    )
