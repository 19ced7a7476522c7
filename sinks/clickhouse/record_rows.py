"""Rows of the records that are ours: verdicts, marks, windows, receipts, rejected events, definitions. Pure; each names its own coordinate."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from sinks.clickhouse.bounds import ZERO, clamp_ms, clamp_s, decimal76, text, uint32, uint64
from sinks.clickhouse.tables import DEFINITION, MARK, MARK_COUNTERS, RECEIPT, REJECTED, VERDICT, WINDOW, Table
from topics import catalog
from topics.adjustments import Settlement
from topics.amendments import Amendment
from topics.batch import Batch, Headers
from topics.bindings import ItemVersion, Release
from topics.clocks import ClockVersion
from topics.closed import Closed
from topics.definitions import Definition, decode_definition
from topics.event import Event, parse_event
from topics.flushes import Flush
from topics.invoices import Invoice
from topics.meter_errors import MeterError
from topics.meters import MeterVersion
from topics.positions import position
from topics.quantity import parse_total
from topics.receipt import CellReceipt, Receipt, decode_receipt
from topics.rejected import read_rejected
from topics.restating import Restatement
from topics.verdict import Mark, Verdict, decode_verdict
from topics.window_total import decode_window_total
from topics.windows import parse_window_key

Row = tuple[Any, ...]
TABLE_OF: Final[dict[str, Table]] = {
    catalog.VERDICTS: VERDICT,
    catalog.WINDOWS: WINDOW,
    catalog.RECEIPTS: RECEIPT,
    catalog.REJECTED: REJECTED,
    catalog.DEFINITIONS: DEFINITION,
}
"""The table that a topic's records go to; marks go to MARK."""


