"""The fold of a batch over a partition's state: laws 0, 2, 6 and 7 in one place, without Faust, Kafka or a clock.

`step` is a pure function of (state, batch): the same records in any cut of batches give the same verdicts, rows and counters.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from typing import Final, TypeVar

import numpy as np

from streams.adding import add, add_one
from streams.amending import take_amendment
from streams.columns import FEW, Reader
from streams.control import fold_control
from streams.duplicates import HOUR_MS, dead_before, first_of_each
from streams.hashing import posting_digests
from streams.names import Names
from streams.probing import Slots, each_once
from streams.sheet import I64, Few, Mask, Sheet
from streams.state import PartitionState, Rerouting
from topics.amendments import Amendment
from topics.batch import Batch
from topics.bindings import CLOSE_TYPE, ItemVersion
from topics.clocks import ClockVersion
from topics.content_hash import event_hash
from topics.errors import CorruptState, Halt
from topics.event import MAX_EVENT_BYTES, Event, Rejection, parse_event
from topics.flushes import Flush
from topics.instants import US_PER_MS, US_PER_S
from topics.judging import Control, Posting, Rerouted, Usage
from topics.meters import Timing
from topics.origin import origin_of, reroute_headers
from topics.positions import position
from topics.rejected import Rejected
from topics.verdict import Verdict

_sha256 = hashlib.sha256
MAX_SENTENCE: Final = 1000
"""Characters of a rejection's sentence."""
_LATEST_MS: Final = 1 << 52
"""The year 144,000: microseconds of later instants leave 64 bits, and the reference, which has no such bound, is asked."""


def step(state: PartitionState, reader: Reader, batch: Batch) -> Slots:
    """Fold a batch; returns the slots of the rows it changed. What else it brought is in `state.facts`.

    Records below `next_offset` are replays and skipped (law 2). Raises Halt where the partition does not begin with a meters record, and
    CorruptState where the batch does not begin at or below `next_offset`.
    """
    counters = state.counters
    if batch.start_offset > counters.next_offset:
        raise CorruptState(
            f"usage.events {state.partition}: delivery went from offset {counters.next_offset} to {batch.start_offset}; restart the worker"
        )
    changed: list[Slots] = []
    at = next((i for i, offset in enumerate(batch.offsets) if offset >= counters.next_offset), len(batch))
    while at < len(batch):
        sheet, begin = reader.sheet(batch, at), at
        at, control = _read_stretch(state, reader, batch, sheet, begin)
        _count(state, reader, sheet, range(begin, at), changed)
        if control is not None:
            _fold(state, reader, batch, at, control, changed)
            at += 1
    reader.done()
    if len(batch) and batch.offsets[-1] > state.identity.last_offset:
        state.identity.last_offset = batch.offsets[-1]
        state.identity.last_digest = record_digest(batch.keys[-1], batch.values[-1], batch.timestamps_ms[-1])
    if batch.next_offset > counters.next_offset:
        _move_to(state, batch.next_offset, 0)
    return each_once(changed)


def record_digest(key: bytes | None, value: bytes | None, timestamp_ms: int) -> bytes:
    """Names one record of the log: law 3 compares it when a worker takes a partition."""
    head = struct.pack("<qqq", timestamp_ms, -1 if key is None else len(key), -1 if value is None else len(value))
    return _sha256(head + (key or b"") + (value or b"")).digest()


def _move_to(state: PartitionState, next_offset: int, records: int) -> None:
    """Offsets without a record (transaction markers, aborted records) are `skipped`."""
    state.counters.skipped += next_offset - state.counters.next_offset - records
    state.counters.next_offset = next_offset


