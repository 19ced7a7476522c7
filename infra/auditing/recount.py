"""The recount: a partition's log counted again, record by record, in the plainest Python that says the same.

What it shares with the meter, and why that is right. An audit that ran the meter's own fold would repeat its mistakes, so nothing of the hot
path is here: no columns, no vectors, no digest table, no batches, no segments, no caches of customers, plans, times or windows, and no
`MeterPartition`. What a single record means is asked of `topics.judging.judge`, the reference of law 0, which the meter calls for every record
that is not plain and replaces by faster code for those that are: with it the audit sees each place in which the fast path would differ. The
rules of quantities, instants, windows and hashes are definitions, not implementations; a second set of them would be another product.
Control records are folded by `streams.control` (some a day, never on the hot path), and what that puts in force is held against what was
published to `usage.definitions`. Everything that adds up is written again here: clocks, duplicates, counters, windows, content hashes, and what an
amendment adds to its windows.
That the rules themselves are right is shown by tests whose oracles share no code with the product.

Memory is about 250 bytes a counted id and 500 a window of the partition that is counted: an audit needs what a second meter would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from infra.auditing.claims import Revision, Total
from infra.auditing.findings import Finding, Findings, Kind
from streams.control import fold_control
from streams.duplicates import HOUR_MS, KEY_BYTES
from streams.rows import Row, revision
from streams.state import PartitionState
from streams.step import take_clock
from topics.amendments import AMEND_TYPE, Amendment, Reading, read_amendment
from topics.batch import Headers
from topics.clocks import ClockVersion
from topics.content_hash import MODULUS, event_hash, field
from topics.definitions import Definition
from topics.durations import format_ms
from topics.errors import TidemarkError
from topics.event import Event, Rejection
from topics.instants import US_PER_MS
from topics.judging import Control, Judgement, Rerouted, Setting, Usage, judge
from topics.origin import origin_of
from topics.positions import position
from topics.verdict import Counters
from topics.windows import Window

_BODY_BITS: Final = 64
class LogRecord(NamedTuple):
    """One record of the log as it lies there, whether Kafka gave it or ClickHouse's copy."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Seen(NamedTuple):
    """Where and when an id was counted: the hour of the log's now, generation and offset, and 64 bits of its body."""

    bucket: int
    generation: int
    offset: int
    body: int

    def packed(self) -> int:
        """As one integer, which takes a quarter of the memory: there is one for each counted id."""
        return (((self.bucket << 32 | self.generation) << 64) | self.offset) << _BODY_BITS | self.body

    @staticmethod
    def unpacked(number: int) -> Seen:
        """From that integer."""
        name = number >> _BODY_BITS
        when = name >> 64
        return Seen(when >> 32, when & 0xFFFF_FFFF, name & (1 << 64) - 1, number & (1 << _BODY_BITS) - 1)


class Fate(NamedTuple):
    """What became of a record."""

    verdict: str
    reason: str = ""


class Tally:
    """One window added up so far; `first` is an offset, `through` is (generation, offset)."""

    __slots__ = ("events", "first", "hash", "scaled", "through")

    def __init__(self, first: int) -> None:
        self.first = first
        self.scaled = self.events = self.hash = 0
        self.through = (-1, -1)

    def total(self) -> Total:
        """What its newest revision must say."""
        return Total(self.scaled, self.events, self.first, f"{self.hash % MODULUS:064x}")


Settle = Callable[[Revision, Tally], None]


class NoMeters(TidemarkError):
    """The partition does not begin with a meters record: no event of it has a meaning, and the meter counts none."""


