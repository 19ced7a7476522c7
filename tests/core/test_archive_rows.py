"""Rows of the archive are what the meter reads in a record, fit their columns whatever is in it, and keep its bytes (laws 18, 19)."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse.bounds import MAX_S, MIN_S, decimal38, decimal76, scaled_of
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.lanes import RawLane
from sinks.clickhouse.ports import ArchivedMark
from sinks.clickhouse.record_rows import batch_rows
from sinks.clickhouse.resume import resume
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import RAW, REJECTED
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Stored, batch_of, customers, fresh, usage
from tests.core.test_fold import METERS, build_log
from topics import catalog
from topics.batch import Batch
from topics.definitions import decode_definition
from topics.instants import parse_us
from topics.judging import Setting, Usage, judge
from topics.meters import BEGINNING_S, Meter, MeterVersion
from topics.quantity import LIMIT, ONE
from topics.rejected import Rejected, rejected_headers

CUSTOMER = customers(1)[0]


def one_row(record: RawRecord, *meters: Meter) -> dict[str, Any]:
    """The raw row of one record at offset ≥ 1."""
    in_force = InForce()
    for meter in meters or METERS:
        in_force.add(MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=0, digest="d"))
    columns = RawRows(0, 0, in_force).columns([record])
    return {name: column[0] for name, column in zip(RAW.names, columns, strict=True)}


@pytest.mark.parametrize("seed", range(8))
def test_a_counted_event_has_the_postings_that_the_meter_judged(seed: int) -> None:
    """For every record of a hostile log that the meter takes, meters, quantities and windows of its row are exactly the judged postings."""
    log = build_log(seed, 300)
    meter = fresh(Disk(), random.Random(seed))
    in_force = InForce()
    for batch in log.batches(0, random.Random(seed), until=1):
        meter.apply(batch)
    flush = meter.begin_flush()
    assert flush is not None
    for send in flush.first:
        if send.topic == catalog.DEFINITIONS:
            in_force.add(decode_definition(send.value or b"", "test"))
    columns = RawRows(0, 0, in_force).columns([RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in log.records])
    rows = [dict(zip(RAW.names, cells, strict=True)) for cells in zip(*columns, strict=True)]
    taken = 0
    for record, row in zip(log.records, rows, strict=True):
        setting = Setting(0, PARTITIONS, record.timestamp_ms + 10**9, MIN_S * 10**6, meter.state.definitions)
        judged = judge(record.key, record.value, record.headers, record.timestamp_ms, setting)
        if isinstance(judged, Usage):
            taken += 1
            assert row["meters"] == [posting.window.meter.encode() for posting in judged.postings]
            assert [scaled_of(quantity) for quantity in row["quantities"]] == [posting.scaled for posting in judged.postings]
            assert (row["window_starts"], row["window_ends"]) == (
                [posting.window.start_s for posting in judged.postings],
                [posting.window.end_s for posting in judged.postings],
            )
            assert (row["occurred_at"], row["received_at"]) == (judged.occurred_at_us, judged.received_at_ms)
    assert taken > 50


HEADERS = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=20)), max_size=3).map(tuple)
TIMES = st.sampled_from(
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00+23:59", "1899-12-31T23:59:59Z", "2300-01-01T00:00:00Z", "x", ""]
)
AMOUNTS: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(10**40), 10**40),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(["9" * 39, "1e400", "-1e18", "0." + "0" * 12 + "1", "1e-12", True, None, [], {}]),
)
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.text(max_size=40).map(lambda text: text.encode()),
    st.builds(
        lambda time, n, i: usage(CUSTOMER, i, time, {"bytes": n, "amount": n, "region": "eu"}), TIMES, AMOUNTS, st.text(min_size=1, max_size=9)
    ),
)


def fits(row: dict[str, Any]) -> bool:
    """Whether every cell is in its column's range."""
    assert MIN_S * 10**6 <= row["occurred_at"] <= MAX_S * 10**6 + 999_999
    assert 0 <= row["log_time"] <= MAX_S * 1000 + 999
    assert 0 <= row["received_at"] <= MAX_S * 1000 + 999
    assert all(MIN_S <= at <= MAX_S for at in row["window_starts"] + row["window_ends"])
    assert all(isinstance(q, Decimal) and abs(scaled_of(q)) < 10**38 for q in row["quantities"])
    assert all(isinstance(row[name], bytes) for name in ("customer", "value", "event_id", "source", "type", "kind"))
    return True


@given(st.none() | st.binary(max_size=30) | st.just(CUSTOMER.encode()), VALUES, HEADERS, st.integers(-(2**63), 2**63 - 1))
def test_any_record_makes_a_row_that_fits_and_keeps_its_bytes(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...], timestamp_ms: int
) -> None:
    """Invalid UTF-8, NUL, years 1 and 9999, 39 digits, absurd timestamps and headers: the row fits its columns and holds the exact bytes."""
    row = one_row(RawRecord(5, timestamp_ms, key, value, headers))
    assert fits(row)
    assert (None if row["key_is_null"] else row["customer"]) == key
    assert (None if row["value_is_null"] else row["value"]) == value
    assert row["header_names"] == [name.encode("utf-8", "surrogatepass") for name, _ in headers]
    assert row["header_values"] == [data for _, data in headers]


