"""The quick way to raw rows writes what the reference says, for every record, however short a run is and with memos that overflow all the time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import plain_rows, rows
from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.raw_block import Piece
from sinks.clickhouse.rows import RawRecord, RawRecords, RawRows
from sinks.clickhouse.tables import RAW, Columns, columns_of
from tests.agents.report_bench import item_of
from tests.core.meterlog import NOW_MS, Disk, customers, fresh, usage
from tests.core.native_reading import columns_of_pieces
from tests.core.test_archive_rows import HEADERS, TIMES
from tests.core.test_fold import build_log
from topics import catalog
from topics.bindings import ItemVersion
from topics.clocks import ClockVersion
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


def both(records: list[RawRecord], definitions: list[Definition], cuts: list[int]) -> tuple[Columns, Columns]:
    """Columns as written, in chunks that end at `cuts`, and by the reference alone."""
    quick, slow = RawRows(0, 0, in_force(definitions)), RawRows(0, 0, in_force(definitions))
    pieces: list[Piece] = []
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        pieces += quick.written(RawRecords.of(records)[start:end])
    assert sum(piece.value_bytes for piece in pieces) == sum(len(record.value or b"") for record in records)
    return columns_of_pieces(pieces), columns_of([slow._row(record) for record in records], RAW)


@pytest.mark.parametrize("limit", [0, 1, 16])
@pytest.mark.parametrize("seed", range(6))
def test_a_hostile_log_makes_the_same_rows_both_ways(seed: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meters and bindings that change on the way, duplicates, re-routed and broken records: cell by cell what the reference builds."""
    monkeypatch.setattr(rows, "FEW", limit)
    monkeypatch.setattr(plain_rows, "_MEMO_LIMIT", 1 if limit else 1 << 16)
    monkeypatch.setattr(plain_rows, "_MAX_HELD_BYTES", 30 if limit else 1 << 24)
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


@given(RECORDS, st.sampled_from([0, 2]))
def test_any_events_make_the_same_rows_both_ways(drawn: list[tuple[Any, ...]], few: int) -> None:
    """Odd times, quantities, types, ids, headers and timestamps in any order: a plain event between two odd ones keeps its own row."""
    records = []
    for at, (customer, kind, time, amount, name, headers, stamp_ms) in enumerate(drawn):
        value = usage(customer, name, time, {"n": amount, "region": "eu"}, kind)
        records.append(RawRecord(at + 1, stamp_ms, customer.encode(), value, headers))
    definitions: list[Definition] = [MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=0, digest="d") for meter in PLAIN]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "FEW", few)
        built, wanted = both(records, definitions, [])
    assert built == wanted


@pytest.mark.parametrize("seed", range(4))
def test_windows_that_an_edge_cuts_are_the_references(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events around the edges of subscriptions and at test clocks, of meters with conditions and with history, in one stretch: window for window."""
    monkeypatch.setattr(rows, "FEW", 0)
    rng, start_s = random.Random(seed), NOW_MS // 1000 // 3600 * 3600
    where = Meter(slug="some", event_type="llm", value="n", window_s=86_400, where={"region": "eu"}, allow_negative=True)
    definitions: list[Definition] = [MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=0, digest="d") for meter in (*PLAIN, where)]
    definitions.append(MeterVersion(meter=Meter(slug="late", event_type="llm"), valid_from_s=start_s + 600, offset=0, digest="l"))
    for slug in ("bytes", "tokens", "some"):
        for edge_s in (BEGINNING_S, *sorted(rng.sample((30, 600, 1_000, 3_600, 7_000), rng.randrange(3)))):
            item, since_s = item_of(f"si_{slug}", start_s + 1_000), BEGINNING_S if edge_s == BEGINNING_S else start_s + edge_s
            definitions.append(ItemVersion(customer=NAMES[0], meter=slug, item=item, valid_from_s=since_s, offset=rng.randrange(300), digest="i"))
    if seed % 2:
        clock = ClockVersion(
            customer=NAMES[1], clock="clock_1", offset=150, now_s=start_s + 50, future_ms=1000, final_until_us=0, ahead_until_us=0, log_final_s=0
        )
        definitions.append(clock)
    records = []
    for offset in range(1, 400):
        customer, instant_us = rng.choice(NAMES), (start_s + rng.randrange(-100, 8_000)) * 1_000_000 + rng.randrange(10**6)
        data = {"n": rng.choice((0, 3, -2, "1.5", 10**17)), "region": rng.choice(("eu", "us"))}
        time = None if rng.random() < 0.2 else format_us(instant_us)
        value = usage(customer, f"e{offset}", time, data, rng.choice(("llm", "api.request")))
        records.append(RawRecord(offset, instant_us // 1000, customer.encode(), value, ()))
    built, wanted = both(records, definitions, [100, 101, 250])
    for name, found, cells in zip(RAW.names, built, wanted, strict=True):
        assert found == cells, name


def test_plain_events_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events as nearly all are are read by the quick way, with one meter and with two; one with a header is left to the reference."""
    definitions = in_force([MeterVersion(meter=meter, valid_from_s=BEGINNING_S, offset=0, digest="d") for meter in PLAIN])
    asked: list[int] = []
    monkeypatch.setattr(rows, "FEW", 2)
    reference = RawRows._row

    def watched(self: RawRows, record: RawRecord) -> tuple[Any, ...]:
        asked.append(record.offset)
        return reference(self, record)

    monkeypatch.setattr(RawRows, "_row", watched)
    made = [usage(NAMES[0], "a", format_us(NOW_MS * 1000), {"n": 5}, kind) for kind in ("llm", "api.request", "llm")]
    records = [RawRecord(at + 1, NOW_MS, NAMES[0].encode(), value, ()) for at, value in enumerate(made)]
    pieces = RawRows(0, 0, definitions).written([*records, RawRecord(4, NOW_MS, NAMES[0].encode(), made[0], (("h", b""),))])
    assert asked == [4]
    columns = dict(zip(RAW.names, columns_of_pieces(pieces), strict=True))
    assert columns["meters"] == [[b"tokens"], [b"bytes", b"calls"], [b"tokens"], [b"tokens"]]
