"""The quick way to a raw row says what the reference says, for every record and with memos that overflow all the time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import plain_rows
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.rows import RawRecord, RawRows
from sinks.clickhouse.tables import RAW, columns_of
from tests.core.meterlog import NOW_MS, Disk, customers, fresh, usage
from tests.core.test_archive_rows import HEADERS, TIMES
from tests.core.test_fold import build_log
from topics import catalog
from topics.definitions import Definition, decode_definition
from topics.instants import format_us
from topics.meters import BEGINNING_S, Meter, MeterVersion

NAMES = customers(3)
PLAIN = (
    Meter(slug="calls", event_type="api.request", window_s=60),
    Meter(slug="bytes", event_type="api.request", value="n", window_s=3600),
    Meter(slug="tokens", event_type="llm", value="n", window_s=60),
)


def in_force(definitions: list[Definition]) -> InForce:
    """What was put in force, by the offset of its control record."""
    found = InForce()
    for definition in definitions:
        found.add(definition)
    return found


def both(records: list[RawRecord], definitions: list[Definition], cuts: list[int]) -> tuple[list[list[Any]], list[list[Any]]]:
    """Columns as built, in chunks that end at `cuts`, and by the reference alone."""
    quick, slow = RawRows(0, 0, in_force(definitions)), RawRows(0, 0, in_force(definitions))
    built: list[list[Any]] = [[] for _ in RAW.columns]
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        for column, more in zip(built, quick.columns(records[start:end]), strict=True):
            column += more
    return built, columns_of([slow._row(record) for record in records], RAW)


@pytest.mark.parametrize("limit", [1, 3, 1 << 16])
@pytest.mark.parametrize("seed", range(6))
def test_a_hostile_log_makes_the_same_rows_both_ways(seed: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meters and bindings that change on the way, duplicates, re-routed and broken records: cell by cell what the reference builds."""
    monkeypatch.setattr(plain_rows, "_MEMO_LIMIT", limit)
    monkeypatch.setattr(plain_rows, "_LONGEST", limit)
    monkeypatch.setattr(plain_rows, "_SHORTEST", min(limit, 2))
    rng = random.Random(seed)
    log = build_log(seed, 300)
    meter = fresh(Disk(), random.Random(seed))
    for batch in log.batches(0, random.Random(seed), until=1):
        meter.apply(batch)
    flush = meter.begin_flush()
    assert flush is not None
    known = [decode_definition(send.value or b"", "test") for send in flush.first if send.topic == catalog.DEFINITIONS]
    added = [MeterVersion(meter=found, valid_from_s=BEGINNING_S, offset=rng.randrange(1, 250), digest="d") for found in PLAIN]
    added.append(MeterVersion(meter=PLAIN[2], valid_from_s=NOW_MS // 1000, offset=rng.randrange(1, 250), digest="e", removed=True))
    records = [RawRecord(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in log.records]
    built, wanted = both(records, [*known, *added], sorted(rng.sample(range(len(records)), 5)))
    for name, found, cells in zip(RAW.names, built, wanted, strict=True):
        assert found == cells, name


AMOUNTS: st.SearchStrategy[Any] = st.sampled_from([0, 1, 7, 10**18, 10**18 + 1, -1, True, None, [], {"n": 1}, "3", 1.5, "0.000000000001"])
RECORDS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["api.request", "llm", "other", "tidemark.meters"]),
        st.one_of(TIMES, st.integers(0, 200).map(lambda n: format_us(NOW_MS * 1000 + n * 30_000_011)), st.just("2026-01-01T00:00:00.1234567Z")),
        AMOUNTS,
        st.text(min_size=0, max_size=6),
        st.sampled_from([(), (), ()]) | HEADERS,
        st.sampled_from([NOW_MS, -1, 2**62]),
    ),
    max_size=12,
)


@given(RECORDS)
def test_any_events_make_the_same_rows_both_ways(drawn: list[tuple[Any, ...]]) -> None:
    """Odd times, quantities, types, ids, headers and timestamps in any order: a plain event between two odd ones keeps its own row."""
    records = []
    for at, (customer, kind, time, amount, name, headers, stamp_ms) in enumerate(drawn):
        value = usage(customer, name, time, {"n": amount, "region": "eu"}, kind)
        records.append(RawRecord(at + 1, stamp_ms, customer.encode(), value, headers))
    definitions: list[Definition] = [MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=0, digest="d") for meter in PLAIN]
    built, wanted = both(records, definitions, [])
    assert built == wanted


def test_plain_events_take_the_quick_way() -> None:
    """An event as nearly all are is read by the quick way, with one meter and with two; one with a header is left to the reference."""
    definitions = in_force([MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=0, digest="d") for meter in PLAIN]).before(1)
    rows = plain_rows.PlainRows()
    rows.follow(definitions)
    made = [usage(NAMES[0], "a", format_us(NOW_MS * 1000), {"n": 5}, kind) for kind in ("llm", "api.request", "llm")]
    records = [RawRecord(at, NOW_MS, NAMES[0].encode(), value, ()) for at, value in enumerate(made)]
    columns = plain_rows.PlainColumns()
    assert rows.read([*records, records[0]._replace(headers=(("h", b""),))], 0, 10, columns) == 3
    assert columns.lists["meters"] == [[b"tokens"], [b"bytes", b"calls"], [b"tokens"]]
