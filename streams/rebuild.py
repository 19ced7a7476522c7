"""A partition's state built again from a copy of its log, by the very fold that bills: what `tidemark replay` shows and `tidemark restore` writes.

Only a fold from the partition's base is exact: ids, versions and the log's now depend on everything below an offset. Rows that are final are let
go on the way as the meter does, so memory holds what the meter's would. Pure: who reads the copy and who writes the segments is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from streams.adopt import adopt
from streams.changelog import Changelog
from streams.columns import Reader
from streams.durability import retire
from streams.rows import NEVER, Row
from streams.segments import ROWS_A_SEGMENT
from streams.sends import Send
from streams.state import Facts, Identity, PartitionState
from streams.step import pass_time, step
from topics.batch import Batch
from topics.catalog import DEFINITIONS, STATE
from topics.codec import encode
from topics.definitions import Definition, definition_key
from topics.instants import US_PER_S
from topics.verdict import Counters
from topics.windows import Window

Emitted = Callable[[Sequence[Row]], Mapping[Window, int]]
"""Of each row's window the greatest revision that somebody holds who need not be told again; no entry: none."""


class Rebuild:
    """One partition, from the base of its first log on. Drive it so: `fold` batches in order, `begin_generation` where the log was adopted, now and
    then `let_go`; then read `state`, or write `definitions`, `segments` and, last of all, `counters`."""

    def __init__(self, partition: int, partitions: int, *, id_key: bytes, writer_epoch: bytes, base: int = 0) -> None:
        """`writer_epoch` and `id_key` are 8 and 16 fresh random bytes."""
        self.state = PartitionState(partition, partitions, id_key, base=base)
        self.changelog = Changelog(writer_epoch)
        self.published: dict[bytes, Definition] = {}
        """What was put in force, the last word of each key, in the order of those words: as compaction would leave `usage.definitions`."""
        self._reader = Reader(self.state)

    def fold(self, batch: Batch) -> Facts:
        """Fold a batch; returns what it brought beside its rows. Raises Halt or CorruptState as `step` does."""
        state = self.state
        step(state, self._reader, batch)
        facts, state.facts = state.facts, Facts()
        state.new_ids.clear()
        state.rebound.clear()
        state.clocked.clear()
        state.flushes.clear()
        for definition in facts.definitions:
            key = definition_key(definition)
            self.published.pop(key, None)
            self.published[key] = definition
        return facts

    def pass_time(self, now_ms: int) -> None:
        """Records that are not given to `fold` have moved the log's now so far."""
        pass_time(self.state, now_ms)

    def begin_generation(self, base: int) -> None:
        """The log ended here, and another one was adopted from its offset `base` on: what `adopt` writes, taken without a changelog between."""
        state = self.state
        state.closed.append(state.counters.next_offset)
        state.generation += 1
        state.counters = Counters(base=base, next_offset=base, postings=state.counters.postings)
        state.clocks.close_offset = -1
        state.identity = Identity()
        self._reader = Reader(state)

    def let_go(self, emitted: Emitted) -> list[Row]:
        """Let go of rows that are final and were emitted as they stand; returns copies of those that are final, let go or not."""
        rows = self.final()
        _note(rows, emitted)
        shown = [row.copy() for row in rows]
        retire(self.state, self.changelog)
        return shown

    def final(self) -> list[Row]:
        """Live rows that no event can change any more: by the log's now, or by their customer's test clock."""
        state = self.state
        parts = state.rows.ends.until(state.clocks.final_until_us // US_PER_S)
        for customer, ends in state.rows.own.items():
            parts += ends.until(state.definitions.final_us(customer, state.clocks.final_until_us) // US_PER_S)
        return [row for slots in parts for row in state.rows.rows(slots.tolist())]

    # ── what is written ──────────────────────────────────────────────────────────────────────────────────────────────
    def definitions(self) -> list[Send]:
        """`usage.definitions` as compaction would have left it."""
        partition = self.state.partition
        return [Send(DEFINITIONS, partition, key, encode(definition)) for key, definition in self.published.items()]

    def segments(self, emitted: Emitted) -> Iterator[list[Send]]:
        """The changelog's segments but for the counters, in portions of a few megabytes: without counters they mean nothing."""
        state = self.state
        rows = state.rows.all()
        _note(rows, emitted)
        for at in range(0, len(rows), ROWS_A_SEGMENT):
            slots = np.array([row.slot for row in rows[at : at + ROWS_A_SEGMENT]], np.int64)
            yield self._sends(self.changelog.write_rows(state, slots))
        state.live_ids()  # forgets hours that are dead
        for bucket in sorted(state.id_counts):
            yield self._sends(self.changelog.write_ids(state, [(bucket, state.ids.in_bucket(bucket))]))
        yield self._sends(self.changelog.write_definitions(state, list(self.published.values())))

    def counters(self, *, generation: int, begin: int, cluster_id: str) -> Send:
        """The counters record that makes the segments the state of a new log, whose first offset is `begin`, as its `generation`. Write it last."""
        while self.state.generation < generation - 1:
            self.begin_generation(0)
        return adopt(self.state, self.changelog, begin=begin, cluster_id=cluster_id)

    def _sends(self, records: Iterable[tuple[bytes, bytes]]) -> list[Send]:
        return [Send(STATE, self.state.partition, key, value) for key, value in records]


def _note(rows: Sequence[Row], emitted: Emitted) -> None:
    """What is known to be emitted of rows: never more than they hold, since what was lost with the log is no part of them."""
    held = emitted(rows) if rows else {}
    for row in rows:
        row.emitted = min(held.get(row.window, NEVER), row.rev)
