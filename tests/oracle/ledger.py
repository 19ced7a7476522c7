"""The account of a whole log: one verdict a record, one total a window, and what each item at the provider must show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from tests.oracle.hashes import java_partition, posting_digest, window_hash
from tests.oracle.reading import Meter, Stored, event_of, instant_us, quantity_of

FAULTS = ("missing_field", "bad_quantity", "out_of_range", "negative")


class Span(NamedTuple):
    """One window: `[start_s, end_s)` of a customer's meter."""

    customer: str
    meter: str
    start_s: int
    end_s: int


@dataclass
class Total:
    """What a window holds."""

    quantity: Fraction = Fraction(0)
    events: int = 0
    digests: int = 0

    @property
    def hash(self) -> str:
        """The content hash as it is shown."""
        return window_hash(self.digests)


@dataclass(frozen=True)
class Rules:
    """What the account is kept by: times in seconds, and where each customer's windows are cut (its period edges)."""

    partitions: int
    meters: tuple[Meter, ...]
    horizon_s: int
    future_s: int
    cuts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def span(self, customer: str, meter: Meter, instant_s: int) -> Span:
        """The window that holds an instant."""
        window_s = meter.window_at(instant_s)
        start_s = instant_s - instant_s % window_s
        end_s = start_s + window_s
        for cut_s in self.cuts.get(customer, ()):
            if start_s < cut_s <= instant_s:
                start_s = cut_s
            elif instant_s < cut_s < end_s:
                end_s = cut_s
        return Span(customer, meter.slug, start_s, end_s)


class Verdict(NamedTuple):
    """What becomes of one record: counted, duplicate, rejected, too_late, rerouted or control; `reason` where it was refused."""

    verdict: str
    reason: str = ""
    customer: str = ""
    event_id: str = ""


@dataclass
class Amended:
    """An event that was amended: the name of the amendment in force, and what the event counts with it."""

    name: str = ""
    differences: dict[str, Fraction] = field(default_factory=dict)


