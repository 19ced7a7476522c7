"""Law 0 and 8: the versions of meters and items in force at an instant, and the window that holds an instant.

`Definitions` is state of a partition, changed only by control records (`streams/control.py`) or, in the archive and the report, by what the
fold published to `usage.definitions`. An instant uses the version valid at it, for ever.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Any

import msgspec

from topics.adjustments import Settlement
from topics.amendments import Amendment
from topics.bindings import Item, ItemVersion, Release
from topics.clocks import ClockVersion, Time
from topics.closed import Closed
from topics.codec import VERSION, decode, encode
from topics.errors import UnknownVersion
from topics.flushes import Flush
from topics.instants import US_PER_MS
from topics.invoices import Invoice, supersedes
from topics.meter_errors import MeterError
from topics.meters import BEGINNING_S, Meter, MeterVersion, Timing, TimingVersion
from topics.restating import Restatement
from topics.windows import Window, grid_start

Definition = (
    MeterVersion | TimingVersion | ItemVersion | Release | MeterError | Invoice | Settlement | Restatement | Flush | ClockVersion | Closed | Amendment
)


class _Kind(msgspec.Struct):
    kind: str


_kind = msgspec.json.Decoder(_Kind)
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "meter": msgspec.json.Decoder(MeterVersion),
    "timing": msgspec.json.Decoder(TimingVersion),
    "binding": msgspec.json.Decoder(ItemVersion),
    "release": msgspec.json.Decoder(Release),
    "meter_error": msgspec.json.Decoder(MeterError),
    "invoice": msgspec.json.Decoder(Invoice),
    "settlement": msgspec.json.Decoder(Settlement),
    "restatement": msgspec.json.Decoder(Restatement),
    "flush": msgspec.json.Decoder(Flush),
    "clock": msgspec.json.Decoder(ClockVersion),
    "closed": msgspec.json.Decoder(Closed),
    "amendment": msgspec.json.Decoder(Amendment),
}


def definition_key(definition: Definition) -> bytes:
    """Key on `usage.definitions`: [kind, id, valid_from_s or offset]; one key a version, so compaction keeps all; of an invoice the last word."""
    if isinstance(definition, MeterVersion):
        return encode(["meter", definition.meter.slug, definition.valid_from_s])
    if isinstance(definition, ItemVersion):
        return encode(["binding", definition.customer, definition.meter, definition.valid_from_s, definition.offset])
    if isinstance(definition, MeterError):
        said = definition.said
        return encode(["meter_error", said.provider, said.account, said.event, said.code])
    if isinstance(definition, Invoice):
        invoice = definition.said
        return encode(["invoice", invoice.provider, invoice.account, invoice.invoice])
    if isinstance(definition, Settlement | Restatement):
        return encode([definition.kind, definition.said.target, definition.offset])
    if isinstance(definition, Closed):
        return encode(["closed", definition.partition])
    if isinstance(definition, Amendment):
        return encode(["amendment", definition.customer, definition.generation, definition.offset])
    if isinstance(definition, Flush | ClockVersion):
        return encode([definition.kind, definition.customer, definition.offset])
    return encode([definition.kind, "" if isinstance(definition, TimingVersion) else definition.target, definition.offset])


def decode_definition(data: bytes, where: str) -> Definition:
    """A record of `usage.definitions`. Raises MalformedRecord or UnknownVersion, naming `where`."""
    kind = decode(data, _kind, where).kind
    if kind not in _decoders:
        raise UnknownVersion(f"{where}: definition kind {kind!r} is unknown to this program (record version {VERSION}); upgrade tidemark")
    definition: Definition = decode(data, _decoders[kind], where)
    return definition


class Definitions:
    """Versions in force on one partition; answers "which meters, which window, which item" for an instant."""

    def __init__(self) -> None:
        self.timing = Timing()
        self.meters_digest: str | None = None
        self.customer_digests: dict[str, str] = {}
        self.meters: dict[str, list[MeterVersion]] = {}
        self.items: dict[tuple[str, str], list[ItemVersion]] = {}
        self.bound: dict[str, set[str]] = {}
        """The meters that a customer was ever bound for."""
        self.by_type: dict[str, tuple[str, ...]] = {}
        self.invoices: dict[tuple[str, str, str], Invoice] = {}
        """The newest word of each invoice by (provider, account, id). No window depends on it."""
        self.clocks: dict[str, ClockVersion] = {}
        """The newest word of each customer's test clock."""
        self.flushes: dict[str, Flush] = {}
        """The newest of each customer. No window depends on it, only when one is emitted."""
        self.count = 0
        """Versions of meters and items."""
        self.version = 0
        """Rises with every change, so that caches built from these definitions know when they are old."""

    def apply(self, definition: Definition) -> None:
        """Take one published version; taking it again changes nothing. How far windows are closed changes none of them."""
        if isinstance(definition, Closed):
            return
        self.version += 1
        if isinstance(definition, TimingVersion):
            self.timing, self.meters_digest = definition.timing, definition.digest
        elif isinstance(definition, MeterVersion):
            self.meters_digest = definition.digest
            self.count += _put(self.meters.setdefault(definition.meter.slug, []), definition)
            types: dict[str, list[str]] = {}
            for slug, versions in sorted(self.meters.items()):
                for event_type in {version.meter.event_type for version in versions}:
                    types.setdefault(event_type, []).append(slug)
            self.by_type = {event_type: tuple(slugs) for event_type, slugs in types.items()}
        elif isinstance(definition, ItemVersion):
            self.customer_digests[definition.customer] = definition.digest
            self.bound.setdefault(definition.customer, set()).add(definition.meter)
            self.count += _put(self.items.setdefault((definition.customer, definition.meter), []), definition)
        elif isinstance(definition, Invoice):
            key = (definition.said.provider, definition.said.account, definition.said.invoice)
            held = self.invoices.setdefault(key, definition)
            if supersedes(definition.said, held.said):
                self.invoices[key] = definition
        elif isinstance(definition, ClockVersion):
            shown = self.clocks.setdefault(definition.customer, definition)
            if definition.rank > shown.rank:
                self.clocks[definition.customer] = definition
        elif isinstance(definition, Flush):
            held_flush = self.flushes.setdefault(definition.customer, definition)
            if definition.offset > held_flush.offset:
                self.flushes[definition.customer] = definition

    def all(self) -> list[Definition]:
        """Every version in force, so that `apply` of each rebuilds this state."""
        found: list[Definition] = []
        if self.meters_digest is not None:
            offset = max((v.offset for versions in self.meters.values() for v in versions), default=0)
            found.append(TimingVersion(timing=self.timing, offset=offset, digest=self.meters_digest))
        for versions in self.meters.values():
            found += versions
        for items in self.items.values():
            found += items
        found += self.invoices.values()
        found += self.flushes.values()
        found += self.clocks.values()
        return found

    def meter_at(self, slug: str, instant_s: int) -> Meter | None:
        """The meter's version valid at the instant; None before its first or after its removal."""
        version = _valid(self.meters.get(slug, []), instant_s)
        return None if version is None or version.removed else version.meter

    def item_at(self, customer: str, meter: str, instant_s: int) -> Item | None:
        """The item that bills the customer's meter at the instant; None where unbound."""
        version = _valid(self.items.get((customer, meter), []), instant_s)
        return None if version is None else version.item

    def clock_named(self, customer: str) -> str:
        """The test clock that the customer's items in force name ("": none); where they name several, the first by meter."""
        for slug in sorted(self.meters):
            versions = self.items.get((customer, slug))
            if versions and versions[-1].item is not None and versions[-1].item.clock:
                return versions[-1].item.clock
        return ""

    def clock_of(self, customer: str) -> ClockVersion | None:
        """What the customer's own clock says; None where it lives by the log's now."""
        clock = self.clocks.get(customer)
        return clock if clock is not None and clock.clock == self.clock_named(customer) else None

    def final_us(self, customer: str, log_final_us: int) -> int:
        """Up to when the customer's windows are final, in microseconds."""
        clock = self.clocks.get(customer)
        if clock is None:
            return log_final_us
        return clock.final_until_us if self.clock_of(customer) is not None else max(clock.final_until_us, log_final_us)

    def ahead_us(self, customer: str, log_ahead_us: int) -> int:
        """No counted event of the customer lies at or after this instant, in microseconds."""
        clock = self.clocks.get(customer)
        if clock is None:
            return log_ahead_us
        return clock.ahead_until_us if self.clock_of(customer) is not None else max(clock.ahead_until_us, log_ahead_us)

    def time_of(self, customer: str, received_at_ms: int, log_now_ms: int, log_final_us: int) -> Time:
        """The customer's time: its test clock's (DESIGN 5), or the log's."""
        clock = self.clock_of(customer) if self.clocks else None
        if clock is not None:
            now_ms = clock.now_s * 1000
            return Time(now_ms, (now_ms + clock.future_ms) * US_PER_MS, clock.final_until_us)
        return Time(received_at_ms, (log_now_ms + self.timing.future_ms) * US_PER_MS, self.final_us(customer, log_final_us))

    def window_of(self, customer: str, meter: Meter, instant_s: int) -> Window:
        """Law 8: the grid cell that holds the instant, cut at the customer's period edges and changes of item."""
        start_s = grid_start(instant_s, meter.window_s)
        end_s = start_s + meter.window_s
        versions = self.items.get((customer, meter.slug))
        if versions:
            start_s, end_s = _cut(versions, instant_s, start_s, end_s)
        return Window(customer, meter.slug, start_s, end_s)

    def straddles(self, window: Window) -> bool:
        """True where an edge learned too late lies inside the window."""
        versions = self.items.get((window.customer, window.meter), [])
        return any(window.start_s < e < window.end_s for version in versions for e in version.whole)


