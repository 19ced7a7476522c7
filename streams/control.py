"""Law 0: the fold of a control record into versions in force, or into the sentence that says why it is refused (`bad_control`).

A record names the digest of the version that it replaces; a stale or invalid one changes nothing. What it brings is in force from an instant
where no counted event can lie, so no event's window ever changes by it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

import msgspec

from streams.amending import fold_amendment
from streams.state import PartitionState
from topics.adjustments import SETTLE_TYPE, Settlement, SettleRecord
from topics.amendments import AMEND_TYPE
from topics.bindings import (
    BINDING_TYPE,
    CLOSE_TYPE,
    RELEASE_TYPE,
    BindingRecord,
    Item,
    ItemVersion,
    Release,
    ReleaseRecord,
    item_problems,
    items_digest,
)
from topics.clocks import CLOCK_TYPE, ClockRecord, ClockVersion
from topics.control_data import read_data
from topics.definitions import Definition, period_edges
from topics.event import Event
from topics.flushes import FLUSH_TYPE, Flush, FlushRecord
from topics.home import home_of
from topics.instants import US_PER_MS, US_PER_S
from topics.invoices import INVOICE_TYPE, Invoice, InvoiceRecord, invoice_problem, supersedes
from topics.meter_errors import METER_ERROR_TYPE, MeterError, MeterErrorRecord
from topics.meters import BEGINNING_S, METERS_TYPE, Meter, MetersRecord, MeterVersion, TimingVersion, is_instant, meter_problems, meters_digest
from topics.positions import offset_of
from topics.quantity import BadQuantity, parse_total
from topics.restating import RESTATE_TYPE, Restatement, RestateRecord, restate_problem
from topics.windows import next_common_boundary

Fold = list[Definition] | str


def fold_control(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    """The versions that a control record puts in force (none where it repeats what holds), or why it is refused. Changes nothing.

    `offset` is a place (`topics/positions.py`): what is ordered by it must not fall where the log begins anew.
    """
    folds: dict[str, Callable[[PartitionState, Event, bytes | None, int], Fold]] = {
        METERS_TYPE: _fold_meters,
        BINDING_TYPE: _fold_binding,
        RELEASE_TYPE: _fold_release,
        METER_ERROR_TYPE: _fold_meter_error,
        INVOICE_TYPE: _fold_invoice,
        SETTLE_TYPE: _fold_settle,
        RESTATE_TYPE: _fold_restate,
        FLUSH_TYPE: _fold_flush,
        CLOCK_TYPE: _fold_clock,
        AMEND_TYPE: _fold_amend,
        CLOSE_TYPE: lambda *_: [],
    }
    fold = folds.get(event.type)
    if fold is None:
        return f"{event.type[:80]!r} is no control record that this program knows"
    return fold(state, event, key, offset)


def safe_from_s(state: PartitionState, customer: str | None = None) -> int:
    """The first whole second at or after which no counted event can lie, of a customer or of any: greatest (now + future) so far, rounded up."""
    ahead_us = state.clocks.ahead_until_us
    if customer is not None:
        ahead_us = state.definitions.ahead_us(customer, ahead_us)
    else:
        # A test clock may be years ahead of the log: what it let in keeps its windows, so new grids begin after it.
        ahead_us = max([ahead_us, *(clock.ahead_until_us for clock in state.definitions.clocks.values())])
    return -(-ahead_us // US_PER_S)


def _fold_meters(state: PartitionState, event: Event, _key: bytes | None, offset: int) -> Fold:
    record = read_data(event.data, MetersRecord)
    if isinstance(record, str):
        return record
    if record.digest != meters_digest(record.timing, record.meters):
        return "the digest is not that of the meters and timings in the record"
    if problems := meter_problems(record.meters, record.timing):
        return "; ".join(problems)
    if not is_instant(record.valid_from_s):
        return f"valid_from_s {record.valid_from_s} is no instant of the years 1 to 9999"
    held = state.definitions.meters_digest
    if record.digest == held:
        return []
    if record.replaces != held:
        return f"it replaces version {record.replaces}, but {held} is in force: run `tidemark apply` again"
    new: list[Definition] = [TimingVersion(timing=record.timing, offset=offset, digest=record.digest)]
    wished_s = max(record.valid_from_s or BEGINNING_S, safe_from_s(state))
    wanted = {meter.slug: meter for meter in record.meters}
    for slug in sorted(wanted.keys() | state.definitions.meters.keys()):
        versions = state.definitions.meters.get(slug, [])
        last = versions[-1] if versions else None
        if version := _meter_version(wanted.get(slug), last, wished_s if held else BEGINNING_S):
            meter, valid_from_s, removed = version
            new.append(MeterVersion(meter=meter, valid_from_s=valid_from_s, removed=removed, offset=offset, digest=record.digest))
    return new


def _meter_version(meter: Meter | None, last: MeterVersion | None, from_s: int) -> tuple[Meter, int, bool] | None:
    """(meter, valid_from_s, removed) of a changed meter; None where it stays as it is."""
    if last is None:
        if meter is None:
            return None
        return meter, from_s if from_s == BEGINNING_S else next_common_boundary(from_s, [meter.window_s]), False
    from_s = max(from_s, last.valid_from_s + 1)
    if meter is None:
        return None if last.removed else (last.meter, next_common_boundary(from_s, [last.meter.window_s]), True)
    if meter == last.meter and not last.removed:
        return None
    return meter, next_common_boundary(from_s, [meter.window_s, last.meter.window_s]), False


def _fold_binding(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    if refused := _misplaced(state, event, key):
        return refused
    record = read_data(event.data, BindingRecord)
    if isinstance(record, str):
        return record
    if record.digest != items_digest(record.items):
        return "the digest is not that of the items in the record"
    if problems := item_problems(record.items):
        return "; ".join(problems)
    customer = event.subject
    held = state.definitions.customer_digests.get(customer)
    if record.digest == held:
        return []
    if record.replaces != held:
        return f"it replaces version {record.replaces}, but {held} is in force: run `tidemark apply` again"
    wanted = {item.meter: item for item in record.items}
    bound = state.definitions.bound.get(customer, set())
    new: list[Definition] = []
    for meter in sorted(wanted.keys() | bound):
        version = _item_version(state, customer, meter, wanted.get(meter), offset, record.digest)
        if version is not None:
            new.append(version)
    named = next((wanted[slug].clock for slug in sorted(state.definitions.meters) if slug in wanted and wanted[slug].clock), "")
    return [*new, *_clock_again(state, customer, named, offset)]


def _clock_again(state: PartitionState, customer: str, named: str, offset: int) -> list[Definition]:
    """The last word of a test clock that is named once more: what became final by another time meanwhile stays so, though the clock shows less."""
    definitions, clocks = state.definitions, state.clocks
    held = definitions.clocks.get(customer)
    if held is None or held.clock != named or definitions.clock_of(customer) is not None:
        return []
    final_us = definitions.final_us(customer, clocks.final_until_us)
    ahead_us = definitions.ahead_us(customer, clocks.ahead_until_us)
    return [msgspec.structs.replace(held, final_until_us=final_us, ahead_until_us=ahead_us, offset=offset)]


def _misplaced(state: PartitionState, event: Event, key: bytes | None) -> str | None:
    if key != event.subject.encode():
        return f"the record's key must be the customer {event.subject[:60]!r}"
    home = home_of(key, state.partitions)
    if home != state.partition:
        return f"the customer's home is partition {home}, the record lies on {state.partition}"
    return None


def _item_version(state: PartitionState, customer: str, meter: str, item: Item | None, offset: int, digest: str) -> ItemVersion | None:
    versions = state.definitions.items.get((customer, meter), [])
    wished_s = item.valid_from_s if item is not None else None
    if not versions:
        if item is None:
            return None
        from_s = BEGINNING_S if wished_s is None else _clear_of_rows(state, customer, meter, max(wished_s, safe_from_s(state, customer)))
    else:
        last = versions[-1]
        if last.item == item:
            # Its place in the chain of digests must move all the same: say it again under the new name.
            return msgspec.structs.replace(last, digest=digest)
        from_s = max(wished_s or BEGINNING_S, safe_from_s(state, customer), last.valid_from_s + 1)
        from_s = _clear_of_rows(state, customer, meter, from_s)
    whole = tuple(_too_late_edges(state, customer, meter, item, from_s)) if item is not None else ()
    changed_at_s = max(wished_s or BEGINNING_S, _now_s(state, customer)) if versions else None
    return ItemVersion(
        customer=customer, meter=meter, item=item, valid_from_s=from_s, whole=whole, offset=offset, digest=digest, changed_at_s=changed_at_s
    )


def _now_s(state: PartitionState, customer: str) -> int:
    """The customer's now in whole seconds: its test clock's, or the log's."""
    clock = state.definitions.clock_of(customer)
    return state.clocks.now_ms // 1000 if clock is None else clock.now_s


