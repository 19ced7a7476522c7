"""From a batch to columns: one Python loop an event for decoding and checks, everything after it is columnar.

A record that is plain (known customer at home, no headers, fields of the right types, time in UTC, meters without history) is read here; every
other one goes through `topics.judging.judge`, the reference. Both must say the same: `tests/core/test_meter_columns.py` holds them against
each other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from streams.rows import Row
from streams.state import PartitionState
from topics.batch import Batch
from topics.bindings import ItemVersion
from topics.clocks import ClockVersion
from topics.content_hash import field
from topics.definitions import Definition
from topics.event import CONTROL_PREFIX, MAX_DEPTH, Event, Rejection
from topics.home import home_of
from topics.instants import US_PER_MS, US_PER_S, parse_us
from topics.judging import Control, Rerouted, Setting, Usage, judge, scaled_quantity, selected
from topics.meters import BEGINNING_S, COUNT, Meter, MeterVersion
from topics.quantity import LIMIT, ONE, Digits
from topics.windows import Window

_decode = msgspec.json.Decoder(Event, float_hook=Digits).decode
_MAX_PLAIN_BYTES: Final = 64 * 1024
"""A plain record is far smaller; larger ones take the slow path, where sizes are counted exactly."""
_MAX_CUSTOMERS: Final = 1 << 18
"""Customers before all are forgotten, about 1 kB each: memory must not grow with history, and what is forgotten costs 10 µs to find again."""
_MAX_TIMES: Final = 1 << 16
"""Seconds, and fractions of a second, before they are forgotten: a day of seconds; microseconds are not worth more."""
_MAX_SOURCES: Final = 1 << 20
"""Sources of all customers before they are forgotten: a producer that puts an id into `source` must not fill the memory."""
_MAX_NAME: Final = 512
"""A name (key, source, type) longer than this is not kept: names come from producers, and a mistaken one may be 64 KiB."""
_MAX_FRESH: Final = 1 << 16
"""Rows that only duplicates asked for, before they are forgotten."""
_FORGET_ROWS: Final = 1 << 18
"""Retired rows before the cells that still point to them are let go: walking all customers at each flush would cost more than it frees."""


class Source:
    """What all events of one customer and source share: the keyed prefix of their ids, the first hashed bytes by meter."""

    __slots__ = ("heads", "prefix")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.heads: dict[str, bytes] = {}


class Customer:
    """A customer at home here: name, sources, and cells (rows) by grid start and meter."""

    __slots__ = ("cells", "name", "sources")

    def __init__(self, name: str) -> None:
        self.name = name
        self.cells: dict[int, Row] = {}
        self.sources: dict[str, Source] = {}


class Plan:
    """The meters of one event type, where each has had one version from the beginning; else `meters` is None and the reference is asked."""

    __slots__ = ("meters", "only_count", "only_meter")

    def __init__(self, state: PartitionState, event_type: str) -> None:
        versions = [state.definitions.meters[slug] for slug in state.definitions.by_type.get(event_type, ())]
        steady = all(len(found) == 1 and found[0].valid_from_s == BEGINNING_S and not found[0].removed for found in versions)
        steady = steady and bool(versions) and not event_type.startswith(CONTROL_PREFIX)
        self.meters: tuple[Meter, ...] | None = tuple(found[0].meter for found in versions) if steady else None
        only = self.meters[0] if self.meters and len(self.meters) == 1 and not self.meters[0].where else None
        self.only_meter = only
        self.only_count = [(only, ONE)] if only is not None and only.value == COUNT else None

    def postings(self, event: Event, instant_us: int, state: PartitionState) -> list[tuple[Meter, int]] | None:
        """Meter and quantity × 10¹² of each posting; None where one is at fault and the reference must say how."""
        found: list[tuple[Meter, int]] = []
        meters = self.meters or ()
        if self.only_meter is None and any(meter.where for meter in meters):
            meters = tuple(selected(event, instant_us // US_PER_S, state.definitions))
        for meter in meters:
            data = event.data
            value = data.get(meter.value) if type(data) is dict else None
            if meter.value == COUNT:
                scaled: int | Rejection = ONE
            elif type(value) is int and 0 <= value <= LIMIT:
                scaled = value * ONE
            else:
                scaled = scaled_quantity(event, meter)
            if isinstance(scaled, Rejection):
                return None
            found.append((meter, scaled))
        return found or None


class Columns:
    """Usage of one stretch of a batch, not yet cleared of duplicates; `at` are positions in the batch."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self.ids: list[str] = []
        self.prefixes: list[bytes] = []
        self.occurred_at_us: list[int] = []
        # one entry a posting: which usage row it belongs to, its window's row, quantity × 10¹², first hashed bytes
        self.of: list[int] = []
        self.rows: list[Row] = []
        self.scaled: list[int] = []
        self.heads: list[bytes] = []


