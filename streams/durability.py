"""Law 5: what must be acknowledged before an offset may be committed, as a value that the shell carries out in order.

1. `first`: rejected, verdicts, re-sent events, definitions and changelog segments, in any order, all acknowledged.
   A crash here: the counters still name the old prefix; the records are folded again and written again, with the same coordinates and bodies.
2. `counters`: the new prefix is durable. A crash here or before its acknowledgement: either prefix is whole.
3. `last`: the mark for the archive, and tombstones of segments that nothing needs. A crash here: garbage stays until the next recovery finds it.
4. Then the source offset may be committed and rows may be emitted. The group offset is advisory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.amending import amended_through
from streams.changelog import Changelog
from streams.probing import Slots
from streams.rows import Ends, Row
from streams.segments import CounterRecord, encode_segment
from streams.sends import Send
from streams.state import Facts, PartitionState, Retired
from topics.catalog import DEFINITIONS, EVENTS, REJECTED, STATE, VERDICTS, WINDOWS
from topics.codec import encode
from topics.content_hash import MODULUS
from topics.definitions import definition_key
from topics.instants import US_PER_S
from topics.rejected import rejected_headers
from topics.verdict import Mark
from topics.window_total import window_total
from topics.windows import window_key


class Flush(NamedTuple):
    """One flush: three groups of records, each awaited before the next; `next_offset` is what it makes durable.
    `retired`: slots of the rows that it let go of."""

    first: list[Send]
    counters: Send
    last: list[Send]
    next_offset: int
    retired: Slots

    def changelog_records(self) -> int:
        """How many of its records stand in the changelog once all are acknowledged, each at an offset of its own."""
        return sum(send.topic == STATE for part in (self.first, (self.counters,), self.last) for send in part)


class Emission(NamedTuple):
    """One revision of one window on its way to `usage.windows`."""

    send: Send
    row: Row
    rev: int


def build_flush(state: PartitionState, changelog: Changelog, dirty: Slots, *, moved: bool) -> Flush:
    """Everything that makes the state's present prefix durable. The state's facts and new ids are taken out of it. `dirty`: rows that changed."""
    facts, state.facts = state.facts, Facts()
    new_ids, state.new_ids = state.new_ids, []
    retired = retire(state, changelog)
    dirty = dirty[state.rows.store.columns["customer"][dirty] >= 0]
    again = changelog.said_again(state, dirty)
    segments = changelog.write_rows(state, np.append(dirty, again))
    segments += changelog.write_ids(state, new_ids)
    segments += changelog.write_definitions(state, facts.definitions)
    counters = Send(STATE, state.partition, changelog.counters_key(), encode_segment(counters_of(state)))
    first = fact_sends(state, facts) + [Send(STATE, state.partition, key, value) for key, value in segments]
    last = [Send(STATE, state.partition, key, None) for key in changelog.take_garbage((state.generation, state.counters.next_offset))]
    if moved or len(retired):
        mark = Mark(generation=state.generation, partition=state.partition, next_offset=state.counters.next_offset, counters=state.counters)
        last.insert(0, Send(VERDICTS, state.partition, None, encode(mark)))
    return Flush(first, counters, last, state.counters.next_offset, retired)


def counters_of(state: PartitionState) -> CounterRecord:
    """The counters record of the state's present prefix."""
    return CounterRecord(
        generation=state.generation,
        counters=state.counters,
        clocks=state.clocks,
        retired=state.retired,
        identity=state.identity,
        id_key=state.digester.key,
        closed=state.closed,
        ids=state.live_ids(),
        definitions=state.definitions.count,
        meters_digest=state.definitions.meters_digest,
        own_retired=state.own_retired,
        clocks_through=sum(clock.offset for clock in state.definitions.clocks.values()),
        amended_through=amended_through(state),
    )


def fact_sends(state: PartitionState, facts: Facts) -> list[Send]:
    """The records of verdicts, rejected and re-sent events and definitions."""
    partition = state.partition
    sends = [Send(REJECTED, partition, record.key, record.value, rejected_headers(record)) for record in facts.rejected]
    sends += [Send(VERDICTS, partition, key, encode(verdict)) for key, verdict in facts.verdicts]
    sends += [Send(EVENTS, record.home, record.key, record.value, record.headers) for record in facts.rerouted]
    sends += [Send(DEFINITIONS, partition, definition_key(definition), encode(definition)) for definition in facts.definitions]
    return sends


def retire(state: PartitionState, changelog: Changelog) -> Slots:
    """Let go of rows that are final: every event for them would be too late, and their newest revision was emitted. Returns their slots, which are
    other rows' from now on.

    Final by the log's now, or by their customer's test clock: each has its own account, a pure function of how far it went.
    """
    gone: list[Slots] = [np.zeros(0, np.int64)]
    state.retired = _let_go(state, changelog, state.rows.ends, state.clocks.final_until_us // US_PER_S, state.retired, gone)
    for customer, ends in state.rows.own.items():
        until_s = state.definitions.final_us(customer, state.clocks.final_until_us) // US_PER_S
        state.own_retired[customer] = _let_go(state, changelog, ends, until_s, state.own_retired.get(customer, Retired()), gone)
    return np.concatenate(gone)


def _let_go(state: PartitionState, changelog: Changelog, ends: Ends, until_s: int, retired: Retired, gone: list[Slots]) -> Retired:
    store = state.rows.store
    while (end_s := ends.first_end()) is not None and end_s <= until_s:
        slots = ends.at(end_s)
        if store.is_pending(slots).any():
            break
        retired = Retired(until_s=end_s, rows=retired.rows + len(slots), events=retired.events + store.events(slots))
        changelog.retire(state, slots)
        state.rows.remove_first_end(ends)
        gone.append(slots)
    return retired


def build_emission(state: PartitionState, row: Row, closed_at_ms: int) -> Emission:
    """The row's newest revision; its body is a pure function of (window, revision), the time of closing stands in a header (law 3)."""
    generation, through = row.rev >> 64, row.through_offset
    total = window_total(
        row.window,
        scaled=row.scaled,
        events=row.events,
        first_offset=row.first_offset,
        revision=(generation, through),
        partition=state.partition,
        content_hash=row.content_hash % MODULUS,
    )
    headers = (("closed_at_ms", b"%d" % closed_at_ms),)
    send = Send(WINDOWS, state.partition, window_key(row.window).encode(), encode(total), headers)
    return Emission(send, row, row.rev)
