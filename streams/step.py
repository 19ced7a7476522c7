"""The fold of a batch over a partition's state: laws 0, 2, 6 and 7 in one place, without Faust, Kafka or a clock.

`step` is a pure function of (state, batch): the same records in any cut of batches give the same verdicts, rows and counters.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from streams.amending import take_amendment
from streams.columns import Columns, Reader
from streams.control import fold_control
from streams.duplicates import HOUR_MS, dead_before, first_of_each
from streams.rows import Row, revision
from streams.state import PartitionState, Rerouting
from topics.amendments import Amendment
from topics.batch import Batch
from topics.bindings import CLOSE_TYPE, ItemVersion
from topics.clocks import ClockVersion
from topics.errors import CorruptState, Halt
from topics.event import MAX_EVENT_BYTES, Event, Rejection, parse_event
from topics.flushes import Flush
from topics.instants import US_PER_MS
from topics.judging import Control, Rerouted, Usage
from topics.origin import origin_of, reroute_headers
from topics.positions import position
from topics.rejected import Rejected
from topics.verdict import Verdict

_sha256 = hashlib.sha256
_i64 = struct.Struct("<q").pack
MAX_SENTENCE: Final = 1000
"""Characters of a rejection's sentence."""


def step(state: PartitionState, reader: Reader, batch: Batch) -> list[Row]:
    """Fold a batch; returns the rows it changed. What else it brought is in `state.facts`.

    Records below `next_offset` are replays and skipped (law 2). Raises Halt where the partition does not begin with a meters record, and
    CorruptState where the batch does not begin at or below `next_offset`.
    """
    counters = state.counters
    if batch.start_offset > counters.next_offset:
        raise CorruptState(
            f"usage.events {state.partition}: delivery went from offset {counters.next_offset} to {batch.start_offset}; restart the worker"
        )
    state.step_number += 1
    changed: list[Row] = []
    at = next((i for i, offset in enumerate(batch.offsets) if offset >= counters.next_offset), len(batch))
    while at < len(batch):
        columns = Columns()
        at, control = _read_stretch(state, reader, batch, at, columns)
        _count(state, batch, columns, changed)
        reader.settle()
        if control is not None:
            _fold(state, reader, batch, at, control, changed)
            at += 1
    if len(batch) and batch.offsets[-1] > state.identity.last_offset:
        state.identity.last_offset = batch.offsets[-1]
        state.identity.last_digest = record_digest(batch.keys[-1], batch.values[-1], batch.timestamps_ms[-1])
    if batch.next_offset > counters.next_offset:
        _move_to(state, batch.next_offset, 0)
    return changed


def record_digest(key: bytes | None, value: bytes | None, timestamp_ms: int) -> bytes:
    """Names one record of the log: law 3 compares it when a worker takes a partition."""
    head = struct.pack("<qqq", timestamp_ms, -1 if key is None else len(key), -1 if value is None else len(value))
    return _sha256(head + (key or b"") + (value or b"")).digest()


def _move_to(state: PartitionState, next_offset: int, records: int) -> None:
    """Offsets without a record (transaction markers, aborted records) are `skipped`."""
    state.counters.skipped += next_offset - state.counters.next_offset - records
    state.counters.next_offset = next_offset


def _read_stretch(state: PartitionState, reader: Reader, batch: Batch, at: int, columns: Columns) -> tuple[int, Event | None]:
    """Read records into columns up to the end, a control record (returned with its position) or the hour in which ids die."""
    if reader.version != state.definitions.version:
        reader.forget()
    counters, end = state.counters, len(batch)
    while (at := reader.plain(batch, at, columns)) < end:
        if batch.timestamps_ms[at] > state.clocks.now_ms:
            if columns.at and _turns_hour(state, batch.timestamps_ms[at]):
                return at, None
            _advance(state, batch.timestamps_ms[at])
            continue
        if batch.offsets[at] != counters.next_offset:
            _move_to(state, batch.offsets[at], 0)
            continue
        judged = reader.slow(batch, at)
        if isinstance(judged, Control):
            return at, judged.event
        if state.definitions.meters_digest is None:
            raise _no_meters(state)
        if isinstance(judged, Usage):
            reader.take(columns, at, batch.keys[at] or b"", judged)
        elif isinstance(judged, Rerouted):
            _reroute(state, batch, at, judged)
        else:
            _reject(state, batch, at, judged)
        counters.next_offset += 1
        at += 1
    return at, None