class Reader:
    """Reads batches of one partition into columns; holds caches only, which never decide what a record means."""

    def __init__(self, state: PartitionState) -> None:
        self.state = state
        self.customers: dict[bytes | None, Customer | None] = {}
        self.clocked: dict[bytes, Customer] = {}
        """Customers with a test clock: `plain` knows none of them, so the reference judges all of theirs, by their time."""
        self.plans: dict[str, Plan] = {}
        self.seconds: dict[str, int | None] = {}
        self.fractions: dict[str, int] = {"Z": 0}
        self.meter_numbers: dict[str, int] = {}
        self.fresh: dict[Window, Row] = {}
        """Rows that took no event yet (all theirs were duplicates): a window has one row at any time, whatever the caches forget."""
        self.version = -1
        self._sources = 0
        self._retired = 0

    def forget(self) -> None:
        """Empty the caches that depend on definitions and rows; never inside a stretch."""
        self.plans.clear()
        for customer in (*self.customers.values(), *self.clocked.values()):
            if customer is not None:
                customer.cells.clear()
        self.fresh.clear()
        self._retired = 0
        self.version = self.state.definitions.version

    def follow(self, folded: list[Definition]) -> None:
        """Forget what a control record made old: a binding touches its customer alone, else binding all customers would take for ever."""
        if self.version + len(folded) != self.state.definitions.version or any(isinstance(one, MeterVersion) for one in folded):
            self.forget()
            return
        for one in folded:
            if isinstance(one, ClockVersion):
                self.customers.pop(one.customer.encode(), None)
            customer = self._known(one.customer.encode()) if isinstance(one, ItemVersion) else None
            if customer is not None:
                customer.cells.clear()
        self.version = self.state.definitions.version

    def settle(self) -> None:
        """A stretch is counted: what took an event is among the state's rows now."""
        if self.fresh:
            self.fresh = {window: row for window, row in self.fresh.items() if row.first_offset < 0}
        if len(self.fresh) > _MAX_FRESH:
            self.forget()

    def retired(self, rows: int) -> None:
        """So many rows were let go. A cell that points to one is never asked for again (its events are too late), it only holds memory."""
        self._retired += rows
        if self._retired >= _FORGET_ROWS:
            self.forget()

    def plain(self, batch: Batch, at: int, columns: Columns) -> int:
        """Take plain records from position `at` on; returns the position of the first that is not plain, or the end.

        It stops where the log's now moves, at a hole in the offsets, at a header, and at whatever the reference must judge.
        """
        state, clocks = self.state, self.state.clocks
        offsets, stamps, headers = batch.offsets, batch.timestamps_ms, batch.headers
        keys, values = batch.keys, batch.values
        customers, plans, seconds, fractions = self.customers.get, self.plans.get, self.seconds.get, self.fractions.get
        add_at, add_id, add_prefix, add_moment = columns.at.append, columns.ids.append, columns.prefixes.append, columns.occurred_at_us.append
        add_of, add_row, add_scaled, add_head = columns.of.append, columns.rows.append, columns.scaled.append, columns.heads.append
        index, numbers = len(columns.at), self.meter_numbers
        now_ms, final_until_us, next_offset = clocks.now_ms, clocks.final_until_us, state.counters.next_offset
        ahead_us = (now_ms + state.definitions.timing.future_ms) * US_PER_MS
        for at in range(at, len(offsets)):  # noqa: B020, PLR1704 - `at` is where the loop stands when it breaks
            value = values[at]
            if stamps[at] > now_ms or offsets[at] != next_offset or headers[at] or value is None:
                break
            customer = customers(keys[at]) or self._customer(keys[at])
            if customer is None or len(value) > _MAX_PLAIN_BYTES or not value.isascii():
                break
            if len(value) > 2 * MAX_DEPTH and value.count(b"{") + value.count(b"[") > MAX_DEPTH:
                break
            try:
                event = _decode(value)
            except (msgspec.DecodeError, RecursionError):
                break
            text, plan = event.time, plans(event.type) or self._plan(event.type)
            if event.subject != customer.name or event.specversion != "1.0" or not event.id or not event.source or text is None:
                break
            instant_us, fraction_us = seconds(text[:19]), fractions(text[19:])
            if instant_us is None or fraction_us is None:
                instant_us = self._instant_us(text)
            else:
                instant_us += fraction_us
            if plan.meters is None or instant_us is None or not final_until_us <= instant_us <= ahead_us:
                break
            postings = plan.only_count or plan.postings(event, instant_us, state)
            if postings is None:
                break
            source = customer.sources.get(event.source) or self._source(customer, event.source)
            add_at(at)
            add_id(event.id)
            add_prefix(source.prefix)
            add_moment(instant_us)
            for meter, scaled in postings:
                cell = (instant_us // (meter.window_s * US_PER_S) << 16) | numbers[meter.slug]
                add_of(index)
                add_row(customer.cells.get(cell) or self._row(customer, meter, instant_us // US_PER_S, cell))
                add_scaled(scaled)
                add_head(source.heads.get(meter.slug) or self._head(customer, source, event.source, meter.slug))
            index += 1
            next_offset += 1
        else:
            at = len(offsets)
        state.counters.next_offset = next_offset
        return at

    def _known(self, key: bytes) -> Customer | None:
        return self.clocked.get(key) or self.customers.get(key)

    def _customer(self, key: bytes | None) -> Customer | None:
        """The customer of a key that is at home here; None where it is not, or is no text."""
        customer = None
        if key and home_of(key, self.state.partitions) == self.state.partition:
            try:
                customer = Customer(key.decode())
            except UnicodeDecodeError:
                customer = None
        if customer is not None and customer.name in self.state.definitions.clocks:
            self.clocked.setdefault(key or b"", customer)
            customer = None
        if key is None or len(key) <= _MAX_NAME:
            if len(self.customers) >= _MAX_CUSTOMERS:
                self.customers.clear()
                self._sources = 0
            self.customers[key] = customer
        return customer

    def _plan(self, event_type: str) -> Plan:
        if len(self.plans) >= 10_000:
            self.plans.clear()
        plan = Plan(self.state, event_type)
        if len(event_type) <= _MAX_NAME:
            self.plans[event_type] = plan
        for meter in plan.meters or ():
            self.meter_numbers.setdefault(meter.slug, len(self.meter_numbers))
        return plan

    def _instant_us(self, text: str) -> int | None:
        """`2026-11-03T10:00:05[.123456]Z` by a cache of its seconds; None for any other form."""
        if not 20 <= len(text) <= 27 or text[-1] != "Z" or not text.isascii():
            return None
        second = text[:19]
        instant_us = self.seconds.get(second, -1)
        if instant_us == -1:
            if len(self.seconds) >= _MAX_TIMES:
                self.seconds.clear()
            instant_us = self.seconds[second] = parse_us(second + "Z")
        fraction = text[20:-1]
        if instant_us is None or len(text) == 20:
            return instant_us
        if text[19] != "." or not fraction.isdigit():
            return None
        if len(self.fractions) >= _MAX_TIMES:
            self.fractions.clear()
            self.fractions["Z"] = 0
        self.fractions[text[19:]] = fraction_us = int(fraction.ljust(6, "0"))
        return instant_us + fraction_us

    def _row(self, customer: Customer, meter: Meter, instant_s: int, cell: int) -> Row:
        """The row of the window that holds the instant, or a new one that is not registered yet."""
        window = self.state.definitions.window_of(customer.name, meter, instant_s)
        row = self.state.rows.get(window) or self.fresh.setdefault(window, Row(window))
        # A cell that an edge cuts has several windows: it is looked up each time.
        if window.end_s - window.start_s == meter.window_s:
            customer.cells[cell] = row
        return row

    @staticmethod
    def _head(customer: Customer, source: Source, name: str, slug: str) -> bytes:
        head = source.heads[slug] = field(customer.name) + field(slug) + field(name)
        return head

    def _source(self, customer: Customer, name: str) -> Source:
        source = Source(self.state.digester.prefix(customer.name, name))
        if len(name) > _MAX_NAME:
            return source
        self._sources += 1
        if self._sources > _MAX_SOURCES:
            self._sources = 1
            for other in self.customers.values():
                if other is not None:
                    other.sources.clear()
        customer.sources[name] = source
        return source

    def take(self, columns: Columns, at: int, key: bytes, usage: Usage) -> None:
        """Add an event that the reference judged to be usage."""
        customer = self._known(key) or self._customer(key) or self._known(key)
        if customer is None:
            raise AssertionError("usage of a customer that is not at home")
        event, window_at_s = usage.event, usage.occurred_at_us // US_PER_S
        source = customer.sources.get(event.source) or self._source(customer, event.source)
        index = len(columns.at)
        columns.at.append(at)
        columns.ids.append(event.id)
        columns.prefixes.append(source.prefix)
        columns.occurred_at_us.append(usage.occurred_at_us)
        for posting in usage.postings:
            slug = posting.window.meter
            meter = self.state.definitions.meter_at(slug, window_at_s)
            if meter is None:
                raise AssertionError("a posting of a meter that is not in force")
            # A meter with history has several grids: a cell of one must not be taken for a cell of another.
            number = self.meter_numbers.setdefault(f"{slug}/{meter.window_s}", len(self.meter_numbers))
            cell = (window_at_s // meter.window_s << 16) | number
            columns.of.append(index)
            columns.rows.append(customer.cells.get(cell) or self._row(customer, meter, window_at_s, cell))
            columns.scaled.append(posting.scaled)
            columns.heads.append(source.heads.get(slug) or self._head(customer, source, event.source, slug))

    def slow(self, batch: Batch, at: int) -> Rejection | Rerouted | Control | Usage:
        """The reference's judgement of one record."""
        state = self.state
        setting = Setting(state.partition, state.partitions, state.clocks.now_ms, state.clocks.final_until_us, state.definitions)
        return judge(batch.keys[at], batch.values[at], batch.headers[at], batch.timestamps_ms[at], setting)