def _clear_of_rows(state: PartitionState, customer: str, meter: str, instant_s: int) -> int:
    """The instant, or the end of the live row that lies across it: a row that holds events stays whole (H5)."""
    row = state.rows.across(customer, meter, instant_s)
    return instant_s if row is None else row.window.end_s


def _too_late_edges(state: PartitionState, customer: str, meter: str, item: Item, from_s: int) -> list[int]:
    """Period edges of the item that a row already lies across.

    Rows that are final are left out: when they are let go is no function of the log, and no event ever comes for them again.
    """
    final_s = state.definitions.final_us(customer, state.clocks.final_until_us) // US_PER_S
    rows = state.rows.of_meter(customer, meter)
    if customer in state.definitions.clocks:
        rows = [row for row in rows if row.own]
    windows = [row.window for row in rows if row.window.end_s > max(final_s, from_s)]
    if not windows:
        return []
    edges = period_edges(item, max(from_s, min(window.start_s for window in windows)), max(window.end_s for window in windows))
    across = (edges[bisect_right(edges, window.start_s) : bisect_left(edges, window.end_s)] for window in windows)
    return sorted({edge_s for part in across for edge_s in part})


def _fold_meter_error(_state: PartitionState, event: Event, _key: bytes | None, offset: int) -> Fold:
    """A provider's error about accepted meter events; its keys name cells of whichever partition, so every partition publishes it."""
    record = read_data(event.data, MeterErrorRecord)
    return record if isinstance(record, str) else [MeterError(said=record, offset=offset)]


