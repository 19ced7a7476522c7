"""One source partition of the meter, whole: fold, durability, closing, emission. No awaits inside; time and the log's end are arguments.

The shell (`streams/agents.py`) and the simulation drive this same object.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from streams.changelog import Changelog
from streams.closing import Closing, WindowCounts
from streams.columns import Reader
from streams.durability import Emission, Flush, build_emission, build_flush
from streams.id_log import Keep, in_memory
from streams.identity import Record, check_identity, identity_offset
from streams.probing import Slots, each_once
from streams.recovery import recover
from streams.rows import revision
from streams.state import PartitionState
from streams.step import step
from topics.batch import Batch
from topics.closed import Closed
from topics.errors import CorruptState
from topics.verdict import Counters

RECORD_BYTES: Final = 100
"""What a record costs until it is flushed (an id, a verdict); one whose bytes are kept costs so many records' worth more."""


class MeterPartition:
    """Drive it so: `recover`, `check_identity`, then `apply` batches, and flushes and emissions in between, never two flushes at once."""

    def __init__(self, state: PartitionState, changelog: Changelog) -> None:
        self.state = state
        self.changelog = changelog
        self.reader = Reader(state)
        self.closing = Closing(state.rows)
        slots = state.rows.store.live()
        self.closing.touch(slots[state.rows.store.is_pending(slots)])
        self.durable_offset = state.counters.next_offset
        """Everything below it is in the changelog, acknowledged."""
        self.unflushed = 0
        """Records applied since the last flush began, large facts counted as many: the shell holds back when it grows."""
        self._whole = True
        self._flushing = False
        self._extent: tuple[int, int] | None = None
        self._dirty: list[Slots] = []
        # No offset: the first flush always speaks, so that a mark which a crash kept from the archive is said again.
        self._flushed_offset = -1
        self._retired_until_s = state.retired.until_s

    @staticmethod
    def recover(
        partition: int,
        partitions: int,
        records: Iterable[tuple[bytes | None, bytes | None, int]],
        *,
        writer_epoch: bytes,
        id_key: bytes,
        cluster_id: str,
        fresh_base: int = 0,
        keep: Keep = in_memory,
    ) -> MeterPartition:
        """From the changelog's records (key, value, offset). `writer_epoch` and `id_key` are 8 and 16 fresh random bytes; the latter is used
        only where there is no state yet; `keep` holds the older ids (`streams/id_log.py`). Raises CorruptState or UnknownVersion, naming the record.
        """
        changelog = Changelog(writer_epoch)
        state = recover(partition, partitions, records, changelog=changelog, id_key=id_key, base=fresh_base, keep=keep)
        if not state.identity.cluster_id:
            state.identity.cluster_id = cluster_id
        return MeterPartition(state, changelog)

    def stand_on(self, bounds: tuple[int, int] | None) -> None:
        """It was recovered from a changelog of these bounds [begin, end); the end rises with each record of ours that is acknowledged."""
        self._extent = bounds

    def durable_extent(self) -> tuple[int, int] | None:
        """The bounds of the changelog of which a recovery makes exactly this state, if nobody else has written to it; None where anything of it
        is not durable, or may be so by half."""
        state = self.state
        is_clean = self._whole and not self._flushing and not self._dirty and not state.facts and not state.new_ids
        return self._extent if is_clean and self.durable_offset == self.next_offset else None

    def go_on(self, writer_epoch: bytes) -> None:
        """The state of an earlier assignment goes on in another one, which writes under keys of its own (law 4)."""
        self.changelog.epoch = writer_epoch

    @property
    def next_offset(self) -> int:
        """The next offset to fold."""
        return self.state.counters.next_offset

    @property
    def generation(self) -> int:
        """How often the log was adopted anew."""
        return self.state.generation

    @property
    def counters(self) -> Counters:
        """Law 7's counters."""
        return self.state.counters

    @property
    def log_now_ms(self) -> int:
        """Law 0's now: the greatest LogAppendTime folded."""
        return self.state.clocks.now_ms

    @property
    def identity_offset(self) -> int | None:
        """The offset whose record `check_identity` wants."""
        return identity_offset(self.state)

    def check_identity(self, *, cluster_id: str, begin: int, end: int, record: Record | None) -> None:
        """Law 3. Raises ForeignLog or LostLog, with the command that goes on."""
        check_identity(self.state, cluster_id=cluster_id, begin=begin, end=end, record=record)

    def apply(self, batch: Batch) -> None:
        """Fold a batch. Raises Halt. Whatever is raised, the batch may be folded by half, and the state is never flushed again."""
        before, held_bytes = self.next_offset, self.state.facts.bytes
        self._whole = False
        changed = step(self.state, self.reader, batch)
        if len(changed):
            self._dirty.append(changed)
            self.closing.touch(changed)
        self._whole = True
        self.unflushed += self.next_offset - before + (self.state.facts.bytes - held_bytes) // RECORD_BYTES

    def begin_flush(self) -> Flush | None:
        """All that is new since the last flush began, or None. A flush whose sends fail must end the partition's assignment."""
        if not self._whole:
            raise CorruptState(f"usage.events {self.state.partition}: a batch was folded by half, which must not become durable; restart the worker")
        self.closing.flush_begins()
        moved = self.next_offset != self._flushed_offset
        until_s = self.state.clocks.final_until_us // 1_000_000
        first_end_s = self.state.rows.ends.first_end()
        may_retire = first_end_s is not None and self._retired_until_s < first_end_s <= until_s and self._first_end_is_emitted(first_end_s)
        if not (moved or self._dirty or may_retire):
            return None
        dirty, self._dirty = each_once(self._dirty), []
        self.unflushed = 0
        self._flushing = True
        flush = build_flush(self.state, self.changelog, dirty, moved=moved)
        self.closing.let_go(flush.retired)
        self._flushed_offset, self._retired_until_s = flush.next_offset, self.state.retired.until_s
        return flush

    def _first_end_is_emitted(self, end_s: int) -> bool:
        rows = self.state.rows
        return not rows.store.is_pending(rows.ends.at(end_s)).any()

    def end_flush(self, flush: Flush) -> int:
        """All of the flush is acknowledged: returns the offset that may be committed."""
        self.durable_offset = max(self.durable_offset, flush.next_offset)
        self._flushing = False
        if self._extent is not None:
            self._extent = self._extent[0], self._extent[1] + flush.changelog_records()
        return self.durable_offset

    def tick(self, now_ms: int, last_stable_offset: int | None) -> bool:
        """Closing at the wall clock `now_ms`. True: ask for the last stable offset now and give it to the next tick."""
        return self.closing.tick(self.state, self.durable_offset, now_ms, last_stable_offset)

    def due(self, now_ms: int, limit: int = 5000) -> list[Emission]:
        """Revisions to emit now; all of them durable."""
        if not self._whole:
            return []
        rows = self.closing.due(revision(self.generation, self.durable_offset), limit)
        return [build_emission(self.state, value, now_ms)._replace(row=row) for row, value in rows]

    def end_emission(self, emissions: list[Emission]) -> None:
        """They stand on `usage.windows`, acknowledged; the next flush keeps that."""
        for emission in emissions:
            row = emission.row
            row.emitted = max(row.emitted, emission.rev)
        slots = np.array([emission.row.slot for emission in emissions], np.int64)
        self._dirty.append(slots)
        self.closing.emitted(slots)

    def closed(self) -> Closed | None:
        """How far everything is closed and emitted, where somebody wants to know (`topics/closed.py`) and it is not said yet."""
        until_ms = self.closing.marking.word()
        if until_ms is None or not self._whole:
            return None
        return Closed(partition=self.state.partition, generation=self.generation, until_ms=until_ms, offset=self.durable_offset)

    def windows(self, now_ms: int) -> WindowCounts:
        """Rows that have something to emit."""
        return self.closing.counts(now_ms)

    def oldest_due_ms(self, now_ms: int) -> int | None:
        """Since when the row that is due longest waits to be emitted; None where none is due."""
        return self.closing.oldest_due_ms(now_ms)

    def status(self) -> dict[str, Any]:
        """One line of `/status`, but for the log's end."""
        counters = self.counters
        return {
            "partition": self.state.partition,
            "generation": self.generation,
            "base": counters.base,
            "next_offset": counters.next_offset,
            "durable_offset": self.durable_offset,
            "counted": counters.counted,
            "duplicate": counters.duplicate,
            "rejected": counters.rejected,
            "too_late": counters.too_late,
            "rerouted": counters.rerouted,
            "control": counters.control,
            "skipped": counters.skipped,
            "residual": counters.residual,
            "log_now_ms": self.log_now_ms,
            "rows": self.state.rows.count,
            "retired": self.state.all_retired().rows,
        }
