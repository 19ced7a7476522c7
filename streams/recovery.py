"""Laws 2 and 4: from the changelog's records, in any order and with anything a crash left, back to the state of one prefix of the log.

The greatest counters record names the prefix. Segments of a later prefix are a crashed flush, or that of a paused writer whose counters may still
come: of them only rows are taken that end below our prefix (a copy said again of a row that did not change since), and none is tombstoned before
our own counters have reached their prefix. Of equal copies of a row the one written last is kept, and only earlier ones are ever tombstoned, so two
writers that do not know of each other cannot tombstone both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from streams.amending import amended_through
from streams.changelog import Changelog
from streams.duplicates import ID_BYTES, distinct
from streams.id_log import Keep, in_memory
from streams.merging import merge_rows
from streams.row_segments import RowColumns
from streams.segments import ROWS, CounterRecord, DefinitionSegment, Extent, IdSegment, Segment, decode_segment, parse_key
from streams.state import PartitionState
from topics.amendments import Amendment
from topics.catalog import STATE
from topics.definitions import decode_definition
from topics.errors import CorruptState

Found = list[tuple[bytes, Segment, str]]
RawRows = list[tuple[bytes, bytes, str]]
"""Row segments that are not decoded yet: key, value, place."""


class _Head(NamedTuple):
    """Of a row segment that was taken: the prefix that it belongs to."""

    key: bytes
    generation: int
    upto: int


def recover(
    partition: int,
    partitions: int,
    records: Iterable[tuple[bytes | None, bytes | None, int]],
    *,
    changelog: Changelog,
    id_key: bytes,
    base: int,
    keep: Keep = in_memory,
) -> PartitionState:
    """The state that the changelog's `records` (key, value, offset; tombstones included) stand for.

    Without counters it is a fresh state from offset `base` with `id_key`. Raises CorruptState or UnknownVersion, naming the record.
    """
    found, raw = _read(partition, records)
    counters = [record for _, record, _ in found if isinstance(record, CounterRecord)]
    if not counters:
        fresh = PartitionState(partition, partitions, id_key, base=base, keep=keep)
        heads = [_Head(key, rows.generation, rows.upto) for key, value, where in raw for rows in (_rows(value, where),)]
        _keep_unproven(fresh, found, heads, Extent(0, base), changelog)
        for key, _, _ in raw:
            changelog.obsolete(key)
        return fresh
    newest = max(counters, key=lambda record: (record.generation, record.counters.next_offset, record.retired.until_s))
    state = PartitionState(partition, partitions, newest.id_key, generation=newest.generation, keep=keep)
    state.counters, state.clocks, state.identity, state.closed = newest.counters, newest.clocks, newest.identity, newest.closed
    # A paused writer's counters may be ahead in offsets and behind in retiring: both are facts of one log, so the maxima hold.
    retired = [record.retired for record in counters if record.generation == newest.generation]
    state.retired = max(retired, key=lambda retired: retired.until_s)
    for record in counters:
        if record.generation == newest.generation:
            for customer, one in record.own_retired.items():
                state.own_retired[customer] = max(one, state.own_retired.get(customer, one), key=lambda retired: retired.until_s)
    extent = Extent(newest.generation, newest.counters.next_offset, tuple(newest.closed))
    _take_definitions(state, found, extent)
    _take_ids(state, found, extent, changelog)
    heads = _take_rows(state, raw, extent, changelog)
    _keep_unproven(state, found, heads, extent, changelog)
    for key, segment, _ in found:
        if isinstance(segment, CounterRecord):
            changelog.obsolete(key)
    _check_complete(state, newest)
    return state


def _read(partition: int, records: Iterable[tuple[bytes | None, bytes | None, int]]) -> tuple[Found, RawRows]:
    """What is not tombstoned. Rows, which are nearly all of it, stay packed until they are taken."""
    held: dict[bytes, tuple[bytes, str]] = {}
    for key, value, offset in records:
        where = f"{STATE} {partition}@{offset}"
        parse_key(key, where)
        if key is None:
            continue
        if value is None:
            held.pop(key, None)
        else:
            held[key] = (value, where)
    found = [(key, decode_segment(key[:1], value, where), where) for key, (value, where) in held.items() if key[:1] != ROWS]
    return found, [(key, value, where) for key, (value, where) in held.items() if key[:1] == ROWS]


def _rows(value: bytes, where: str) -> RowColumns:
    segment = decode_segment(ROWS, value, where)
    if not isinstance(segment, RowColumns):
        raise AssertionError("rows are decoded as rows")
    return segment


def _keep_unproven(state: PartitionState, found: Found, heads: list[_Head], extent: Extent, changelog: Changelog) -> None:
    """Segments beyond our prefix are kept while their counters may still come; those of a log that was given up never will."""
    for head in heads:
        prefix = (head.generation, head.upto)
        if not extent.covers(*prefix) and extent.is_passed_by(*prefix):
            changelog.unproven(head.key, prefix)
    for key, record, _ in found:
        if isinstance(record, (CounterRecord, RowColumns)) or extent.covers(record.generation, record.upto):
            continue
        prefix = (record.generation, record.upto)
        if not extent.is_passed_by(*prefix):
            changelog.obsolete(key)
            continue
        changelog.unproven(key, prefix)
        if isinstance(record, IdSegment) and record.key_name == state.digester.name:
            changelog.unproven_ids(key, prefix, record.bucket, len(record.digests) // 16)
        elif isinstance(record, IdSegment):
            changelog.foreign_ids(key, record.bucket)


def _take_definitions(state: PartitionState, found: Found, extent: Extent) -> None:
    parts = [(key, record, where) for key, record, where in found if isinstance(record, DefinitionSegment)]
    # A flush that has several says them in order of their keys.
    for _, record, where in sorted(parts, key=lambda part: (part[1].generation, part[1].upto, part[0])):
        if extent.covers(record.generation, record.upto):
            _apply(state, record, where)
    state.flushes = list(state.definitions.flushes.values())


def _apply(state: PartitionState, record: DefinitionSegment, where: str) -> None:
    for encoded in record.definitions:
        definition = decode_definition(encoded, where)
        state.definitions.apply(definition)
        if isinstance(definition, Amendment):
            state.amended.learn(definition)


def _take_ids(state: PartitionState, found: Found, extent: Extent, changelog: Changelog) -> None:
    parts = [(key, record) for key, record, _ in found if isinstance(record, IdSegment) and extent.covers(record.generation, record.upto)]
    state.ids.reserve(sum(len(record.digests) for _, record in parts if _is_live(state, record)) // ID_BYTES)
    for key, record in sorted(parts, key=lambda part: part[1].bucket):
        if record.key_name != state.digester.name:
            changelog.foreign_ids(key, record.bucket)
            continue
        changelog.recovered_ids(key, record.bucket, len(record.digests) // ID_BYTES)
        if _is_live(state, record):
            # Two writers may have said the same ids, in two segments: the table keeps one, in the greater bucket.
            digests = np.frombuffer(record.digests, np.uint64).reshape(-1, 2)
            state.ids.put(distinct(digests), record.bucket, state.clocks.dead_before)
    state.id_counts = state.ids.counts(state.clocks.dead_before)


def _is_live(state: PartitionState, record: IdSegment) -> bool:
    return record.bucket >= state.clocks.dead_before


def _take_rows(state: PartitionState, raw: RawRows, extent: Extent, changelog: Changelog) -> list[_Head]:
    numbers, heads = list[int](), list[_Head]()
    for key, value, where in raw:
        rows = _rows(value, where)
        numbers.append(changelog.recovered_segment())
        heads.append(_Head(key, rows.generation, rows.upto))
        merge_rows(state, rows, extent, numbers[-1], where)
    slots = state.rows.store.live()
    state.rows.schedule(slots)
    segments = state.rows.store.columns["segment"][slots]
    order = np.argsort(segments, kind="stable")
    slots, segments = slots[order], segments[order]
    begins, ends = np.searchsorted(segments, numbers), np.searchsorted(segments, numbers, side="right")
    for number, head, begin, end in zip(numbers, heads, begins.tolist(), ends.tolist(), strict=True):
        if begin < end:
            changelog.recovered_rows(number, head.key, slots[begin:end])
        else:
            changelog.obsolete(head.key)
    return heads


def _check_complete(state: PartitionState, newest: CounterRecord) -> None:
    """Law 7: events of live rows and of retired ones are the postings counted, and ids and versions are as many as were there; anything else
    is a lost or foreign segment, and going on would bill less, or duplicates."""
    rows = state.rows.events() + state.all_retired().events
    wrong = [
        f"the {name} hold {held}, the counters {wanted}"
        for name, held, wanted in (
            ("rows' postings", rows, state.counters.postings),
            ("live ids", state.live_ids(), newest.ids),
            ("versions in force", state.definitions.count, newest.definitions),
            ("clocks", sum(clock.offset for clock in state.definitions.clocks.values()), newest.clocks_through),
            ("amendments", amended_through(state), newest.amended_through),
            ("meters", state.definitions.meters_digest, newest.meters_digest),
        )
        if held != wanted
    ]
    if wrong:
        raise CorruptState(
            f"{STATE} {state.partition}: {'; '.join(wrong)}: segments are missing: "
            "restore usage.state, or rebuild the totals with `tidemark replay`"
        )
