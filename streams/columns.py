"""From a batch to columns: all records at once, by compiled functions over their bytes (`topics/scanning.py`), without an object each.

A record that is plain (its customer at home, fields of the right types written without escapes, no headers of ours) is read here; every other
one goes through `topics.judging.judge`, the reference. Both must say the same: `tests/core/test_meter_columns.py` holds them against each other.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.grouping import group
from streams.heads import Heads, heads_of
from streams.homes import at_home
from streams.plain import is_foreign
from streams.probing import Slots
from streams.sheet import CODE_BITS, I64, Column, Mask, Origins, Sheet
from streams.state import PartitionState
from topics.batch import Batch
from topics.clocks import ClockVersion
from topics.definitions import Definition
from topics.event import Rejection
from topics.instants import US_PER_MS, US_PER_S, parse_us
from topics.judging import Control, Rerouted, Setting, Usage, judge
from topics.meters import COUNT, Meter, MeterVersion
from topics.numbering import Numbering
from topics.scan_amounts import amounts_of, ones
from topics.scan_times import UNSURE
from topics.scanning import HEADS, NUMBER, SOURCE, SUBJECT, TEXT, TIME, TYPE, scan
from topics.shapes import Shape
from topics.spans import Spans
from topics.windows import Window

_MAX_HELD_BYTES: Final = 1 << 28
"""What is held of customers and sources before all are forgotten: memory must not grow with history, nor with an id that a producer puts into
`source`; what is forgotten costs a microsecond to find again."""
_CUSTOMER_BYTES: Final = 100
_ORIGIN_BYTES: Final = 80
"""What one costs (a customer beside its name): too high a figure makes a partition of 200,000 customers forget them all the time."""
_MOST_TYPE_BYTES: Final = 1 << 20
"""Of names of event types, before all are forgotten: there are few, unless a producer makes one for each event."""
FEW: Final = 8
"""Up to so many records the reference, 15 µs each, is faster than columns, which cost 200 µs however few stand in them."""


class Reader:
    """Reads batches of one partition into columns; holds caches only, which never decide what a record means."""

    def __init__(self, state: PartitionState) -> None:
        self.state = state
        self._key = int.from_bytes(state.digester.key[:8], "little")
        self.customers = Numbering(self._key)
        """Numbers of customers, whether at home here or not."""
        self.known = 0
        """Of how many of them it was asked whether they are at home."""
        self.at_home = np.zeros(64, np.bool_)
        """One place more than there are customers at least: that of −1, which is nobody's number."""
        self.clocked: set[int] = set()
        """Customers with a test clock: the reference judges all of theirs, by their time."""
        self.sources = Numbering(self._key)
        self.types = Numbering(self._key)
        self.origins = Origins(self._key)
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
        self.clocked = self._clocked_from(0)
        self.version = self.state.definitions.version

    def _forget_names(self) -> None:
        """Begin all numbers anew; nothing that holds one may be in use."""
        self.customers, self.sources = Numbering(self._key), Numbering(self._key)
        self.known = 0
        self.at_home = np.zeros(64, np.bool_)
        self._forgotten = -1
        self.clocked.clear()
        self.origins = Origins(self._key)
        self._only_source = -1
        self._held_bytes = 0

    def follow(self, folded: list[Definition]) -> None:
        """Forget what a control record made old: a test clock touches its customer alone, else such records of all customers would take for ever."""
        if self.version + len(folded) != self.state.definitions.version or any(isinstance(one, MeterVersion) for one in folded):
            self.forget()
            return
        for one in folded:
            if isinstance(one, ClockVersion):
                self.clocked.add(self._number(one.customer))
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
            if self._held_bytes + self.sources.held_bytes > _MAX_HELD_BYTES:
                self._forget_names()
            sheet = self._sheet = self._read(batch, at) if len(batch) - at > FEW else Sheet.blank(batch, at)
        return sheet

    def _read(self, batch: Batch, first: int) -> Sheet:
        if self._shape is None:
            self._shape = Shape(self.state.definitions)
        shape = self._shape
        values, keys = Spans.of(batch.values)[first:], Spans.of(batch.keys)[first:]
        count = len(values)
        heads, fields = np.zeros((count, 2 * HEADS), np.int64), np.zeros((count, 3 * len(shape.ends)), np.int64)
        sheet = Sheet(batch, first, values.buffer, heads)
        scan(
            values.buffer, values.starts, values.lengths, keys.buffer, keys.starts, keys.lengths,
            shape.names, shape.ends, heads, fields, sheet.instants, sheet.plain,
        )  # fmt: skip
        sheet.not_plain(at - first for at in batch.headed() if at >= first and not is_foreign(batch.headers[at]))
        _read_times(sheet)
        self._read_customers(sheet)
        self._read_postings(shape, sheet, fields)
        return sheet

    def _read_customers(self, sheet: Sheet) -> None:
        """Whose events they are, and where they come from."""
        sheet.customers = self.customers.of(sheet.values, *sheet.head(SUBJECT), sheet.plain)
        if self.customers.count > self.known:
            self._know()
        sheet.plain &= self.at_home[sheet.customers]
        sheet.sources = self.sources.of(sheet.values, *sheet.head(SOURCE), sheet.plain)
        places = np.flatnonzero(sheet.plain)
        if not len(places):
            return
        customers, sources = sheet.customers[places], sheet.sources[places]
        if sources.min() == sources.max():
            sheet.origins[places] = self._origins_of(int(sources[0]), customers)
        else:
            pairs, of = np.unique(customers << CODE_BITS | sources, return_inverse=True)
            sheet.origins[places] = self._originate(pairs)[of]

    def _origins_of(self, source: int, customers: I64) -> I64:
        """Numbers of customers and one source: by a table, since most producers write their name into all of their events."""
        if source != self._only_source:
            self._only_source, self._only = source, np.empty(0, np.int64)
        if len(self._only) < self.known:
            self._only = np.concatenate([self._only, np.full(2 * self.known - len(self._only), -1, np.int64)])
        found: I64 = self._only[customers]
        unknown = _distinct(customers[found < 0])
        if len(unknown):
            self._only[unknown] = self._originate(unknown << CODE_BITS | source)
            found = self._only[customers]
        return found

    def _read_postings(self, shape: Shape, sheet: Sheet, fields: I64) -> None:
        """What each event selects, and how much."""
        kinds, places = self.types.of(sheet.values, *sheet.head(TYPE), sheet.plain), np.flatnonzero(sheet.plain)
        of, firsts = group(kinds[places])
        parts = [places] if len(firsts) == 1 else np.split(places[np.argsort(of, kind="stable")], np.cumsum(np.bincount(of))[:-1])
        for first, where in zip(firsts.tolist(), parts, strict=False):  # of no event at all there is one part, and no first
            self._read_kind(shape, sheet, self.types.name(kinds[places[first]]).decode(), fields, where)
        if self.types.held_bytes > _MOST_TYPE_BYTES:
            self.types = Numbering(self._key)

    def _read_kind(self, shape: Shape, sheet: Sheet, kind: str, fields: I64, where: I64) -> None:
        """Events of one type, which stand at these places."""
        plan = shape.plan(kind)
        if plan is None:
            sheet.plain[where] = False
            return
        sheet.plain[where] &= sheet.instants[where] >= plan.since_us
        selected = np.zeros(len(where), np.bool_)
        for meter in plan.meters:
            chosen, at = fields if len(where) == len(fields) else fields[where], where
            if meter.where:
                having = shape.having(sheet.values, chosen, meter)
                selected |= having
                chosen, at = chosen[having], where[having]
            else:
                selected[:] = True
            if not len(at):
                continue
            if meter.value == COUNT:
                amounts = ones(len(at))
            else:
                kinds, starts, lengths = shape.column(chosen, meter.value)
                amounts, faults = amounts_of(sheet.values, starts, lengths, allow_negative=meter.allow_negative)
                sheet.plain[at[faults]] = False
                sheet.plain[at[(kinds != NUMBER) & (kinds != TEXT)]] = False
            sheet.columns[meter.slug, meter.window_s] = Column(meter, at, amounts)
        if not selected.all():
            sheet.plain[where[~selected]] = False

    # ── numbers of names ─────────────────────────────────────────────────────────────────────────────────────────────
    def _know(self) -> None:
        """What is asked of customers that have just been numbered."""
        begin, end = self.known, self.customers.count
        if end > len(self.at_home):
            self.at_home = np.concatenate([self.at_home, np.zeros(2 * end - len(self.at_home), np.bool_)])
        names, ends = self.customers.held
        at_home(names, ends[begin : end + 1], self.state.partition, self.state.partitions, self.at_home[begin:end])
        self.known = end
        self.clocked |= self._clocked_from(begin)
        self._held_bytes += _CUSTOMER_BYTES * (end - begin) + int(ends[end] - ends[begin])

    def _clocked_from(self, begin: int) -> set[int]:
        """Those with a test clock of the customers from this number on."""
        clocks = self.state.definitions.clocks
        if not clocks:
            return set()
        return {number for number, name in enumerate(self.customers.names(begin, self.known), begin) if name.decode() in clocks}

    def _originate(self, pairs: I64) -> I64:
        """Numbers of distinct pairs of a customer and a source; those that have none get one."""
        found = self.origins.find(pairs)
        new = pairs[found < 0]
        if len(new):
            customers, sources = new >> CODE_BITS, new & ((1 << CODE_BITS) - 1)
            prefixes = self.state.digester.prefixes(self.customers.held, customers, self.sources.held, sources)
            found[found < 0] = self.origins.add(new, prefixes)
            self._held_bytes += _ORIGIN_BYTES * len(new)
        return found

    def customer(self, number: int) -> str:
        """The name of a customer."""
        return self.customers.name(number).decode()

    def source(self, number: int) -> str:
        """The name of a source."""
        return self.sources.name(number).decode()

    def heads(self, meter: str, customers: I64, sources: I64) -> Heads:
        """The first hashed bytes of a meter's postings."""
        return heads_of(meter, customers, sources, self.customers, self.sources)

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
    def rows_of(self, meter: Meter, customers: I64, instants: I64) -> tuple[Slots, I64]:
        """The rows of postings, each once, and which of them each posting belongs to. Rows that are not there are begun."""
        grid = instants // (meter.window_s * US_PER_S)
        lowest = int(grid.min())
        cells = (grid - lowest << CODE_BITS) | customers
        of, firsts = group(cells)
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

    def _number(self, customer: str) -> int:
        """The number of one customer."""
        number = self.customers.one(customer.encode())
        if number == self.known:
            self._know()
        return number

    def _numbers_of(self, customers: I64) -> Slots:
        """The table's numbers of customers."""
        store = self.state.rows.store
        if self._forgotten != store.forgotten or len(self._numbers) < self.known:
            kept = self._numbers if self._forgotten == store.forgotten else self._numbers[:0]
            self._numbers = np.full(self.known + self.known // 2, -1, np.int64)
            self._numbers[: len(kept)] = kept
            self._forgotten = store.forgotten
        found = self._numbers[customers]
        unknown = _distinct(customers[found < 0])
        if len(unknown):
            self._numbers[unknown] = store.customers.numbers_of(self.customers.some(unknown))
            found = self._numbers[customers]
        return found

    def _cut(self, meter: Meter, customers: I64, instants: I64) -> Mask:
        """True for grid cells that an edge of the customer's cuts."""
        cut, definitions = np.zeros(len(customers), np.bool_), self.state.definitions
        for place, number in enumerate(customers.tolist()) if definitions.items else ():
            name = self.customer(number)
            if (name, meter.slug) in definitions.items:
                window = definitions.window_of(name, meter, int(instants[place]) // US_PER_S)
                cut[place] = window.end_s - window.start_s != meter.window_s
        return cut

    def _divide(self, meter: Meter, customers: I64, instants: I64, slots: Slots, of: I64, cut: Slots) -> Slots:
        """Grid cells that an edge cuts have several windows: each of their events is looked up."""
        rows, places, found, free = self.state.rows, dict[Window, int](), slots.tolist(), cut.tolist()
        for place in np.flatnonzero(np.isin(of, cut)).tolist():
            number = int(customers[place])
            window = self.state.definitions.window_of(self.customer(number), meter, int(instants[place]) // US_PER_S)
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
        number = self._number(event.subject)
        if not self.at_home[number]:
            raise AssertionError("usage of a customer that is not at home")
        source = self.sources.one(event.source.encode())
        sheet.judged[place] = True
        sheet.named[place] = event.id.encode()
        sheet.instants[place] = usage.occurred_at_us
        sheet.customers[place] = number
        sheet.sources[place] = source
        sheet.origins[place] = self._originate(np.array([number << CODE_BITS | source]))[0]
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


def _distinct(numbers: I64) -> I64:
    """Each once, in the order in which they came first."""
    found: I64 = numbers[group(numbers)[1]]
    return found


def _read_times(sheet: Sheet) -> None:
    """When events occurred, where the text of the time is of another form; those that do not say so, when they were received."""
    unsure = np.flatnonzero(sheet.plain & (sheet.instants == UNSURE))
    if not len(unsure):
        return
    starts, lengths = sheet.head(TIME)
    without = unsure[starts[unsure] == 0]
    sheet.instants[without] = sheet.stamps[without] * US_PER_MS
    for place in unsure[starts[unsure] > 0].tolist():
        begin = int(starts[place])
        instant_us = parse_us(sheet.values[begin : begin + int(lengths[place])].tobytes().decode())
        sheet.plain[place] = instant_us is not None
        sheet.instants[place] = instant_us or 0