class BatchRows:
    """What one batch of one of our topics brings: rows of its table, the first and the newest mark, definitions."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.first_mark: Mark | None = None
        self.mark: Mark | None = None
        self.definitions: list[Definition] = []
        self.bytes = 0


def batch_rows(batch: Batch, skip: frozenset[int], log: int = 0) -> BatchRows:
    """Rows of a batch, without those at the offsets of `skip` (archived before a crash). Definitions and marks are read all the same.
    `log`: the how-many-th log of its topic this is (from 0; `tidemark restore` begins another).

    Raises MalformedRecord or UnknownVersion, naming topic, partition and offset: guessing would make a proof that proves nothing.
    """
    found = BatchRows()
    for at, (offset, key, value) in enumerate(zip(batch.offsets, batch.keys, batch.values, strict=True)):
        found.bytes += len(value or b"") + len(key or b"")
        row = _row(batch, at, found)
        if row is not None and offset not in skip:
            found.rows.append((*row, uint32(batch.partition), uint64(position(log, offset))))
    return found


def _row(batch: Batch, at: int, found: BatchRows) -> Row | None:
    where = f"{batch.topic} {batch.partition}, offset {batch.offsets[at]}"
    key, value, headers = batch.keys[at], batch.values[at], tuple(batch.headers[at])
    if batch.topic == catalog.REJECTED:
        return _rejected(key, value, headers, batch.timestamps_ms[at], where)
    if value is None:
        return None  # a tombstone: the receipt it clears is archived, and stays
    if batch.topic == catalog.VERDICTS:
        verdict = decode_verdict(value, where)
        if isinstance(verdict, Mark):
            found.first_mark = found.first_mark or verdict
            found.mark = _later(found.mark, verdict)
            return None
        return verdict_row(key, verdict)
    if batch.topic == catalog.WINDOWS:
        return window_row(value, headers, where)
    if batch.topic == catalog.RECEIPTS:
        return receipt_row(decode_receipt(value, where), value)
    definition = decode_definition(value, where)
    if isinstance(definition, Closed):
        return None  # how far the meter was at some moment: nothing depends on it later
    found.definitions.append(definition)
    return definition_row(definition, value)


def _later(one: Mark | None, other: Mark) -> Mark:
    if one is None or (other.generation, other.next_offset) >= (one.generation, one.next_offset):
        return other
    return one


def verdict_row(key: bytes | None, verdict: Verdict) -> Row:
    """A row of `tables.VERDICT` but for its own coordinate."""
    return (
        key or b"",
        uint32(verdict.partition),
        uint32(verdict.generation),
        uint64(verdict.offset),
        verdict.verdict.encode(),
        text(verdict.reason),
        text(verdict.sentence),
        text(verdict.customer),
        text(verdict.source),
        text(verdict.event_id),
        -1 if verdict.home is None else uint32(verdict.home) & 0x7FFFFFFF,
    )


def mark_row(mark: Mark) -> Row:
    """A row of `tables.MARK`."""
    counters = (uint64(getattr(mark.counters, name)) for name in MARK_COUNTERS)
    return (uint32(mark.partition), uint32(mark.generation), uint64(mark.next_offset), *counters)


def window_row(value: bytes, headers: Headers, where: str) -> Row:
    """A row of `tables.WINDOW` but for its own coordinate; `closed_at_ms` stands in a header, since the body is pure (law 3)."""
    total = decode_window_total(value, where)
    window = total.window
    closed_at = dict(headers).get("closed_at_ms", b"")
    return (
        text(window.customer),
        text(window.meter),
        clamp_s(window.start_s),
        clamp_s(window.end_s),
        uint64(total.generation),
        uint64(total.through_offset),
        uint32(total.partition),
        decimal76(total.scaled),
        uint64(total.events),
        uint64(total.first_offset),
        text(total.hash),
        clamp_ms(int(closed_at)) if closed_at and closed_at.isdigit() else 0,
    )


def receipt_row(receipt: Receipt, record: bytes) -> Row:
    """A row of `tables.RECEIPT` but for its own coordinate; `record` is the receipt as it was written."""
    if isinstance(receipt, CellReceipt):
        return (*_cell_row(receipt), record)
    quantity = decimal76(parse_total(receipt.quantity))
    head = (text(receipt.customer), text(receipt.meter), b"", b"", text(receipt.window), b"window")
    identity = (uint64(receipt.through_offset), uint64(receipt.generation), 0, receipt.state.encode())
    target = (text(receipt.cell), b"", 0, 0, 0)
    answer = (b"", 0, b"", text(receipt.reason), text(receipt.sentence))
    times = (clamp_ms(receipt.parked_at_ms), 0, clamp_ms(receipt.closed_at_ms or 0))
    window = ([clamp_s(receipt.start_s)], [clamp_s(receipt.end_s)], [uint64(receipt.generation)], [uint64(receipt.through_offset)])
    return (*head, *identity, *target, quantity, b"", b"", b"", b"", *answer, *times, *window, [quantity], record)


def _cell_row(receipt: CellReceipt) -> Row:
    windows = [parse_window_key(part.window) for part in receipt.windows]
    return (
        text(receipt.customer),
        text(receipt.meter),
        text(receipt.provider),
        text(receipt.account),
        text(receipt.cell),
        b"cell",
        uint64(receipt.revision),
        0,
        uint32(receipt.attempt),
        receipt.state.encode(),
        text(receipt.item),
        text(receipt.subscription),
        clamp_s(receipt.timestamp_s),
        clamp_s(receipt.period_start_s),
        clamp_s(receipt.period_end_s),
        _total(receipt.quantity),
        text(receipt.units),
        text(receipt.idempotency_key),
        text(receipt.path),
        text(receipt.body),
        text(receipt.outcome),
        min(max(receipt.http_status or 0, 0), 65_535),
        text(receipt.request_id),
        text(receipt.reason),
        text(receipt.sentence),
        clamp_ms(receipt.intent_at_ms),
        clamp_ms(receipt.reported_at_ms or 0),
        clamp_ms(receipt.closed_at_ms or 0),
        [clamp_s(window.start_s) for window in windows],
        [clamp_s(window.end_s) for window in windows],
        [uint64(part.generation) for part in receipt.windows],
        [uint64(part.through_offset) for part in receipt.windows],
        [_total(part.quantity) for part in receipt.windows],
    )


def _total(quantity: str) -> Decimal:
    return decimal76(parse_total(quantity)) if quantity else ZERO


def _rejected(key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int, where: str) -> Row:
    record = read_rejected(key, value, headers, where)
    found = parse_event(record.value)
    event = found if isinstance(found, Event) else found.event
    return (
        record.key or b"",
        text(record.topic),
        uint32(record.partition),
        uint64(record.offset),
        clamp_ms(record.received_at_ms),
        text(record.reason),
        text(record.sentence),
        record.key is None,
        record.value or b"",
        record.value is None,
        [text(name) for name, _ in record.headers],
        [data for _, data in record.headers],
        text(event.id) if event else b"",
        text(event.source) if event else b"",
        text(event.type) if event else b"",
        text(event.subject) if event else b"",
        clamp_ms(timestamp_ms),
    )


def definition_row(definition: Definition, body: bytes) -> Row:
    """A row of `tables.DEFINITION` but for its own coordinate; `body` is the record as published."""
    name, meter, valid_from_s = "", "", 0
    if isinstance(definition, MeterVersion):
        name, valid_from_s = definition.meter.slug, definition.valid_from_s
    elif isinstance(definition, ItemVersion):
        name, meter, valid_from_s = definition.customer, definition.meter, definition.valid_from_s
    elif isinstance(definition, Release):
        name = definition.target
    elif isinstance(definition, ClockVersion):
        name, valid_from_s = definition.customer, definition.now_s
    elif isinstance(definition, MeterError):
        name = definition.said.event
    elif isinstance(definition, Flush):
        name, valid_from_s = definition.customer, definition.until_s
    elif isinstance(definition, Settlement | Restatement):
        name = definition.said.target
    elif isinstance(definition, Amendment):
        # Offsets begin anew with an adopted log: the digest tells two of one offset apart.
        name, meter = definition.customer, definition.digest
    elif isinstance(definition, Invoice):
        name, valid_from_s = definition.said.invoice, definition.said.period_start_s
    return (definition.kind.encode(), text(name), text(meter), clamp_s(valid_from_s), uint64(definition.offset), body)


__all__ = ["MARK", "TABLE_OF", "BatchRows", "Row", "batch_rows", "definition_row", "mark_row", "receipt_row", "verdict_row", "window_row"]
