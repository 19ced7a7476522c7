"""Which segments hold the state now, and which may go: the log-structured side of law 4.

A segment is tombstoned only after every row in it stands in a newer, acknowledged segment. The oldest segments' live rows are said again in small
portions, so neither the topic nor a recovery grows with history.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from streams.duplicates import U64
from streams.probing import Slots
from streams.row_segments import pack_rows, spelled_names
from streams.row_store import RowStore
from streams.segments import (
    COUNTERS,
    DEFINITIONS,
    IDS,
    IDS_A_SEGMENT,
    ROW_BYTES,
    ROWS,
    ROWS_A_SEGMENT,
    DefinitionSegment,
    IdSegment,
    SegmentKey,
    encode_segment,
)
from streams.state import PartitionState
from topics.codec import encode
from topics.definitions import Definition

SPARE_SEGMENTS: Final = 64
"""Row segments beyond twice what the live rows need: fewer rewrite too often at low rates, more slow a recovery down."""
RESAID_ROWS: Final = 4000
"""Rows said again in one flush: one segment more, so a flush never takes much longer than its own rows."""
MERGED_PARTS: Final = 8
"""An hour's ids in more segments than this are written again as few large ones once the hour is over."""
MERGED_IDS: Final = 4 * IDS_A_SEGMENT
"""Ids written again in one flush: 2.5 MB, some milliseconds; a busy hour is merged over many flushes."""


Prefix = tuple[int, int]
"""(generation, next_offset): a prefix of the log, ordered like a revision."""


class _Rows:
    """One row segment that is in the changelog: the slots of its rows, and how many of them have no newer value elsewhere."""

    __slots__ = ("key", "live", "slots")

    def __init__(self, key: bytes, slots: Slots) -> None:
        self.key = key
        self.slots = slots.astype(np.int32)
        self.live = len(slots)


class _Merge(NamedTuple):
    """An hour whose ids are being written again: `old` segments go once all of its entries, so far those before `done`, are written."""

    bucket: int
    old: list[bytes]
    done: int


