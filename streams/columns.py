"""From a batch to columns: one Python loop an event for decoding, everything after it is done for all records at once.

A record that is plain (known customer at home, fields of the right types, no headers of ours) is read here; every other one goes through
`topics.judging.judge`, the reference. Both must say the same: `tests/core/test_meter_columns.py` holds them against each other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec
import numpy as np

from streams.amounts import amounts_of, ones
from streams.plain import FLAT_BYTES, are_alike, is_flat, is_foreign, is_utf8
from streams.probing import Slots
from streams.shapes import Shape
from streams.sheet import CODE_BITS, I64, Column, Mask, Origins, Sheet
from streams.state import PartitionState
from streams.times import instants_us
from topics.batch import Batch
from topics.clocks import ClockVersion
from topics.definitions import Definition
from topics.event import Rejection
from topics.home import homes_of
from topics.instants import US_PER_MS, US_PER_S
from topics.judging import Control, Rerouted, Setting, Usage, judge
from topics.meters import COUNT, Meter, MeterVersion
from topics.windows import Window

_MAX_HELD_BYTES: Final = 1 << 28
"""What is held of customers and sources before all are forgotten: memory must not grow with history, nor with an id that a producer puts into
`source`; what is forgotten costs 10 µs to find again."""
_CUSTOMER_BYTES: Final = 250
_SOURCE_BYTES: Final = 300
"""What one costs beside its name, as 200,000 of each took it: too high a figure makes a partition of 200,000 customers forget them all the time."""
_SOME_TIME: Final = "1970-01-01T00:00:00.000Z"
FEW: Final = 8
"""Up to so many records the reference, 15 µs each, is faster than columns, which cost 200 µs however few stand in them."""
_READ_FAULTS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError)


class Reader:
    """Reads batches of one partition into columns; holds caches only, which never decide what a record means."""

    def __init__(self, state: PartitionState) -> None:
        self.state = state
        self.codes: dict[bytes | None, int] = {}
        """Number of a key's customer; −1: it is not at home here, or no text."""
        self.known: list[str] = []
        """Names of customers by their number."""
        self.clocked: set[int] = set()
        """Customers with a test clock: the reference judges all of theirs, by their time."""
        self.sources: dict[str, int] = {}
        self._source_names: list[str] = []
        self.origins = Origins()
        self._only_source, self._only = -1, np.empty(0, np.int64)
        self._numbers: Slots = np.zeros(0, np.int64)
        self._forgotten = -1
        """Their numbers in the table of rows, as long as that has forgotten no customer."""
        self.version = -1
        self._shape: Shape | None = None
        self._sheet: Sheet | None = None
        self._held_bytes = 0

    # ── what is forgotten ────────────────────────────────────────────────────────────────────────────────────────────
    def forget(self) -> None:
        """Empty the caches that depend on definitions; never inside a stretch."""
        self._shape = self._sheet = None
        clocks = self.state.definitions.clocks
        self.clocked = {number for number, name in enumerate(self.known) if name in clocks} if clocks else set()
        self.version = self.state.definitions.version

    def _forget_names(self) -> None:
        """Begin all numbers anew; nothing that holds one may be in use."""
        self.codes.clear()
        self.known.clear()
        self._forgotten = -1
        self.clocked.clear()
        self.sources.clear()
        self._source_names.clear()
        self.origins = Origins()
        self._only_source = -1
        self._held_bytes = 0

    def follow(self, folded: list[Definition]) -> None:
        """Forget what a control record made old: a test clock touches its customer alone, else such records of all customers would take for ever."""
        if self.version + len(folded) != self.state.definitions.version or any(isinstance(one, MeterVersion) for one in folded):
            self.forget()
            return
        for one in folded:
            number = self.codes.get(one.customer.encode(), -1) if isinstance(one, ClockVersion) else -1
            if number >= 0:
                self.clocked.add(number)
        self.version = self.state.definitions.version

    def done(self) -> None:
        """The batch is folded: let go of its columns."""
        self._sheet = None

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def sheet(self, batch: Batch, at: int) -> Sheet:
        """The columns that hold position `at` of the batch: read once, and once more where a record has changed the meters."""
        if self.version != self.state.definitions.version:
            self.forget()
        sheet = self._sheet
        if sheet is None or sheet.batch is not batch:
            if self._held_bytes + self.origins.held_bytes > _MAX_HELD_BYTES:
                self._forget_names()
            sheet = self._sheet = self._read(batch, at) if len(batch) - at > FEW else Sheet.blank(batch, at)
        return sheet

    def _read(self, batch: Batch, first: int) -> Sheet:
        if self._shape is None:
            self._shape = Shape(self.state.definitions)
        shape, sheet = self._shape, Sheet(batch, first)
        events = self._events(shape, sheet, batch.values[first:])
        sheet.not_plain(at - first for at in batch.headed() if at >= first and not is_foreign(batch.headers[at]))
        sheet.ids = [event.id for event in events]
        if not all(sheet.ids):
            sheet.not_plain(place for place, text in enumerate(sheet.ids) if not text)
        self._read_customers(sheet, events, list(batch.keys[first:]))
        _read_times(sheet, [event.time for event in events])
        self._read_postings(shape, sheet, events)
        return sheet

    def _events(self, shape: Shape, sheet: Sheet, values: Iterable[bytes | None]) -> list[Any]:
        """Decode each record; what cannot be decoded, or may be more than a plain record, is not plain."""
        events: list[Any] = []
        faults: list[int] = []
        left = iter(values)
        while True:
            try:
                events.extend(map(shape.decode, left))  # type: ignore[arg-type]  # a record without a value raises TypeError
                break
            except _READ_FAULTS:
                # what was decoded before it is in the list, and `left` stands behind it
                faults.append(len(events))
                events.append(shape.nothing)
        if len(events) != len(sheet.plain):
            raise AssertionError(f"{len(sheet.plain)} records gave {len(events)} events")
        present = [value or b"" for value in values] if faults else values
        if not b"".join(present).isascii():  # type: ignore[arg-type]
            faults += [place for place, value in enumerate(present) if value is not None and not value.isascii() and not is_utf8(value)]
        if max(map(len, present)) >= FLAT_BYTES:  # type: ignore[arg-type]
            faults += [place for place, value in enumerate(present) if value is not None and len(value) >= FLAT_BYTES and not is_flat(value)]
        sheet.not_plain(faults)
        return events

    def _read_customers(self, sheet: Sheet, events: list[Any], keys: list[bytes | None]) -> None:
        """Whose events they are, and where they come from."""
        subjects = [event.subject for event in events]
        if not are_alike(subjects, keys):
            sheet.not_plain(place for place, (subject, key) in enumerate(zip(subjects, keys, strict=True)) if subject.encode() != key)
        codes, sources = self.codes, [event.source for event in events]
        try:
            sheet.customers = np.fromiter(map(codes.__getitem__, keys), np.int64, len(keys))
        except KeyError:
            self._number_all(set(keys).difference(codes))
            sheet.customers = np.fromiter(map(codes.__getitem__, keys), np.int64, len(keys))
        sheet.plain &= sheet.customers >= 0
        distinct = set(sources)
        if "" in distinct:
            sheet.not_plain(place for place, source in enumerate(sources) if not source)
        if len(distinct) == 1:
            sheet.origins = self._origins_of(self._source(sources[0]), sheet.customers)
            return
        found = {source: self._source(source) for source in distinct}
        numbers = np.fromiter(map(found.__getitem__, sources), np.int64, len(sources))
        pairs = (sheet.customers << CODE_BITS | numbers).tolist()
        self._originate(set(pairs).difference(self.origins))
        sheet.origins = np.fromiter(map(self.origins.__getitem__, pairs), np.int64, len(pairs))

    def _origins_of(self, source: int, customers: I64) -> I64:
        """Numbers of customers and one source: by a table, since most producers write their name into all of their events."""
        if source != self._only_source or len(self._only) <= len(self.known):
            # one place more than there are customers: the last one, −1, is for keys that are nobody's
            self._only_source, self._only = source, np.full(2 * len(self.known) + 64, -1, np.int64)
        found: I64 = self._only[customers]
        if found.min() < 0:
            unknown = np.unique(customers[found < 0])
            pairs = (unknown << CODE_BITS | source).tolist()
            self._originate(set(pairs).difference(self.origins))
            self._only[unknown] = list(map(self.origins.__getitem__, pairs))
            found = self._only[customers]
        return found

    def _read_postings(self, shape: Shape, sheet: Sheet, events: list[Any]) -> None:
        """What each event selects, and how much."""
        kinds = [event.type for event in events]
        if len(set(kinds)) == 1:
            self._read_kind(shape, sheet, kinds[0], events, None)
            return
        places: dict[str, list[int]] = {kind: [] for kind in set(kinds)}
        for place, kind in enumerate(kinds):
            places[kind].append(place)
        for kind, where in places.items():
            self._read_kind(shape, sheet, kind, [events[place] for place in where], np.array(where, np.int64))

    def _read_kind(self, shape: Shape, sheet: Sheet, kind: str, events: list[Any], where: I64 | None) -> None:
        """Events of one type, which stand at these places (None: at all)."""
        plan = shape.plan(kind)
        whole = slice(None) if where is None else where
        if plan is None:
            sheet.plain[whole] = False
            return
        sheet.plain[whole] &= sheet.instants[whole] >= plan.since_us
        if where is None:
            where = np.arange(len(events), dtype=np.int64)
        selected = np.zeros(len(events), np.bool_)
        for meter in plan.meters:
            chosen, at = events, where
            if meter.where:
                having = np.array(shape.having(events, meter), np.bool_)
                selected |= having
                index = np.flatnonzero(having)
                chosen, at = [events[place] for place in index.tolist()], where[index]
            else:
                selected[:] = True
            if not len(at):
                continue
            if meter.value == COUNT:
                amounts = ones(len(at))
            else:
                amounts, faults = amounts_of(shape.column(chosen, meter.value), allow_negative=meter.allow_negative)
                sheet.plain[at[faults]] = False
            sheet.columns[meter.slug, meter.window_s] = Column(meter, at, amounts)
        if not selected.all():
            sheet.plain[where[~selected]] = False

    # ── numbers of names ─────────────────────────────────────────────────────────────────────────────────────────────
    def _number_all(self, keys: set[bytes | None]) -> None:
        """Numbers for the customers of new keys."""
        texts = [key for key in keys if key]
        for key, home in zip(texts, homes_of(texts, self.state.partitions), strict=True):
            self._number(key, home)
        for nobody in keys.difference(texts):
            self._number(nobody, -1)

    def _number(self, key: bytes | None, home: int) -> int:
        """A number for the customer of a key, whose home is known."""
        number = -1
        if key and home == self.state.partition:
            try:
                name = key.decode()
            except UnicodeDecodeError:
                pass
            else:
                number = len(self.known)
                self.known.append(name)
                if name in self.state.definitions.clocks:
                    self.clocked.add(number)
        self.codes[key] = number
        self._held_bytes += _CUSTOMER_BYTES + len(key or b"")
        return number

    def _source(self, name: str) -> int:
        number = self.sources.get(name)
        if number is None:
            number = self.sources[name] = len(self.sources)
            self._source_names.append(name)
            self._held_bytes += _SOURCE_BYTES + len(name)
        return number

    def _originate(self, pairs: Collection[int]) -> None:
        """Numbers for pairs of a customer and a source that have none."""
        found: list[tuple[str, str]] = []
        for pair in pairs:
            number, source = pair >> CODE_BITS, self._source_names[pair & ((1 << CODE_BITS) - 1)]
            found.append((self.known[number] if number >= 0 else "", source))
            self._held_bytes += _SOURCE_BYTES + len(source)
        self.origins.add(pairs, found, b"".join([self.state.digester.prefix(customer, source) for customer, source in found]))

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
    def rows_of(self, meter: Meter, customers: I64, instants: I64) -> tuple[Slots, I64]:
        """The rows of postings, each once, and which of them each posting belongs to. Rows that are not there are begun."""
        grid = instants // (meter.window_s * US_PER_S)
        lowest = int(grid.min())
        cells = (grid - lowest << CODE_BITS) | customers
        order = np.argsort(cells, kind="stable")
        ordered = cells[order]
        begins = np.ones(len(cells), np.bool_)
        begins[1:] = ordered[1:] != ordered[:-1]
        of = np.empty(len(cells), np.int64)
        of[order] = np.cumsum(begins) - 1
        firsts = order[begins]
        rows, starts_s = self.state.rows, grid[firsts] * meter.window_s
        numbers = self._numbers_of(customers[firsts])
        meters = np.full(len(firsts), rows.store.meters.number(meter.slug))
        slots = rows.store.find(numbers, meters, starts_s)
        # A row that is the whole cell takes all of its events: rows never overlap (law 8).
        there = slots >= 0
        there[there] = rows.store.columns["end_s"][slots[there]] == starts_s[there] + meter.window_s
        new = np.flatnonzero(~there)
        if not len(new):
            return slots, of
        cut = self._cut(meter, customers[firsts[new]], instants[firsts[new]])
        begun = new[~cut]
        own = np.isin(customers[firsts[begun]], list(self.clocked))
        slots[begun] = rows.begin(numbers[begun], meters[begun], starts_s[begun], starts_s[begun] + meter.window_s, own)
        if cut.any():
            slots = self._divide(meter, customers, instants, slots, of, new[cut])
        return slots, of

    def _numbers_of(self, customers: I64) -> Slots:
        """The table's numbers of customers."""
        store = self.state.rows.store
        if self._forgotten != store.forgotten or len(self._numbers) < len(self.known):
            kept = self._numbers if self._forgotten == store.forgotten else self._numbers[:0]
            self._numbers = np.full(len(self.known) + len(self.known) // 2, -1, np.int64)
            self._numbers[: len(kept)] = kept
            self._forgotten = store.forgotten
        found = self._numbers[customers]
        unknown = np.unique(customers[found < 0])
        if len(unknown):
            self._numbers[unknown] = store.customers.numbers(self.known[number] for number in unknown.tolist())
            found = self._numbers[customers]
        return found

    def _cut(self, meter: Meter, customers: I64, instants: I64) -> Mask:
        """True for grid cells that an edge of the customer's cuts."""
        cut, definitions = np.zeros(len(customers), np.bool_), self.state.definitions
        for place, number in enumerate(customers.tolist()) if definitions.items else ():
            name = self.known[number]
            if (name, meter.slug) in definitions.items:
                window = definitions.window_of(name, meter, int(instants[place]) // US_PER_S)
                cut[place] = window.end_s - window.start_s != meter.window_s
        return cut

    def _divide(self, meter: Meter, customers: I64, instants: I64, slots: Slots, of: I64, cut: Slots) -> Slots:
        """Grid cells that an edge cuts have several windows: each of their events is looked up."""
        rows, places, found, free = self.state.rows, dict[Window, int](), slots.tolist(), cut.tolist()
        for place in np.flatnonzero(np.isin(of, cut)).tolist():
            number = int(customers[place])
            window = self.state.definitions.window_of(self.known[number], meter, int(instants[place]) // US_PER_S)
            if window not in places:
                row = rows.get(window)
                slot = int(rows.make([window], own=number in self.clocked)[0]) if row is None else row.slot
                if free:
                    places[window] = free.pop()
                    found[places[window]] = slot
                else:
                    places[window] = len(found)
                    found.append(slot)
            of[place] = places[window]
        return np.array(found, np.int64)

    # ── the reference ────────────────────────────────────────────────────────────────────────────────────────────────
    def slow(self, batch: Batch, at: int) -> Rejection | Rerouted | Control | Usage:
        """The reference's judgement of one record."""
        state = self.state
        setting = Setting(state.partition, state.partitions, state.clocks.now_ms, state.clocks.final_until_us, state.definitions)
        return judge(batch.keys[at], batch.values[at], batch.headers[at], batch.timestamps_ms[at], setting)

    def take(self, sheet: Sheet, at: int, usage: Usage) -> None:
        """Write an event into the columns that the reference judged to be usage."""
        place, event = at - sheet.first, usage.event
        key = event.subject.encode()
        number = self.codes[key] if key in self.codes else self._number(key, self.state.partition)
        if number < 0:
            raise AssertionError("usage of a customer that is not at home")
        pair = number << CODE_BITS | self._source(event.source)
        sheet.judged[place] = True
        sheet.ids[place] = event.id
        sheet.instants[place] = usage.occurred_at_us
        sheet.customers[place] = number
        if pair not in self.origins:
            self._originate([pair])
        sheet.origins[place] = self.origins[pair]
        if sheet.few is not None:
            sheet.few += ((place, event.source, posting) for posting in usage.postings)
            return
        for posting in usage.postings:
            slug = posting.window.meter
            meter = self.state.definitions.meter_at(slug, usage.occurred_at_us // US_PER_S)
            if meter is None:
                raise AssertionError("a posting of a meter that is not in force")
            # A meter with history has several grids: each has columns of its own.
            sheet.column(meter).late.append((place, posting.scaled))


def _read_times(sheet: Sheet, texts: list[str | None]) -> None:
    """When events occurred; those that do not say so when they were received."""
    without: list[int] = []
    said: Any = texts
    if None in texts:
        without = [place for place, text in enumerate(texts) if text is None]
        said = [_SOME_TIME if text is None else text for text in texts]
    sheet.instants, faults = instants_us(said)
    sheet.not_plain(faults)
    if without:
        sheet.instants[without] = sheet.stamps[without] * US_PER_MS