def _put(versions: list[Any], new: MeterVersion | ItemVersion) -> int:
    """Insert by (valid_from, offset); a version at the same instant with a higher offset replaces the lower. Returns how many more there are."""
    same = [version for version in versions if version.valid_from_s == new.valid_from_s]
    if same and same[0].offset > new.offset:
        return 0
    versions[:] = sorted([v for v in versions if v.valid_from_s != new.valid_from_s] + [new], key=lambda v: v.valid_from_s)
    return 1 - len(same)


def _valid(versions: list[Any], instant_s: int) -> Any:
    at = bisect_right(versions, instant_s, key=lambda version: version.valid_from_s) - 1
    return versions[at] if at >= 0 else None


def _cut(versions: list[ItemVersion], instant_s: int, start_s: int, end_s: int) -> tuple[int, int]:
    """The part of [start_s, end_s) around the instant that no edge of any version crosses."""
    for edge_s in edges_within(versions, start_s, end_s):
        if edge_s <= instant_s:
            start_s = edge_s
        else:
            return start_s, edge_s
    return start_s, end_s


def edges_within(versions: list[ItemVersion], start_s: int, end_s: int) -> list[int]:
    """All cuts strictly inside (start_s, end_s), ascending: changes of item and period edges, but not those that came too late."""
    cuts: set[int] = set()
    for index, version in enumerate(versions):
        until_s = versions[index + 1].valid_from_s if index + 1 < len(versions) else end_s
        if version.valid_from_s != BEGINNING_S:
            cuts.add(version.valid_from_s)
        if version.item is not None:
            low, high = max(start_s, version.valid_from_s), min(end_s, until_s)
            cuts.update(set(period_edges(version.item, low, high)) - set(version.whole))
    return sorted(cut for cut in cuts if start_s < cut < end_s)