def _turns_hour(state: PartitionState, timestamp_ms: int) -> bool:
    """True where ids from here on lie in another bucket, or another bucket is dead."""
    clocks = state.clocks
    dies = dead_before(timestamp_ms, state.definitions.timing.dedup_ms) > clocks.dead_before
    return dies or timestamp_ms // HOUR_MS != clocks.now_ms // HOUR_MS


def _no_meters(state: PartitionState) -> Halt:
    return Halt(
        f"usage.events {state.partition} does not begin with a meters record, so no event can be judged: run `tidemark apply` "
        "before producers start (and recreate the topic if they already have)"
    )


def pass_time(state: PartitionState, now_ms: int) -> None:
    """The log's now rose to this by a record that is not in any batch: where only a customer's own records are folded (`tidemark replay`)."""
    if now_ms > state.clocks.now_ms:
        _advance(state, now_ms)


def _advance(state: PartitionState, timestamp_ms: int) -> None:
    """The log's now moves on, and with it all that depends on it; none of it ever goes back."""
    clocks, timing = state.clocks, state.definitions.timing
    clocks.now_ms = timestamp_ms
    if state.definitions.meters_digest is None:
        return  # the first version holds from the beginning: no default horizon may make final what it would still take
    clocks.final_until_us = max(clocks.final_until_us, (timestamp_ms - timing.horizon_ms) * US_PER_MS)
    clocks.ahead_until_us = max(clocks.ahead_until_us, (timestamp_ms + timing.future_ms) * US_PER_MS + 1)
    clocks.dead_before = max(clocks.dead_before, dead_before(timestamp_ms, timing.dedup_ms))


def _fold(state: PartitionState, reader: Reader, batch: Batch, at: int, event: Event, changed: list[Row]) -> None:
    """Take a control record: in force, or rejected as `bad_control`; never a halt but for a partition without meters."""
    offset = batch.offsets[at]
    folded = fold_control(state, event, batch.keys[at], position(state.generation, offset))
    if isinstance(folded, str):
        if state.definitions.meters_digest is None:
            raise _no_meters(state)
        _reject(state, batch, at, Rejection("bad_control", folded, event))
    else:
        if state.definitions.meters_digest is None and not folded:
            raise _no_meters(state)
        for definition in folded:
            if isinstance(definition, ClockVersion):
                take_clock(state, definition)
            state.definitions.apply(definition)
            state.facts.definitions.append(definition)
            if isinstance(definition, ItemVersion):
                state.rebound.append((definition.customer, definition.meter))
            elif isinstance(definition, Flush):
                state.flushes.append(definition)
            elif isinstance(definition, Amendment):
                _amend(state, reader, definition, event, changed)
        if event.type == CLOSE_TYPE:
            state.clocks.close_offset = offset
        state.counters.control += 1
        _advance(state, state.clocks.now_ms)  # new timings hold from here on
        reader.follow(folded)
    state.counters.next_offset = offset + 1


def _amend(state: PartitionState, reader: Reader, amendment: Amendment, event: Event, changed: list[Row]) -> None:
    """An amendment's rows changed with this batch like those of its events."""
    for row in take_amendment(state, amendment, event):
        if row.first_offset == amendment.offset:
            reader.forget()  # it began a row: whatever the reader holds for that window is another one
        if row.mark != state.step_number:
            row.mark = state.step_number
            changed.append(row)


def take_clock(state: PartitionState, clock: ClockVersion) -> None:
    """With its first word the rows that are not final yet become final by it, and no longer by the log's now."""
    state.clocked.append(clock.customer)
    if clock.customer not in state.definitions.clocks:
        rows = state.rows.of_customer(clock.customer, state.definitions.meters)
        state.rows.make_own([row for row in rows if row.window.end_s > clock.log_final_s])