class Ledger:
    """Takes records in the order of each partition's log; copies of an id are one event however far apart they are."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.verdicts: dict[tuple[int, int], Verdict] = {}
        self.totals: dict[Span, Total] = defaultdict(Total)
        self.sums: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
        self.seen: set[tuple[str, str, str]] = set()
        self.amended: dict[tuple[int, int, int], Amended] = {}
        """By generation, partition and offset."""
        self._now_ms: dict[int, int] = {}

    def take_all(self, log: Iterable[Stored]) -> Ledger:
        """Every record of a log; returns this ledger."""
        for record in log:
            self.take(record)
        return self

    def take(self, record: Stored) -> None:
        """Judges one record and counts it."""
        self._now_ms[record.partition] = max(record.timestamp_ms, self._now_ms.get(record.partition, 0))
        self.verdicts[record.partition, record.offset] = self._judge(record)

    def _judge(self, record: Stored) -> Verdict:
        event = event_of(record)
        if isinstance(event, str):
            return Verdict("rejected", event)
        customer, event_id = event["subject"], event["id"]
        if event["type"].startswith("tidemark."):
            return self._control(record, event)
        if record.key is None or record.key != customer.encode():
            return Verdict("rejected", "key_mismatch", customer, event_id)
        if java_partition(record.key, self.rules.partitions) != record.partition:
            if record.header_number("tidemark-origin-partition") is not None:
                return Verdict("rejected", "routing_loop", customer, event_id)
            return Verdict("rerouted", "", customer, event_id)
        found = self._postings(record, event)
        if isinstance(found, str):
            return Verdict("too_late" if found == "too_late" else "rejected", found, customer, event_id)
        identity = (customer, event["source"], event_id)
        if identity in self.seen:
            return Verdict("duplicate", "", customer, event_id)
        self.seen.add(identity)
        for span, quantity, at_us in found:
            self._count(span, quantity, posting_digest(customer, span.meter, event["source"], event_id, at_us, quantity))
        return Verdict("counted", "", customer, event_id)

    def _control(self, record: Stored, event: dict[str, Any]) -> Verdict:
        """Control records that this suite writes on purpose wrongly say so in their id."""
        if event["id"].startswith("refused-"):
            return Verdict("rejected", "bad_control", event["subject"], event["id"])
        if event["type"] == "tidemark.amend" and not self._amend(record, event):
            return Verdict("rejected", "bad_control", event["subject"], event["id"])
        return Verdict("control", "", event["subject"], event["id"])

    def _amend(self, record: Stored, event: dict[str, Any]) -> bool:
        """Adds an amendment's differences, where it acts. The name of one is the beginning of what the next one must say that it replaces."""
        data, at_us = event["data"], instant_us(event["time"])
        of = data["of"]
        held = self.amended.setdefault((of["generation"], of["partition"], of["offset"]), Amended())
        spans = [Span(event["subject"], one["meter"], _seconds(one["start"]), _seconds(one["end"])) for one in data["postings"]]
        final_s = (self._now_ms[record.partition] - self.rules.horizon_s * 1000) // 1000
        if data["replaces"][: len(event["id"])] != held.name or any(span not in self.totals or span.end_s <= final_s for span in spans):
            return False
        held.name = event["id"]
        for span, one in zip(spans, data["postings"], strict=True):
            quantity = Fraction(one["quantity"])
            held.differences[span.meter] = held.differences.get(span.meter, Fraction(0)) + quantity
            self._count(span, quantity, posting_digest(span.customer, span.meter, event["source"], event["id"], at_us or 0, quantity))
        return True

    def shares(self, record: Stored) -> list[tuple[Span, Fraction, Fraction, int]]:
        """What a counted event counts: its windows, the quantity as it came and as it is after amendments, and its time in microseconds."""
        event = event_of(record)
        assert isinstance(event, dict)
        at_us = self._at_us(record, event)
        assert at_us is not None
        held = self.amended.get((0, record.partition, record.offset), Amended())
        found = []
        for meter in self.rules.meters:
            quantity = quantity_of(event, meter) if meter.takes(event) else None
            if isinstance(quantity, Fraction):
                now = quantity + held.differences.get(meter.slug, Fraction(0))
                found.append((self.rules.span(event["subject"], meter, at_us // 1_000_000), quantity, now, at_us))
        return found

    def _postings(self, record: Stored, event: dict[str, Any]) -> list[tuple[Span, Fraction, int]] | str:
        at_us = self._at_us(record, event)
        if at_us is None:
            return "bad_time"
        now_us = self._now_ms[record.partition] * 1000
        if at_us > now_us + self.rules.future_s * 1_000_000:
            return "future"
        if at_us < now_us - self.rules.horizon_s * 1_000_000:
            return "too_late"
        meters = [meter for meter in self.rules.meters if meter.takes(event)]
        if not meters:
            return "no_meter"
        amounts = [quantity_of(event, meter) for meter in meters]
        for fault in FAULTS:
            if fault in amounts:
                return fault
        spans = (self.rules.span(event["subject"], meter, at_us // 1_000_000) for meter in meters)
        return [(span, amount, at_us) for span, amount in zip(spans, amounts, strict=True) if isinstance(amount, Fraction)]

    @staticmethod
    def _at_us(record: Stored, event: dict[str, Any]) -> int | None:
        """The event's time; without one, when it was received."""
        # A claim to have been received after it was appended is not believed: a leader's clock may have been set back, or a producer lies.
        received_ms = min(record.header_number("tidemark-received-at") or record.timestamp_ms, record.timestamp_ms)
        return received_ms * 1000 if event.get("time") is None else instant_us(event["time"])

    def _count(self, span: Span, quantity: Fraction, digest: int) -> None:
        total = self.totals[span]
        total.quantity += quantity
        total.events += 1
        total.digests += digest
        self.sums[span.customer, span.meter] += quantity

    def counters(self, partition: int) -> Counter[str]:
        """How many records of a partition had which verdict."""
        return Counter(each.verdict for (where, _), each in self.verdicts.items() if where == partition)

    def refused(self) -> dict[tuple[int, int], str]:
        """Coordinate → reason of everything that must lie in `usage.rejected`."""
        return {where: each.reason for where, each in self.verdicts.items() if each.verdict in {"rejected", "too_late"}}


def _seconds(text: str) -> int:
    instant = instant_us(text)
    assert instant is not None
    return instant // 1_000_000


class Bound(NamedTuple):
    """An item at the provider, the first second that is billed, and the edges of its billing cycle that lie among the windows."""

    item: str
    billed_from_s: int
    scale: int = 1
    edges: tuple[int, ...] = ()

    def period_start_s(self, instant_s: int) -> int:
        """Where the billing period that holds the instant begins."""
        return max([self.billed_from_s, *(edge_s for edge_s in self.edges if edge_s <= instant_s)])

    def second_of(self, span: Span) -> int | None:
        """The second in which a window is reported: its first, or the first that its period takes; None before all billing."""
        start_s = self.period_start_s(span.start_s)
        return None if span.end_s <= start_s else max(span.start_s, start_s + 1)


class Cells(NamedTuple):
    """What must stand at the provider: item → second → units, and which windows are in it.

    `open`: item → seconds whose total cannot be sent (a fraction, a negative): there an earlier total may stand, or nothing.
    """

    units: dict[str, dict[int, int]]
    windows: set[Span]
    open: dict[str, set[int]]


def cells(totals: Mapping[Span, Total], bound: Mapping[tuple[str, str], Bound]) -> Cells:
    """Each window's whole total in its second; windows that share a second (right after a period begins) are summed there.

    A window that ends before the period is not billable, a total that is no whole number or negative cannot be sent: neither has a cell.
    """
    shared: dict[tuple[str, int], list[tuple[Span, Fraction]]] = defaultdict(list)
    for span, total in totals.items():
        at = bound.get((span.customer, span.meter))
        second = None if at is None else at.second_of(span)
        if at is not None and second is not None:
            shared[at.item, second].append((span, total.quantity * at.scale))
    items = [each.item for each in bound.values()]
    found = Cells({item: {} for item in items}, set(), {item: set() for item in items})
    for (item, second), parts in shared.items():
        units = sum((quantity for _, quantity in parts), Fraction(0))
        if units.denominator == 1 and units >= 0:
            found.units[item][second] = int(units)
            found.windows.update(span for span, _ in parts)
        else:
            found.open[item].add(second)
    return found