def period_edges(item: Item, after_s: int, before_s: int) -> list[int]:
    """The billing edges of an item strictly inside (after_s, before_s), ascending: its periods' ends, and its own."""
    found: list[int] = []
    if before_s - after_s < 2:
        return found
    edge_s = item.period_at(after_s).end_s
    while edge_s < before_s:
        found.append(edge_s)
        edge_s = item.period_at(edge_s).end_s
    if item.ends_at_s is not None and after_s < item.ends_at_s < before_s and item.ends_at_s not in found:
        insort(found, item.ends_at_s)
    return found


def deadline_of(versions: list[ItemVersion], window: Window, until_s: int) -> int | None:
    """The first billing edge in (start, end] of a window, or after it up to `until_s`: what is reported of the window after that, a provider may
    refuse. None where there is none. An edge that was learned too late lies inside.
    """
    until_s = max(until_s, window.end_s)
    for index, version in enumerate(versions):
        next_s = versions[index + 1].valid_from_s if index + 1 < len(versions) else until_s + 1
        if window.start_s < version.valid_from_s <= until_s:
            return version.valid_from_s
        low, high = max(window.start_s, version.valid_from_s), min(until_s + 1, next_s)
        if version.item is not None and (edges := period_edges(version.item, low, high)):
            return edges[0]
    return None


__all__ = ["Definition", "Definitions", "deadline_of", "decode_definition", "definition_key", "edges_within", "period_edges"]