class Recount:
    """One partition, from its base on. `settle` is called after each posting with the revision it made and the window as it then stands."""

    def __init__(self, partition: int, partitions: int, base: int, findings: Findings, settle: Settle) -> None:
        self.partition = partition
        self.generation = 0
        self.counters = Counters(base=base, next_offset=base)
        self.windows: dict[Window, Tally] = {}
        self.put_in_force: list[Definition] = []
        self.sent_home: dict[int, int] = {}
        """Offset of each re-routed event → its home."""
        self.origins: set[tuple[int, int]] = set()
        """(partition, offset) that records of this log name as where they came from."""
        self.since_ms = -1
        """Ids are findings only where the later copy was received at or after this."""
        self._partitions = partitions
        self._findings = findings
        self._settle = settle
        # Versions in force, clocks, and which windows there are: what a control record is folded over, and nothing that adds up.
        self._desk = PartitionState(partition, partitions, bytes(KEY_BYTES))
        self._ids: dict[bytes, int] = {}

    # ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def begin_generation(self, generation: int, base: int) -> None:
        """The log was adopted anew: counters and coordinates begin again; windows, ids, clocks and versions go on (law 3)."""
        self.generation = generation
        self.counters = Counters(base=base, next_offset=base, postings=self.counters.postings)
        self.sent_home.clear()

    def reach(self, offset: int) -> None:
        """Offsets below `offset` that held no record: transaction markers and aborted records."""
        self.counters.skipped += offset - self.counters.next_offset
        self.counters.next_offset = offset

    def take(self, record: LogRecord) -> Fate:
        """Judge and count one record; offsets must rise. Raises NoMeters."""
        self.reach(record.offset)
        if record.timestamp_ms > self._desk.clocks.now_ms:
            self._turn(record.timestamp_ms)
        self.note_origin(record)
        fate = self._fate(record)
        setattr(self.counters, fate.verdict, getattr(self.counters, fate.verdict) + 1)
        self.counters.next_offset = record.offset + 1
        return fate

    def note_origin(self, record: LogRecord) -> None:
        """Remember whence a re-routed copy came; also of records beyond the point, which are not counted."""
        if record.headers:
            origin = origin_of(record.headers, record.timestamp_ms)
            if origin.partition is not None and origin.offset is not None:
                self.origins.add((origin.partition, origin.offset))

    def homes_awaited(self, recounts: Mapping[int, Recount]) -> set[int]:
        """The homes among `recounts` on which a copy of this partition's re-routed events was not seen yet."""
        return {
            home for offset, home in self.sent_home.items() if home in recounts and (self.partition, offset) not in recounts[home].origins
        }

    def let_go(self) -> None:
        """Forget all but where events were re-routed to and came from: the next partition needs the memory."""
        self.windows, self._ids = {}, {}
        self._desk = PartitionState(self.partition, self._partitions, bytes(KEY_BYTES))

    def _turn(self, now_ms: int) -> None:
        """The log's now; final, ahead and dead are what follow from it under the timings in force, and never go back."""
        clocks, timing = self._desk.clocks, self._desk.definitions.timing
        clocks.now_ms = now_ms
        if self._desk.definitions.meters_digest is None:
            return
        clocks.final_until_us = max(clocks.final_until_us, (now_ms - timing.horizon_ms) * US_PER_MS)
        clocks.ahead_until_us = max(clocks.ahead_until_us, (now_ms + timing.future_ms) * US_PER_MS + 1)
        clocks.dead_before = max(clocks.dead_before, (now_ms - timing.dedup_ms) // HOUR_MS)

    def _fate(self, record: LogRecord) -> Fate:
        clocks, definitions = self._desk.clocks, self._desk.definitions
        setting = Setting(self.partition, self._partitions, clocks.now_ms, clocks.final_until_us, definitions)
        judged: Judgement = judge(record.key, record.value, record.headers, record.timestamp_ms, setting)
        if isinstance(judged, Control):
            return self._control(judged.event, record)
        if definitions.meters_digest is None:
            raise NoMeters(f"usage.events {self.partition} does not begin with a meters record")
        if isinstance(judged, Rejection):
            return Fate("too_late" if judged.reason == "too_late" else "rejected", judged.reason)
        if isinstance(judged, Rerouted):
            self.sent_home[record.offset] = judged.home
            return Fate("rerouted")
        if self._is_copy(judged, record):
            return Fate("duplicate")
        self._count(judged, record.offset)
        return Fate("counted")

    # ── control records ──────────────────────────────────────────────────────────────────────────────────────────────
    def _control(self, event: Event, record: LogRecord) -> Fate:
        reading = read_amendment(event) if event.type == AMEND_TYPE else ""
        if not isinstance(reading, str):
            self._lay_out(reading)
        folded = fold_control(self._desk, event, record.key, position(self.generation, record.offset))
        if isinstance(folded, str) or (self._desk.definitions.meters_digest is None and not folded):
            if self._desk.definitions.meters_digest is None:
                raise NoMeters(f"usage.events {self.partition} does not begin with a meters record")
            return Fate("rejected", "bad_control")
        for definition in folded:
            if isinstance(definition, ClockVersion):
                take_clock(self._desk, definition)
            self._desk.definitions.apply(definition)
            if isinstance(definition, Amendment) and not isinstance(reading, str):
                self._desk.amended.learn(definition)
                for window, scaled in reading.postings:
                    self._post(window, scaled, event, reading.time_us, record.offset)
        self.put_in_force += folded
        self._turn(self._desk.clocks.now_ms)
        return Fate("control")

    def _lay_out(self, reading: Reading) -> None:
        """What the fold of an amendment asks of its windows, from what was added up here."""
        self._desk.generation = self.generation
        for window, _ in reading.postings:
            tally, row = self.windows.get(window), self._desk.rows.get(window)
            if tally is not None and row is not None:
                row.scaled, row.first_offset, row.rev = tally.scaled, tally.first, revision(*tally.through)

    def row_of(self, window: Window) -> Row:
        """A window's row of this desk, which knows by whose time it becomes final."""
        return self._desk.rows.get(window) or Row(window)

    def in_force(self) -> list[Definition]:
        """Every version in force after what was taken."""
        return self._desk.definitions.all()

    # ── duplicates ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _is_copy(self, usage: Usage, record: LogRecord) -> bool:
        """Law 6: whether the id was counted before and is still live. Ids counted again, and ids with two bodies, are findings."""
        event, clocks = usage.event, self._desk.clocks
        name = field(event.subject) + field(event.source) + event.id.encode()
        identity, body = hashlib.blake2b(name, digest_size=16).digest(), _body_of(event, record.value)
        held = self._ids.get(identity)
        mine = Seen(clocks.now_ms // HOUR_MS, self.generation, record.offset, body)
        if held is None:
            self._ids[identity] = mine.packed()
            return False
        first = Seen.unpacked(held)
        is_live = first.bucket >= clocks.dead_before
        if usage.received_at_ms >= self.since_ms:
            self._say_ids(usage, mine, first, is_live=is_live)
        if not is_live:
            self._ids[identity] = mine.packed()
        return is_live

    def _say_ids(self, usage: Usage, mine: Seen, first: Seen, *, is_live: bool) -> None:
        dedup_ms, apart_ms = self._desk.definitions.timing.dedup_ms, self._desk.clocks.now_ms - first.bucket * HOUR_MS
        who, ids = usage.event, f"id {usage.event.id[:80]!r} of source {usage.event.source[:80]!r}"
        if not is_live:
            cause = f"the copies are about {format_ms(apart_ms // HOUR_MS * HOUR_MS)} apart, and timing.dedup promises {format_ms(dedup_ms)}"
            self._findings.add(_of_ids("twice", self.partition, who, mine, first, f"{ids} was counted twice", "counted again", cause))
        elif first.body != mine.body:
            cause = "a producer used one id for two events, or corrected one by sending it again: the first stands, the second was not counted"
            self._findings.add(_of_ids("conflict", self.partition, who, mine, first, f"{ids} has two bodies", "duplicate, not counted", cause))

    # ── adding up ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _count(self, usage: Usage, offset: int) -> None:
        for window, scaled in usage.postings:
            self._post(window, scaled, usage.event, usage.occurred_at_us, offset)

    def _post(self, window: Window, scaled: int, event: Event, at_us: int, offset: int) -> None:
        tally = self.windows.get(window)
        if tally is None:
            tally = self.windows[window] = Tally(offset)
            row = Row(window)
            row.own = window.customer in self._desk.definitions.clocks
            self._desk.rows.add(row)
        tally.scaled += scaled
        tally.events += 1
        tally.hash += event_hash(window.customer, window.meter, event.source, event.id, at_us, scaled)
        tally.through = (self.generation, offset)
        self.counters.postings += 1
        self._settle(Revision(window, self.generation, offset), tally)


def _body_of(event: Event, value: bytes | None) -> int:
    """64 bits of what the event says, whatever the order and spacing of its JSON; of its bytes where it cannot be written again."""
    try:
        said = json.dumps([event.type, event.time, event.data], sort_keys=True).encode()
    except ValueError:  # an integer of more digits than Python writes
        said = value or b""
    return int.from_bytes(hashlib.blake2b(said, digest_size=_BODY_BITS // 8).digest(), "little")


def _of_ids(kind: Kind, partition: int, event: Event, mine: Seen, first: Seen, what: str, now: str, cause: str) -> Finding:
    earlier = f" of generation {first.generation}" if first.generation != mine.generation else ""
    return Finding(
        kind=kind,
        partition=partition,
        offset=mine.offset,
        customer=event.subject,
        what=what,
        one=f"offset {first.offset}{earlier}",
        one_says="counted",
        other=f"offset {mine.offset}",
        other_says=now,
        cause=cause,
    )