def _read_stretch(state: PartitionState, reader: Reader, batch: Batch, sheet: Sheet, at: int) -> tuple[int, Event | None]:
    """Judge records from `at` on, up to the end, a control record (returned with its position) or the hour in which ids die."""
    begin, first = at, sheet.first
    _advance_to(state, batch.timestamps_ms[at])
    now_ms = np.maximum.accumulate(np.maximum(sheet.stamps[at - first :], state.clocks.now_ms))
    now_ms = now_ms[: bisect_left(now_ms, True, 1, key=lambda stamp: _turns_hour(state, int(stamp)))]
    end, control = at + len(now_ms), None
    plain = sheet.plain[begin - first : end - first] & _in_time(state, now_ms, sheet.instants[begin - first : end - first])
    if reader.clocked:
        plain &= ~np.isin(sheet.customers[begin - first : end - first], list(reader.clocked))
    for at in (np.flatnonzero(~plain) + begin).tolist():  # noqa: PLR1704 - where the reference stands
        _advance_to(state, int(now_ms[at - begin]))
        judged = reader.slow(batch, at)
        if isinstance(judged, Control):
            end, control = at, judged.event
            break
        if state.definitions.meters_digest is None:
            raise _no_meters(state)
        if isinstance(judged, Usage):
            reader.take(sheet, at, judged)
        elif isinstance(judged, Rerouted):
            _reroute(state, batch, at, judged)
        else:
            _reject(state, batch, at, judged)
    if end > begin:
        sheet.plain[begin - first : end - first] = plain[: end - begin]
        _advance_to(state, int(now_ms[end - begin - 1]))
        _move_to(state, batch.offsets[end - 1] + 1, end - begin)
    if control is not None:
        _move_to(state, batch.offsets[end], 0)
    return end, control


def _in_time(state: PartitionState, now_ms: I64, instants_us: I64) -> Mask:
    """True where an event lies neither before all that is final nor too far ahead, by the log's now at its record."""
    timing = state.definitions.timing
    if int(now_ms[-1]) > _LATEST_MS:
        return np.zeros(len(now_ms), np.bool_)
    final_until_us = np.maximum(state.clocks.final_until_us, _final_us(now_ms, timing))
    found: Mask = (instants_us >= final_until_us) & (instants_us <= _ahead_us(now_ms, timing))
    return found


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


def _advance_to(state: PartitionState, timestamp_ms: int) -> None:
    """A record was appended then: the log's now never goes back."""
    if timestamp_ms > state.clocks.now_ms:
        _advance(state, timestamp_ms)


def _advance(state: PartitionState, timestamp_ms: int) -> None:
    """The log's now moves on, and with it all that depends on it; none of it ever goes back."""
    clocks, timing = state.clocks, state.definitions.timing
    clocks.now_ms = timestamp_ms
    if state.definitions.meters_digest is None:
        return  # the first version holds from the beginning: no default horizon may make final what it would still take
    clocks.final_until_us = max(clocks.final_until_us, _final_us(timestamp_ms, timing))
    clocks.ahead_until_us = max(clocks.ahead_until_us, _ahead_us(timestamp_ms, timing) + 1)
    clocks.dead_before = max(clocks.dead_before, dead_before(timestamp_ms, timing.dedup_ms))


Now = TypeVar("Now", int, I64)
"""The log's now of one record, or of each of many."""


def _final_us(now_ms: Now, timing: Timing) -> Now:
    """Events before it are too late, in microseconds."""
    return (now_ms - timing.horizon_ms) * US_PER_MS


def _ahead_us(now_ms: Now, timing: Timing) -> Now:
    """Events after it lie in the future, in microseconds."""
    return (now_ms + timing.future_ms) * US_PER_MS


def _fold(state: PartitionState, reader: Reader, batch: Batch, at: int, event: Event, changed: list[Slots]) -> None:
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
                _amend(state, definition, event, changed)
        if event.type == CLOSE_TYPE:
            state.clocks.close_offset = offset
        state.counters.control += 1
        _advance(state, state.clocks.now_ms)  # new timings hold from here on
        reader.follow(folded)
    state.counters.next_offset = offset + 1


def _amend(state: PartitionState, amendment: Amendment, event: Event, changed: list[Slots]) -> None:
    """An amendment's rows changed with this batch like those of its events."""
    changed.append(np.array([row.slot for row in take_amendment(state, amendment, event)], np.int64))


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


