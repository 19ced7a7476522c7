"""What must be true when the dust has settled, by an account that shares no code with the product (`tests/oracle`). One sentence a fault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.oracle.hashes import window_hash
from tests.oracle.ledger import Bound, Ledger, Rules, Span, cells
from tests.oracle.reading import Meter, Stored
from tests.simulation.broker import Broker
from tests.simulation.plan import GB_SCALE, METERS, PARTITIONS, TIMING, Plan
from topics.catalog import EVENTS, RECEIPTS, REJECTED, WINDOWS
from topics.receipt import CellReceipt, decode_receipt
from topics.rejected import read_rejected
from topics.window_total import WindowTotal, decode_window_total

ORACLE_METERS = tuple(
    Meter(
        slug=meter.slug,
        event_type=meter.event_type,
        value=None if meter.value == "count" else meter.value,
        where=tuple(meter.where.items()),
        window_s=meter.window_s,
    )
    for meter in METERS
)
VERDICTS = ("counted", "duplicate", "rejected", "too_late", "rerouted", "control")


def ledger_of(broker: Broker, plan: Plan) -> Ledger:
    """The account of the whole log."""
    cuts = {customer.name: customer.edges for customer in plan.customers}
    rules = Rules(PARTITIONS, ORACLE_METERS, TIMING.horizon_ms // 1000, TIMING.future_ms // 1000, cuts)
    ledger = Ledger(rules)
    for partition in range(PARTITIONS):
        for record in broker.logs[EVENTS, partition].committed(0):
            ledger.take(Stored(partition, record.offset, record.timestamp_ms, record.key, record.value, record.headers))
    return ledger


def emitted(broker: Broker) -> tuple[dict[Span, WindowTotal], list[str]]:
    """The latest revision of each window, and what is wrong among all revisions: one that names two totals, one with fewer events than before."""
    bodies: dict[tuple[Span, tuple[int, int]], bytes | None] = {}
    latest: dict[Span, WindowTotal] = {}
    revisions: dict[Span, list[WindowTotal]] = defaultdict(list)
    faults: list[str] = []
    for partition in range(PARTITIONS):
        for record in broker.logs[WINDOWS, partition].committed(0):
            total = decode_window_total(record.value, "usage.windows")
            window = total.window
            span = Span(window.customer, window.meter, window.start_s, window.end_s)
            if bodies.setdefault((span, total.revision), record.value) != record.value:
                faults.append(f"{span}: revision {total.revision} names two totals")
            revisions[span].append(total)
            if span not in latest or total.revision > latest[span].revision:
                latest[span] = total
    for span, totals in revisions.items():
        ordered = sorted(totals, key=lambda total: total.revision)
        if any(after.events < before.events for before, after in pairwise(ordered)):
            faults.append(f"{span}: a later revision has fewer events")
    return latest, faults


def counting(ledger: Ledger, counters: dict[int, dict[str, Any]]) -> list[str]:
    """Law 7 and every verdict."""
    faults = []
    for partition, counted in counters.items():
        wanted = ledger.counters(partition)
        faults += [f"partition {partition}: {counted[name]} {name}, the log has {wanted[name]}" for name in VERDICTS if counted[name] != wanted[name]]
        if counted["residual"]:
            faults.append(f"partition {partition}: residual {counted['residual']}")
    return faults


def totals(ledger: Ledger, latest: dict[Span, WindowTotal], *, is_static: bool) -> list[str]:
    """Window by window where windows can be foretold; else their sums, and that no two overlap."""
    if not is_static:
        return _sums(ledger, latest) + overlaps(latest)
    faults = [f"{span} is missing: {total.quantity} in {total.events} events" for span, total in ledger.totals.items() if span not in latest]
    for span, found in latest.items():
        wanted = ledger.totals.get(span)
        if wanted is None:
            faults.append(f"{span} holds {found.quantity}, nothing is there")
        elif (found.scaled, found.events, found.hash) != (int(wanted.quantity * 10**12), wanted.events, wanted.hash):
            faults.append(f"{span} is {found.quantity} in {found.events} events, not {wanted.quantity} in {wanted.events}")
    return faults


def _sums(ledger: Ledger, latest: dict[Span, WindowTotal]) -> list[str]:
    wanted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for span, total in ledger.totals.items():
        _add(wanted[span.customer, span.meter], int(total.quantity * 10**12), total.events, total.digests)
    for span, said in latest.items():
        _add(found[span.customer, span.meter], said.scaled, said.events, int(said.hash, 16))
    return [
        f"{key}: {_shown(found[key])} over all windows, not {_shown(wanted[key])}"
        for key in sorted(wanted.keys() | found.keys())
        if _shown(found[key]) != _shown(wanted[key])
    ]


def _add(sums: list[int], quantity: int, events: int, digests: int) -> None:
    sums[0] += quantity
    sums[1] += events
    sums[2] += digests


def _shown(sums: list[int]) -> tuple[int, int, str]:
    return sums[0], sums[1], window_hash(sums[2])


def overlaps(spans: Iterable[Span]) -> list[str]:
    """Two windows of one customer and meter that share an instant."""
    ordered = sorted(spans)
    return [
        f"{one} and {other} overlap"
        for one, other in pairwise(ordered)
        if (one.customer, one.meter) == (other.customer, other.meter) and other.start_s < one.end_s
    ]


def rejected(ledger: Ledger, broker: Broker) -> list[str]:
    """Every refused record lies in `usage.rejected` with its exact bytes and its reason, and no other does."""
    found: dict[tuple[int, int], set[tuple[str, bytes | None, bytes | None]]] = defaultdict(set)
    for partition in range(PARTITIONS):
        for record in broker.logs[REJECTED, partition].committed(0):
            one = read_rejected(record.key, record.value, record.headers, "usage.rejected")
            found[one.partition, one.offset].add((one.reason, record.key, record.value))
    wanted = {}
    for (partition, offset), reason in ledger.refused().items():
        record = broker.logs[EVENTS, partition].committed(offset, offset + 1)[0]
        wanted[partition, offset] = {(reason, record.key, record.value)}
    faults = [f"{where}: not in usage.rejected as {wanted[where]} but {found.get(where)}" for where in wanted if found.get(where) != wanted[where]]
    return faults + [f"{where} is in usage.rejected, the log does not refuse it" for where in found.keys() - wanted.keys()]


def rerouted(ledger: Ledger, broker: Broker) -> list[str]:
    """Every event that was found elsewhere stands on its home partition (H6)."""
    origins = set()
    for partition in range(PARTITIONS):
        for record in broker.logs[EVENTS, partition].committed(0):
            headers = dict(record.headers)
            if "tidemark-origin-partition" in headers:
                origins.add((int(headers["tidemark-origin-partition"]), int(headers["tidemark-origin-offset"])))
    wanted = {where for where, verdict in ledger.verdicts.items() if verdict.verdict == "rerouted"}
    return [f"{where} was re-routed, and nothing of it stands on its home" for where in sorted(wanted - origins)]


def listed(broker: Broker) -> dict[str, Fraction]:
    """The units of open adjustments by item: what came for an item after another one had replaced it is billed there no more (H32)."""
    found: dict[str, Fraction] = defaultdict(Fraction)
    for partition in range(PARTITIONS):
        newest = {record.key: record.value for record in broker.logs[RECEIPTS, partition].committed(0)}
        for value in newest.values():
            receipt = None if value is None else decode_receipt(value, "usage.receipts")
            if isinstance(receipt, CellReceipt) and receipt.adjustment is not None:
                found[receipt.item] += Fraction(receipt.adjustment.units)
    return found


def provider(
    plan: Plan, ledger: Ledger, latest: dict[Span, WindowTotal], standing: dict[tuple[str, int], int], adjusted: dict[str, Fraction]
) -> list[str]:
    """What Stripe bills: cell by cell, or by customer and meter where items changed, with what is `adjusted` of an item that was replaced."""
    bound = {
        (customer.name, item.meter): Bound(item.item, customer.anchor_s or 0, GB_SCALE if item.meter == "gb" else 1, customer.edges)
        for customer in plan.customers
        for item in customer.items()
    }
    if plan.is_static:
        wanted = {(item, second): units for item, seconds in cells(ledger.totals, bound).units.items() for second, units in seconds.items() if units}
        found = {cell: units for cell, units in standing.items() if units}
        cells_ = sorted(wanted.keys() | found.keys())
        return [f"cell {cell}: {found.get(cell)} at Stripe, not {wanted.get(cell)}" for cell in cells_ if wanted.get(cell) != found.get(cell)]
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for item, units in [*((item, Fraction(units)) for (item, _), units in standing.items()), *adjusted.items()]:
        sums["_".join(item.split("_")[:3])] += units
    truth: dict[str, Fraction] = defaultdict(Fraction)
    for span, total in latest.items():
        if (span.customer, span.meter) in bound:
            each = bound[span.customer, span.meter]
            truth[each.item] += Fraction(total.scaled, 10**12) * each.scale
    items = sorted(sums.keys() | truth.keys())
    return [f"item {item}: {sums[item]} units at Stripe or listed, not {truth[item]}" for item in items if sums[item] != truth[item]]