def _reject(state: PartitionState, batch: Batch, at: int, rejection: Rejection) -> None:
    key, event, sentence = batch.keys[at], rejection.event, rejection.sentence
    # A sentence quotes what a producer wrote: unbounded, it could make a record that no topic takes, and the meter would never get past it.
    if len(sentence) > MAX_SENTENCE:
        sentence = sentence[:MAX_SENTENCE] + "…"
    too_late = rejection.reason == "too_late"
    if too_late:
        state.counters.too_late += 1
    else:
        state.counters.rejected += 1
    received_at_ms = origin_of(batch.headers[at], batch.timestamps_ms[at]).received_at_ms
    state.facts.bytes += len(batch.values[at] or b"")
    state.facts.rejected.append(
        Rejected(
            key,
            batch.values[at],
            batch.headers[at],
            rejection.reason,
            sentence,
            batch.topic,
            state.partition,
            batch.offsets[at],
            received_at_ms,
        )
    )
    verdict = Verdict(
        verdict="too_late" if too_late else "rejected",
        generation=state.generation,
        partition=state.partition,
        offset=batch.offsets[at],
        reason=rejection.reason,
        sentence=sentence,
        customer=event.subject if event else "",
        source=event.source if event else "",
        event_id=event.id if event else "",
    )
    # A key of a megabyte fits usage.rejected, which takes twice an event, and not usage.verdicts.
    state.facts.verdicts.append((key if key is None or len(key) <= MAX_EVENT_BYTES else None, verdict))


def _reroute(state: PartitionState, batch: Batch, at: int, rerouted: Rerouted) -> None:
    key, value, offset = batch.keys[at] or b"", batch.values[at] or b"", batch.offsets[at]
    headers = reroute_headers(batch.headers[at], state.partition, offset, rerouted.received_at_ms)
    state.facts.rerouted.append(Rerouting(key, value, headers, rerouted.home))
    state.facts.bytes += len(value)
    event = rerouted.event
    verdict = Verdict(
        verdict="rerouted",
        generation=state.generation,
        partition=state.partition,
        offset=offset,
        customer=event.subject,
        source=event.source,
        event_id=event.id,
        home=rerouted.home,
    )
    state.facts.verdicts.append((key, verdict))
    state.counters.rerouted += 1


def _count(state: PartitionState, batch: Batch, columns: Columns, changed: list[Row]) -> None:
    """Clear a stretch of duplicates and add the rest to its rows."""
    total = len(columns.at)
    if not total:
        return
    names = [text.encode() for text in columns.ids]
    digests = state.digester.digests(columns.prefixes, names)
    buckets = state.ids.find(digests)
    keep = first_of_each(digests) & ~((buckets != 0) & (buckets >= state.clocks.dead_before))
    kept = keep.tolist()
    fresh = digests if keep.all() else digests[keep]
    state.counters.counted += len(fresh)
    state.counters.duplicate += total - len(fresh)
    if len(fresh):
        bucket = state.clocks.now_ms // HOUR_MS
        state.new_ids.append((bucket, fresh))
        state.id_counts[bucket] = state.id_counts.get(bucket, 0) + len(fresh)
        state.ids.put(fresh, bucket, state.clocks.dead_before, absent=not buckets[keep].any())
    if len(fresh) != total:
        _duplicates(state, batch, columns, kept)
    _add(state, batch, columns, names, kept, changed)


def _duplicates(state: PartitionState, batch: Batch, columns: Columns, kept: list[bool]) -> None:
    for index, keep in enumerate(kept):
        if keep:
            continue
        at = columns.at[index]
        event = parse_event(batch.values[at])
        verdict = Verdict(
            verdict="duplicate",
            generation=state.generation,
            partition=state.partition,
            offset=batch.offsets[at],
            customer=event.subject if isinstance(event, Event) else "",
            source=event.source if isinstance(event, Event) else "",
            event_id=columns.ids[index],
        )
        state.facts.verdicts.append((batch.keys[at], verdict))


def _add(state: PartitionState, batch: Batch, columns: Columns, names: list[bytes], kept: list[bool], changed: list[Row]) -> None:
    """Add postings to rows; each row takes sum, count, offsets and hash together (law 2)."""
    offsets, number, base = batch.offsets, state.step_number, revision(state.generation, 0)
    moments, at, i64, sha256 = columns.occurred_at_us, columns.at, _i64, _sha256
    postings = 0
    for index, row, scaled, head in zip(columns.of, columns.rows, columns.scaled, columns.heads, strict=True):
        if not kept[index]:
            continue
        # the bytes of topics/content_hash.py, with the fields that repeat made once
        name = names[index]
        data = head + len(name).to_bytes(4, "little") + name + i64(moments[index]) + scaled.to_bytes(16, "little", signed=True)
        row.content_hash += int.from_bytes(sha256(data).digest(), "little")
        row.scaled += scaled
        row.events += 1
        row.rev = base | offsets[at[index]]
        if row.mark != number:
            row.mark = number
            changed.append(row)
            if row.first_offset < 0:
                row.first_offset = offsets[at[index]]
                row.own = row.window.customer in state.definitions.clocks
                state.rows.add(row)
        postings += 1
    state.counters.postings += postings