def _count(state: PartitionState, reader: Reader, sheet: Sheet, stretch: range, changed: list[Slots]) -> None:
    """Clear a stretch of duplicates and add the rest to its rows."""
    begin, end = stretch.start - sheet.first, stretch.stop - sheet.first
    places = np.flatnonzero(sheet.plain[begin:end] | sheet.judged[begin:end]) + begin
    total = len(places)
    if not total:
        return
    names = sheet.names(places)
    digests = state.digester.digests(reader.origins.prefixes[sheet.origins[places]], names)
    buckets = state.ids.find(digests)
    keep = first_of_each(digests) & ~((buckets != 0) & (buckets >= state.clocks.dead_before))
    fresh = digests if keep.all() else digests[keep]
    state.counters.counted += len(fresh)
    state.counters.duplicate += total - len(fresh)
    if len(fresh):
        bucket = state.clocks.now_ms // HOUR_MS
        state.new_ids.append((bucket, fresh))
        state.id_counts[bucket] = state.id_counts.get(bucket, 0) + len(fresh)
        state.ids.put(fresh, bucket, state.clocks.dead_before, absent=not buckets[keep].any())
    if len(fresh) != total:
        _duplicates(state, sheet, places[~keep])
    _add(state, reader, sheet, places, names, keep, changed)


def _duplicates(state: PartitionState, sheet: Sheet, places: I64) -> None:
    batch = sheet.batch
    for place in places.tolist():
        at = place + sheet.first
        event = parse_event(batch.values[at])
        verdict = Verdict(
            verdict="duplicate",
            generation=state.generation,
            partition=state.partition,
            offset=batch.offsets[at],
            customer=event.subject if isinstance(event, Event) else "",
            source=event.source if isinstance(event, Event) else "",
            event_id=sheet.id_at(place),
        )
        state.facts.verdicts.append((batch.keys[at], verdict))


def _add(state: PartitionState, reader: Reader, sheet: Sheet, places: I64, names: Names, keep: Mask, changed: list[Slots]) -> None:
    """Add the postings of what was kept to their rows, meter by meter."""
    fresh = np.zeros(len(sheet.plain), np.bool_)
    fresh[places[keep]] = True
    if sheet.few is not None:
        _add_few(state, sheet, sheet.few, fresh, changed)
        return
    if len(places) <= FEW:
        # A stretch that a control record ends soon: any producer can write one after each event, and columns cost a millisecond each time.
        _add_few(state, sheet, _few_of(state, reader, sheet, places), fresh, changed)
        return
    name_of = np.empty(len(sheet.plain), np.int64)
    name_of[places] = np.arange(len(places))
    for column in sheet.columns.values():
        where, amounts = column.chosen(sheet.plain, fresh)
        if not len(where):
            continue
        meter, instants, index = column.meter, sheet.instants[where], name_of[where]
        heads = reader.heads(meter.slug, sheet.customers[where], sheet.sources[where])
        digests = posting_digests(heads, names if len(index) == len(names) else names.some(index), instants, amounts)
        slots, of = reader.rows_of(meter, sheet.customers[where], instants)
        add(state, slots, of, sheet.offsets[where], amounts, digests)
        changed.append(slots)


def _few_of(state: PartitionState, reader: Reader, sheet: Sheet, places: I64) -> Few:
    """The postings that columns hold of a short stretch, in offset order."""
    found: Few = []
    for column in sheet.columns.values():
        for place, scaled in column.each(sheet.plain, int(places[0]), int(places[-1])):
            customer, source = reader.customer(int(sheet.customers[place])), reader.source(int(sheet.sources[place]))
            window = state.definitions.window_of(customer, column.meter, int(sheet.instants[place]) // US_PER_S)
            found.append((place, source, Posting(window, scaled)))
    return sorted(found, key=lambda one: one[0])


def _add_few(state: PartitionState, sheet: Sheet, postings: Few, fresh: Mask, changed: list[Slots]) -> None:
    """The same, posting by posting."""
    for place, source, posting in postings:
        if fresh[place]:
            window, scaled = posting
            row = state.rows.get(window) or state.rows.row(int(state.rows.make([window], own=window.customer in state.definitions.clocks)[0]))
            digest = event_hash(window.customer, window.meter, source, sheet.id_at(place), int(sheet.instants[place]), scaled)
            add_one(state, row, int(sheet.offsets[place]), scaled, digest)
            changed.append(np.array([row.slot]))
