"""An amendment in the fold: whether it acts, and how it adds to rows. A pure function of the log, as everything here.

It acts where it can be added to like an event: each of its windows has a row that is not final. What it was computed from must still be so: the
amendment of the same event that is in force (`replaces`), or the revision of the window that is corrected; else another was faster, and acting
twice would be wrong. A record that is folded again (a doubled send, a mirrored log) is stale by the same rule.
"""

from __future__ import annotations

from streams.rows import Row, revision, split_revision
from streams.state import PartitionState
from topics.amendments import ALREADY, NO_ROW, Amendment, Difference, Entry, Reading, read_amendment
from topics.content_hash import event_hash
from topics.event import Event
from topics.instants import US_PER_S, format_s
from topics.meters import Meter
from topics.quantity import format_scaled, parse_total
from topics.windows import Window


def fold_amendment(state: PartitionState, event: Event, offset: int) -> Amendment | str:
    """The amendment, or why it is refused. Changes nothing; that the record lies on its customer's home is asked before."""
    reading = read_amendment(event)
    if isinstance(reading, str):
        return reading
    # Before anything that is let go of once windows are final: what a record is told must not hang on when a flush did that.
    for posting in reading.postings:
        if is_final(state, posting.window):
            return f"{_where(posting.window)} is final: nothing of it changes any more; correct it in a later period, or by hand at the provider"
    if problem := _stale(state, reading):
        return problem
    for entry, posting in zip(reading.record.postings, reading.postings, strict=True):
        problem = _unpostable(state, reading, entry, posting)
        if problem is not None:
            return problem
    return Amendment(
        customer=event.subject,
        said=reading.record,
        event_id=event.id,
        source=event.source,
        time=event.time or "",
        generation=state.generation,
        offset=offset,
        digest=reading.digest,
    )


def _stale(state: PartitionState, reading: Reading) -> str | None:
    """Another amendment of the same event was faster, or it names an event that cannot lie here."""
    of = reading.record.of
    if of is None:
        return None
    if of.partition != state.partition:
        return f"the amended event lies on partition {of.partition}, the amendment on {state.partition}"
    if reading.record.kind == "accept":
        return None
    held = state.amended.in_force(of.generation, of.offset)
    if held == reading.digest:
        return ALREADY
    if held != reading.record.replaces:
        return f"it replaces amendment {reading.record.replaces or 'none'}, but {held or 'none'} is in force: look at the event again"
    return None


def _where(window: Window) -> str:
    return f"window {format_s(window.start_s)} … {format_s(window.end_s)} of meter {window.meter!r}"


def _unpostable(state: PartitionState, reading: Reading, entry: Entry, posting: Difference) -> str | None:
    """Why one posting cannot be added to its window."""
    window, record = posting.window, reading.record
    where = _where(window)
    meter = state.definitions.meter_at(window.meter, reading.time_us // US_PER_S)
    if meter is None:
        return f"{where} is of no meter that was in force then"
    row = state.rows.get(window)
    if row is None and not (record.kind == "correct" and entry.through_offset == NO_ROW):
        return f"{where} holds nothing that was counted"
    if row is None and (problem := _unbeginnable(state, reading, window, meter)):
        return f"{where} {problem}"
    if record.kind == "correct":
        held = (NO_ROW, NO_ROW) if row is None else split_revision(row.rev)
        if held != (entry.generation, entry.through_offset):
            return f"{where} is at revision {held[0]}.{held[1]}, computed from {entry.generation}.{entry.through_offset}: compute it again"
    elif row is not None and record.of is not None and not _holds(row, record.of.generation, record.of.offset):
        return f"{where} holds no event of offset {record.of.offset}"
    before = 0 if row is None else row.scaled
    total = posting.scaled + (before if entry.rebuilt is None else parse_total(entry.rebuilt.quantity))
    if total < 0 and not meter.allow_negative:
        return f"{where} would hold {format_scaled(total)}, and its meter takes no negative quantities"
    return None


def _unbeginnable(state: PartitionState, reading: Reading, window: Window, meter: Meter) -> str | None:
    """Why no row may begin here: where no event could begin one, a later change of meters or bindings would cut it."""
    if reading.time_us >= state.definitions.ahead_us(window.customer, state.clocks.ahead_until_us):
        return "lies in the future: nothing can be counted there yet"
    if state.definitions.window_of(window.customer, meter, reading.time_us // US_PER_S) != window:
        return "is no window of this customer"
    return None


def _holds(row: Row, generation: int, offset: int) -> bool:
    """Whether the row's events may include the coordinate. In which generation it began is not kept: its first offset says something where that
    can only be the first one."""
    if min(generation, offset) < 0 or (generation, offset) > split_revision(row.rev):
        return False
    return generation > 0 or offset >= row.first_offset


def is_final(state: PartitionState, window: Window) -> bool:
    """True where no event can change the window any more, by the log alone: when its row is let go depends on what was emitted."""
    final_s = state.definitions.final_us(window.customer, state.clocks.final_until_us) // US_PER_S
    if window.end_s <= final_s:
        return True
    clock, row = state.definitions.clocks.get(window.customer), state.rows.get(window)
    if clock is None:
        return False
    # What the log's now had made final before the customer had a test clock stays so (`step.take_clock`), also where its row was let go by then.
    return window.end_s <= clock.log_final_s if row is None else not row.own


def take_amendment(state: PartitionState, amendment: Amendment, event: Event) -> list[Row]:
    """Add it to its rows, which are returned; each takes sum, count, fence and hash together (law 2), as it does for an event."""
    reading = read_amendment(event)
    if isinstance(reading, str):
        raise AssertionError(f"an amendment that acts cannot be read: {reading}")
    rows: list[Row] = []
    for entry, (window, scaled) in zip(reading.record.postings, reading.postings, strict=True):
        row = state.rows.get(window)
        if row is None:
            row = Row(window)
            row.first_offset = amendment.offset
            row.own = window.customer in state.definitions.clocks
            state.rows.add(row)
        if entry.rebuilt is not None:
            row.scaled, row.content_hash = parse_total(entry.rebuilt.quantity), int(entry.rebuilt.hash, 16)
        row.scaled += scaled
        row.events += 1
        row.content_hash += event_hash(window.customer, window.meter, event.source, event.id, reading.time_us, scaled)
        row.rev = revision(state.generation, amendment.offset)
        rows.append(row)
    state.counters.postings += len(rows)
    state.amended.learn(amendment)
    return rows


def amended_through(state: PartitionState) -> int:
    """Σ of what names the links of the chain: with it in the counters record, a lost one halts instead of letting a stale amendment act.

    First those are let go that can no longer matter, since every window of their event is final. That is a pure rule, and what it let go it never
    wants back, so a recovery finds the same. Of a customer with a test clock only that is final for good which was so before the clock's first word;
    but rows may begin in that time again, by the clock, and which amendments are of them is not said: they are all kept, and not summed.
    """
    chain, log_final_s = state.amended, state.clocks.final_until_us // US_PER_S
    if log_final_s >= chain.first_until_s:
        clocks = state.definitions.clocks
        chain.forget(lambda link: link.until_s <= (clocks[link.customer].log_final_s if link.customer in clocks else log_final_s), set(clocks))
    return chain.through