@given(st.none() | st.binary(max_size=30), VALUES, HEADERS, st.integers(0, 2**60))
def test_any_rejected_record_keeps_its_bytes(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...], received_at_ms: int
) -> None:
    """A record of usage.rejected comes back with the producer's key, bytes and headers, and with our reason beside them."""
    record = Rejected(key, value, headers, "not_json", "Sätze", catalog.EVENTS, 0, 7, received_at_ms)
    plain = batch_of([Stored(3, key, value, tuple(rejected_headers(record)), NOW_MS)], 3, 4)
    batch = Batch(**{name: getattr(plain, name) for name in Batch.__slots__} | {"topic": catalog.REJECTED})
    row = dict(zip(REJECTED.names, batch_rows(batch, frozenset()).rows[0], strict=True))
    assert (None if row["key_is_null"] else row["customer"]) == key
    assert (None if row["value_is_null"] else row["value"]) == value
    assert (row["header_names"], row["header_values"]) == ([n.encode("utf-8", "surrogatepass") for n, _ in headers], [d for _, d in headers])
    assert (row["reason"], row["sentence"], row["kafka_offset"]) == (b"not_json", "Sätze".encode(), 7)


@given(
    st.from_regex(r"\A\d{4}-\d\d-\d\d[Tt ][0-2]\d:[0-6]\d:[0-6]\d(\.\d{0,9})?(Z|z|\+00:00|-07:30)?\Z")
    | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
    | st.text(max_size=28)
)
def test_the_remembered_minute_reads_time_as_the_rule_does(text: str) -> None:
    """The quick path for a plain instant gives what `parse_us` gives, for every text, also when asked twice."""
    rows = RawRows(0, 0, InForce())
    assert (rows._instant(text), rows._instant(text)) == (parse_us(text), parse_us(text))


@given(st.integers(-LIMIT * ONE, LIMIT * ONE))
def test_a_quantity_survives_its_column(scaled: int) -> None:
    """Every quantity that the meter takes becomes a decimal and comes back digit by digit, far beyond the context's 28 digits."""
    assert scaled_of(decimal38(scaled)) == scaled_of(decimal76(scaled)) == scaled


def test_a_definition_acts_only_after_its_control_record() -> None:
    """A version whose control record lies above an event does not change that event, even when it reaches back to the event's time."""
    in_force = InForce()
    first = Meter(slug="calls", event_type="api.request", window_s=3600)
    in_force.add(MeterVersion(meter=first, valid_from_s=BEGINNING_S, offset=0, digest="a"))
    in_force.add(MeterVersion(meter=msgspec.structs.replace(first, window_s=60), valid_from_s=0, offset=5, digest="b"))
    rows = RawRows(0, 0, in_force)
    value = usage(CUSTOMER, "1", "2026-11-20T10:30:30Z")
    columns = rows.columns([RawRecord(offset, NOW_MS, CUSTOMER.encode(), value, ()) for offset in (1, 5, 6)])
    table = dict(zip(RAW.names, columns, strict=True))
    widths = [ends[0] - starts[0] for starts, ends in zip(table["window_starts"], table["window_ends"], strict=True)]
    assert widths == [3600, 3600, 60]


def test_an_adopted_log_knows_all_definitions_from_its_first_record() -> None:
    """On a recreated log the control offsets of the old one do not delay anything."""
    version = MeterVersion(meter=METERS[0], valid_from_s=BEGINNING_S, offset=10**6, digest="a")
    lane = RawLane(0, [version])
    assert lane.in_force.before(3).meter_at("calls", 0) is None
    lane.marked(ArchivedMark(1, 50, 20))
    assert (lane.generation, lane.next_offset, lane.wanted) == (1, 20, 50)
    assert lane.in_force.before(3).meter_at("calls", 0) is not None


@given(st.none() | st.integers(0, 50), st.sets(st.integers(0, 80)), st.integers(0, 60))
def test_resume_inserts_exactly_what_is_missing(progress: int | None, present: set[int], begin: int) -> None:
    """Reading on from where it says, and inserting what it does not skip, gives each record once on top of what was archived before."""
    first = begin if progress is None else progress
    archived = set(range(first)) | present
    start, skip = resume(progress, {offset for offset in present if offset >= first}, begin)
    inserted = [offset for offset in range(start, 100) if offset not in skip]
    assert not archived & set(inserted)
    assert archived | set(inserted) == set(range(100))


def test_a_mark_never_moves_a_lane_back() -> None:
    """An older mark, or one of an older generation, changes nothing, and the same mark again neither."""
    lane = RawLane(0, [])
    lane.marked(ArchivedMark(0, 40, 3))
    lane.next_offset = 30
    for old in (ArchivedMark(0, 40, 3), ArchivedMark(0, 10, 3)):
        lane.marked(old)
    assert (lane.next_offset, lane.wanted) == (30, 40)
    lane.marked(ArchivedMark(2, 9, 5))
    lane.marked(ArchivedMark(0, 99, 3))
    assert (lane.generation, lane.next_offset, lane.wanted) == (2, 5, 9)