def _fold_release(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    if refused := _misplaced(state, event, key):
        return refused
    record = read_data(event.data, ReleaseRecord)
    if isinstance(record, str):
        return record
    return [Release(customer=event.subject, target=record.target, reason=record.reason, offset=offset)]


def _fold_invoice(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    """An invoice's newer state; one that says nothing new, or comes late, changes nothing: webhooks are repeated and out of order."""
    if refused := _misplaced(state, event, key):
        return refused
    record = read_data(event.data, InvoiceRecord)
    if isinstance(record, str):
        return record
    if problem := invoice_problem(record):
        return problem
    held = state.definitions.invoices.get((record.provider, record.account, record.invoice))
    if held is not None and held.customer != event.subject:
        return f"invoice {record.invoice[:80]!r} is one of {held.customer[:60]!r}"
    if held is not None and not supersedes(record, held.said):
        return []
    return [Invoice(customer=event.subject, said=record, offset=offset)]


def _fold_settle(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    if refused := _misplaced(state, event, key):
        return refused
    record = read_data(event.data, SettleRecord)
    if isinstance(record, str):
        return record
    try:
        parse_total(record.units), parse_total(record.settled)
    except BadQuantity as error:
        return f"the record's data cannot be used: {error}"
    return [Settlement(customer=event.subject, said=record, offset=offset)]


def _fold_restate(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    if refused := _misplaced(state, event, key):
        return refused
    record = read_data(event.data, RestateRecord)
    if isinstance(record, str):
        return record
    return restate_problem(record) or [Restatement(customer=event.subject, said=record, offset=offset)]


def _fold_amend(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    """Law 0 for a correction: what it adds to rows, `step` adds once it acts."""
    if refused := _misplaced(state, event, key):
        return refused
    amendment = fold_amendment(state, event, offset_of(offset))
    return amendment if isinstance(amendment, str) else [amendment]


def _fold_flush(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    if refused := _misplaced(state, event, key):
        return refused
    record = read_data(event.data, FlushRecord)
    if isinstance(record, str):
        return record
    if not is_instant(record.until_s):
        return f"until_s {record.until_s} is no instant of the years 1 to 9999"
    return [Flush(customer=event.subject, until_s=record.until_s, id=record.id, offset=offset)]


def _fold_clock(state: PartitionState, event: Event, key: bytes | None, offset: int) -> Fold:
    """A test clock's word; it says nothing where the binding names another clock, or where it is not later than the one before."""
    if refused := _misplaced(state, event, key):
        return refused
    record = read_data(event.data, ClockRecord)
    if isinstance(record, str):
        return record
    if not is_instant(record.now_s):
        return f"now_s {record.now_s} is no instant of the years 1 to 9999"
    customer, definitions, clocks = event.subject, state.definitions, state.clocks
    if not record.clock or record.clock != definitions.clock_named(customer):
        return []
    held, timing = definitions.clocks.get(customer), definitions.timing
    if held is not None and held.clock == record.clock and record.now_s <= held.now_s:
        return []
    now_ms = record.now_s * 1000
    final_us, ahead_us = (now_ms - timing.horizon_ms) * US_PER_MS, (now_ms + timing.future_ms) * US_PER_MS + 1
    if held is not None or not _began_with(state, customer, record.clock):
        final_us = max(final_us, definitions.final_us(customer, clocks.final_until_us))
        ahead_us = max(ahead_us, definitions.ahead_us(customer, clocks.ahead_until_us))
    return [
        ClockVersion(
            customer=customer,
            clock=record.clock,
            now_s=record.now_s,
            future_ms=timing.future_ms,
            final_until_us=final_us,
            ahead_until_us=ahead_us,
            log_final_s=clocks.final_until_us // US_PER_S if held is None else held.log_final_s,
            offset=offset,
        )
    ]


def _began_with(state: PartitionState, customer: str, clock: str) -> bool:
    """True where the customer was never billed by another time: then its clock may be long before the log's now.

    That nothing was counted for it before it was bound cannot be asked, since rows are let go: test clocks are for customers made for them
    (Stripe, "Test clocks": a customer is attached to a clock when it is created).
    """
    versions = (v for slug in state.definitions.meters for v in state.definitions.items.get((customer, slug), []))
    return all(version.item is None or version.item.clock == clock for version in versions)