class Changelog:
    """Writer of one partition's segments in one assignment; it only builds records, the shell sends them."""

    def __init__(self, epoch: bytes) -> None:
        self.epoch = epoch
        self.number = 0
        self._rows: dict[int, _Rows] = {}
        self._ids: dict[int, list[bytes]] = {}
        self._merge: _Merge | None = None
        self._id_counts: dict[int, int] = {}
        self._garbage: list[bytes] = []
        self._counters: list[bytes] = []
        self._unproven: dict[bytes, Prefix] = {}
        self._unproven_ids: list[tuple[Prefix, bytes, int, int]] = []
        self._foreign_ids: list[tuple[int, bytes]] = []

    def _next(self, kind: bytes) -> tuple[int, bytes]:
        self.number += 1
        return self.number, SegmentKey(kind, self.epoch, self.number).to_bytes()

    def recovered_segment(self) -> int:
        """The number of a row segment found at recovery: whichever rows have it in the end are its live ones."""
        return self._next(ROWS)[0]

    def recovered_rows(self, number: int, key: bytes, slots: Slots) -> None:
        """The rows of such a segment whose newest values it holds."""
        self._rows[number] = _Rows(key, slots)

    def recovered_ids(self, key: bytes, bucket: int, count: int) -> None:
        """An id segment found at recovery."""
        self._ids.setdefault(bucket, []).append(key)
        self._id_counts[bucket] = self._id_counts.get(bucket, 0) + count

    def obsolete(self, key: bytes) -> None:
        """A key found at recovery that holds nothing of use: older counters, rows that stand elsewhere."""
        self._garbage.append(key)

    def unproven(self, key: bytes, upto: Prefix) -> None:
        """A segment found at recovery of a prefix without counters: a crashed flush, or one of a paused writer whose counters are still to come.

        Until our own counters reach that prefix, a recovery after his would need the segment, so it is not tombstoned before.
        """
        self._unproven[key] = upto

    def unproven_ids(self, key: bytes, upto: Prefix, bucket: int, count: int) -> None:
        """Ids of such a flush: like any others once our own counters have reached its prefix."""
        self._unproven_ids.append((upto, key, bucket, count))

    def foreign_ids(self, key: bytes, bucket: int) -> None:
        """Ids under the key of another first writer: of no use here, but should his counters still come, he is right; so they go with their hour."""
        self._foreign_ids.append((bucket, key))

    def counters_key(self) -> bytes:
        """The key of this flush's counters record; those before it become garbage."""
        _, key = self._next(COUNTERS)
        self._garbage += self._counters
        self._counters = [key]
        return key

    def write_rows(self, state: PartitionState, slots: Slots) -> list[tuple[bytes, bytes]]:
        """Segments with the newest values of these rows, each once."""
        out: list[tuple[bytes, bytes]] = []
        while len(slots):
            part = slots[: _fitting(state.rows.store, slots[:ROWS_A_SEGMENT])]
            packed = pack_rows(state.rows.store, part, state.generation, state.counters.next_offset, spelled_names)
            out.append((self._hold(state, part), encode_segment(packed)))
            slots = slots[len(part) :]
        return out

    def _hold(self, state: PartitionState, slots: Slots) -> bytes:
        """The key of the segment that holds the newest values of these rows from now on."""
        number, key = self._next(ROWS)
        self._leave(state, slots)
        state.rows.store.columns["segment"][slots] = number
        self._rows[number] = _Rows(key, slots)
        return key

    def _leave(self, state: PartitionState, slots: Slots) -> None:
        numbers, counts = np.unique(state.rows.store.columns["segment"][slots], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            held = self._rows.get(number)
            if held is None:
                continue
            held.live -= count
            if held.live == 0:
                self._garbage.append(held.key)
                del self._rows[number]

    def retire(self, state: PartitionState, slots: Slots) -> None:
        """Rows that are final: their segments may go once nothing live is left in them."""
        self._leave(state, slots)
        state.rows.store.columns["segment"][slots] = -1

    def said_again(self, state: PartitionState, written: Slots) -> Slots:
        """Live rows of the oldest segments, where there are too many segments for the live rows; `written` are in this flush."""
        allowed = SPARE_SEGMENTS + 2 * (state.rows.count // ROWS_A_SEGMENT)
        parts, rows, segment = [np.zeros(0, np.int64)], 0, state.rows.store.columns["segment"]
        for number in sorted(self._rows)[: max(0, len(self._rows) - allowed)]:
            slots = self._rows[number].slots.astype(np.int64)
            parts.append(slots[(segment[slots] == number) & ~np.isin(slots, written)])
            rows += len(parts[-1])
            if rows >= RESAID_ROWS:
                break
        return np.concatenate(parts)

    def write_ids(self, state: PartitionState, new: list[tuple[int, U64]]) -> list[tuple[bytes, bytes]]:
        """Segments of new ids, and a portion of one hour's small segments merged into large ones."""
        out: list[tuple[bytes, bytes]] = []
        prefix = (state.generation, state.counters.next_offset)
        for _, key, bucket, count in [found for found in self._unproven_ids if found[0] <= prefix]:
            self.recovered_ids(key, bucket, count)
        self._unproven_ids = [found for found in self._unproven_ids if found[0] > prefix]
        buckets: dict[int, list[bytes]] = {}
        for bucket, digests in new:
            buckets.setdefault(bucket, []).append(digests.tobytes())
        for bucket, parts in buckets.items():
            out += self._write_bucket(state, bucket, b"".join(parts))
        for bucket in [bucket for bucket in self._ids if bucket < state.clocks.dead_before]:
            self._garbage += self._forget_bucket(bucket)
        self._garbage += [key for bucket, key in self._foreign_ids if bucket < state.clocks.dead_before]
        self._foreign_ids = [(bucket, key) for bucket, key in self._foreign_ids if bucket >= state.clocks.dead_before]
        return out + self._merge_on(state)

    def _merge_on(self, state: PartitionState) -> list[tuple[bytes, bytes]]:
        """The next portion of the hour that is being merged. Its old segments become garbage with the last one.

        An hour that is over takes no more ids, so portions of its entries, taken in several flushes, are all of them. After a crash in between
        both copies are there, and recovery keeps each id once.
        """
        merge = self._merge
        if merge is not None and merge.bucket not in self._ids:  # it died meanwhile, with both copies
            merge = None
        if merge is None:
            bucket = self._scattered_bucket()
            if bucket is None:
                self._merge = None
                return []
            merge = _Merge(bucket, list(self._ids[bucket]), 0)
        out = self._write_bucket(state, merge.bucket, state.ids.in_bucket(merge.bucket, merge.done, MERGED_IDS).tobytes())
        merge = merge._replace(done=merge.done + MERGED_IDS)
        self._merge = merge
        if merge.done >= state.ids.entries(merge.bucket):
            gone = set(merge.old)
            self._ids[merge.bucket] = [key for key in self._ids[merge.bucket] if key not in gone]
            self._id_counts[merge.bucket] = state.ids.entries(merge.bucket)
            self._garbage += merge.old
            self._merge = None
        return out

    def _scattered_bucket(self) -> int | None:
        """An hour that is over and whose ids lie in far more segments than they need."""
        hour = max(self._ids, default=0)
        for bucket, keys in self._ids.items():
            if bucket < hour and len(keys) > MERGED_PARTS + 2 * (self._id_counts[bucket] // IDS_A_SEGMENT):
                return bucket
        return None

    def _forget_bucket(self, bucket: int) -> list[bytes]:
        del self._id_counts[bucket]
        return self._ids.pop(bucket)

    def _write_bucket(self, state: PartitionState, bucket: int, digests: bytes) -> list[tuple[bytes, bytes]]:
        out: list[tuple[bytes, bytes]] = []
        for start in range(0, len(digests), IDS_A_SEGMENT * 16):
            _, key = self._next(IDS)
            self._ids.setdefault(bucket, []).append(key)
            part = digests[start : start + IDS_A_SEGMENT * 16]
            self._id_counts[bucket] = self._id_counts.get(bucket, 0) + len(part) // 16
            segment = IdSegment(state.generation, state.counters.next_offset, bucket, part, state.digester.name)
            out.append((key, encode_segment(segment)))
        return out

    def write_definitions(self, state: PartitionState, definitions: list[Definition]) -> list[tuple[bytes, bytes]]:
        """Segments with the versions of this flush, in order of their keys; kept for ever, they are few."""
        parts: list[list[bytes]] = [[]]
        size_bytes = 0
        for encoded in map(encode, definitions):
            if parts[-1] and size_bytes + len(encoded) > ROW_BYTES:  # thousands of customers may be bound at once
                parts.append([])
                size_bytes = 0
            parts[-1].append(encoded)
            size_bytes += len(encoded)
        return [
            (self._next(DEFINITIONS)[1], encode_segment(DefinitionSegment(state.generation, state.counters.next_offset, part)))
            for part in parts
            if part
        ]

    def take_garbage(self, prefix: Prefix) -> list[bytes]:
        """Keys to tombstone once this flush's counters, at `prefix`, are acknowledged."""
        garbage = [key for key in self._garbage if self._unproven.get(key, prefix) <= prefix]
        self._garbage = [key for key in self._garbage if self._unproven.get(key, prefix) > prefix]
        self._unproven = {key: upto for key, upto in self._unproven.items() if upto > prefix}
        return garbage


def _fitting(store: RowStore, slots: Slots) -> int:
    """How many of these rows, from the first on, one segment takes: a producer chooses names, and a record that the topic refuses stops the meter."""
    names_bytes = store.names_bytes(slots)
    return max(1, int(np.searchsorted(np.cumsum(names_bytes), ROW_BYTES, "right")))
