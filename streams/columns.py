"""From a batch to columns: one Python loop an event for decoding and checks, everything after it is columnar.

A record that is plain (known customer at home, no headers, fields of the right types, time in UTC, meters without history) is read here; every
other one goes through `topics.judging.judge`, the reference. Both must say the same: `tests/core/test_columns.py` holds them against each other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from streams.rows import Row
from streams.state import PartitionState
from topics.batch import Batch
from topics.content_hash import field
from topics.event import CONTROL_PREFIX, MAX_DEPTH, Event
from topics.home import home_of
from topics.instants import US_PER_MS, US_PER_S, parse_us
from topics.judging import Control, Rejection, Rerouted, Setting, Usage, judge, scaled_quantity, selected
from topics.meters import BEGINNING_S, COUNT, Meter
from topics.quantity import LIMIT, ONE, Digits
from topics.windows import Window

_decode = msgspec.json.Decoder(Event, float_hook=Digits).decode
_MAX_PLAIN_BYTES: Final = 64 * 1024
"""A plain record is far smaller; larger ones take the slow path, where sizes are counted exactly."""
_MAX_CACHED: Final = 1 << 20
"""Entries of a cache before it is emptied: it must not grow with history."""


class Customer:
    """A customer at home here: cached name, id prefixes by source, cells by meter and grid start."""

    __slots__ = ("cells", "heads", "name", "prefixes")

    def __init__(self, name: str) -> None:
        self.name = name
        self.cells: dict[int, Row | None] = {}
        self.prefixes: dict[str, bytes] = {}
        self.heads: dict[tuple[str, str], bytes] = {}


class Plan:
    """The meters of one event type, where each has had one version from the beginning; else `meters` is None and every event is asked."""

    __slots__ = ("filtered", "meters")

    def __init__(self, state: PartitionState, event_type: str) -> None:
        versions = [state.definitions.meters[slug] for slug in state.definitions.by_type.get(event_type, ())]
        plain = all(len(found) == 1 and found[0].valid_from_s == BEGINNING_S and not found[0].removed for found in versions)
        self.meters: tuple[Meter, ...] | None = tuple(found[0].meter for found in versions) if plain and versions else None
        self.filtered = bool(self.meters) and any(meter.where for meter in self.meters or ())


class Columns:
    """Usage of one stretch of a batch, not yet cleared of duplicates; `at` are positions in the batch."""

    def __init__(self) -> None:
        self.at: list[int] = []
        self.ids: list[str] = []
        self.prefixes: list[bytes] = []
        self.occurred_at_us: list[int] = []
        self.sources: list[str] = []
        # one entry a posting: which usage row it belongs to, its window's row, quantity × 10¹², first hashed bytes
        self.of: list[int] = []
        self.rows: list[Row] = []
        self.scaled: list[int] = []
        self.heads: list[bytes] = []


class Reader:
    """Reads batches of one partition into columns; holds caches only, which never decide what a record means."""

    def __init__(self, state: PartitionState) -> None:
        self.state = state
        self.customers: dict[bytes, Customer | None] = {}
        self.plans: dict[str, Plan] = {}
        self.minutes: dict[str, int | None] = {}
        self.meter_numbers: dict[str, int] = {}
        self.fresh: dict[Window, Row] = {}
        """Rows of this stretch that took no event yet."""
        self.version = -1

    def forget(self) -> None:
        """Empty the caches that depend on definitions and rows: after a control record, after rows were retired."""
        self.plans.clear()
        for customer in self.customers.values():
            if customer is not None:
                customer.cells.clear()
        self.version = self.state.definitions.version

    def _customer(self, key: bytes) -> Customer | None:
        """The customer of a key that is at home here; None where it is not, or is no text."""
        if len(self.customers) >= _MAX_CACHED:
            self.customers.clear()
        customer = None
        if home_of(key, self.state.partitions) == self.state.partition:
            try:
                customer = Customer(key.decode())
            except UnicodeDecodeError:
                customer = None
        self.customers[key] = customer
        return customer

    def plain(self, key: bytes | None, value: bytes | None, now_ms: int) -> tuple[Customer, Event, int, tuple[Meter, ...]] | None:
        """Customer, event, microseconds and meters of a plain record; None where the reference must judge it."""
        if key is None or value is None or len(value) > _MAX_PLAIN_BYTES or not value.isascii():
            return None
        customer = self.customers.get(key) or self._customer(key)
        if customer is None or (len(value) > 2 * MAX_DEPTH and value.count(b"{") + value.count(b"[") > MAX_DEPTH):
            return None
        try:
            event = _decode(value)
        except (msgspec.DecodeError, RecursionError):
            return None
        if event.subject != customer.name or event.specversion != "1.0" or not event.id or not event.source or event.time is None:
            return None
        event_type = event.type
        plan = self.plans.get(event_type)
        if plan is None:
            plan = self.plans[event_type] = Plan(self.state, event_type)
        if plan.meters is None or event_type.startswith(CONTROL_PREFIX):
            return None
        instant_us = self._instant_us(event.time)
        if instant_us is None or instant_us < self.state.clocks.final_until_us:
            return None
        if instant_us > (now_ms + self.state.definitions.timing.future_ms) * US_PER_MS:
            return None
        meters = plan.meters
        if plan.filtered:
            meters = tuple(selected(event, instant_us // US_PER_S, self.state.definitions))
            if not meters:
                return None
        return customer, event, instant_us, meters

    def _instant_us(self, text: str) -> int | None:
        """`2026-11-03T10:00:05[.123]Z` by a cache of its minutes; None for any other form."""
        if len(text) < 20 or text[-1] != "Z" or text[16] != ":" or len(text) > 27:
            return None
        minute = self.minutes.get(text[:16], -1)
        if minute == -1:
            if len(self.minutes) >= _MAX_CACHED:
                self.minutes.clear()
            minute = self.minutes[text[:16]] = parse_us(text[:16] + ":00Z")
        seconds, fraction = text[17:19], text[20:-1]
        if minute is None or not seconds.isdigit() or not seconds.isascii() or seconds > "59":
            return None
        if len(text) == 20:
            return minute + int(seconds) * US_PER_S
        if text[19] != "." or not fraction.isdigit() or not fraction.isascii():
            return None
        return minute + int(seconds) * US_PER_S + int(fraction.ljust(6, "0"))

    def row(self, customer: Customer, meter: Meter, instant_s: int) -> Row:
        """The row of the window that holds the instant, or a new one that is not registered yet."""
        number = self.meter_numbers.setdefault(meter.slug, len(self.meter_numbers))
        grid_s = instant_s // meter.window_s * meter.window_s
        cell = (grid_s << 16) | number
        row = customer.cells.get(cell)
        if row is not None:
            return row
        window = self.state.definitions.window_of(customer.name, meter, instant_s)
        row = self.state.rows.get(window) or self.fresh.setdefault(window, Row(window))
        # A cell that an edge cuts has several windows: it is looked up each time.
        if window.end_s - window.start_s == meter.window_s:
            if len(customer.cells) >= _MAX_CACHED:
                customer.cells.clear()
            customer.cells[cell] = row
        return row

    def take(self, columns: Columns, at: int, key: bytes, usage: Usage) -> None:
        """Add an event that the reference judged to be usage."""
        customer = self.customers.get(key) or self._customer(key)
        if customer is None:
            raise AssertionError("usage of a customer that is not at home")
        instant_s = usage.occurred_at_us // US_PER_S
        postings = []
        for posting in usage.postings:
            meter = self.state.definitions.meter_at(posting.window.meter, instant_s)
            if meter is None:
                raise AssertionError("a posting of a meter that is not in force")
            postings.append((meter, posting.scaled))
        self.post(columns, at, customer, usage.event, usage.occurred_at_us, postings)

    def post(
        self, columns: Columns, at: int, customer: Customer, event: Event, occurred_at_us: int, postings: list[tuple[Meter, int]]
    ) -> None:
        """Append one event and its postings."""
        source = event.source
        prefix = customer.prefixes.get(source)
        if prefix is None:
            if len(customer.prefixes) >= 1024:  # a producer that puts an id into `source` must not fill the memory
                customer.prefixes.clear()
                customer.heads.clear()
            prefix = customer.prefixes[source] = self.state.digester.prefix(customer.name, source)
        index = len(columns.at)
        columns.at.append(at)
        columns.ids.append(event.id)
        columns.prefixes.append(prefix)
        columns.occurred_at_us.append(occurred_at_us)
        columns.sources.append(source)
        instant_s = occurred_at_us // US_PER_S
        for meter, scaled in postings:
            head = customer.heads.get((meter.slug, source))
            if head is None:
                head = customer.heads[meter.slug, source] = field(customer.name) + field(meter.slug) + field(source)
            columns.of.append(index)
            columns.rows.append(self.row(customer, meter, instant_s))
            columns.scaled.append(scaled)
            columns.heads.append(head)

    def slow(self, batch: Batch, at: int, now_ms: int) -> Rejection | Rerouted | Control | Usage:
        """The reference's judgement of one record."""
        state = self.state
        setting = Setting(state.partition, state.partitions, now_ms, state.clocks.final_until_us, state.definitions)
        return judge(batch.keys[at], batch.values[at], batch.headers[at], batch.timestamps_ms[at], setting)


def quantities(event: Event, meters: tuple[Meter, ...]) -> list[tuple[Meter, int]] | None:
    """Meter and quantity × 10¹² of each posting; None where one is at fault and the reference must say how."""
    found: list[tuple[Meter, int]] = []
    for meter in meters:
        if meter.value == COUNT:
            found.append((meter, ONE))
            continue
        data = event.data
        value = data.get(meter.value) if type(data) is dict else None
        if type(value) is int and 0 <= value <= LIMIT:
            found.append((meter, value * ONE))
            continue
        scaled = scaled_quantity(event, meter)
        if isinstance(scaled, Rejection):
            return None
        found.append((meter, scaled))
    return found
