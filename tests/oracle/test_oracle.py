"""The oracle against published values and hand-made records: who judges others is judged first."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from tests.oracle.hashes import java_partition, librdkafka_partition, posting_digest, window_hash
from tests.oracle.ledger import Bound, Ledger, Rules, Span, Total, cells
from tests.oracle.reading import Meter, Number, Stored, event_of, instant_us, plain, quantity_of

NOW_S = 1_800_000_000
NOW_MS = NOW_S * 1000
TOKENS = Meter("tokens", "llm", "tokens", window_s=3600)
RULES = Rules(1, (Meter("calls", "api", window_s=60), TOKENS, Meter("eu", "api", where=(("region", "eu"),))), horizon_s=86_400, future_s=300)


def record(offset: int, body: object, key: bytes | None = b"c", headers: tuple[tuple[str, bytes | None], ...] = ()) -> Stored:
    """One stored record of partition 0, a millisecond after the one before."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Stored(0, offset, NOW_MS + offset, key, value, headers)


def event(event_id: str = "1", event_type: str = "api", **more: object) -> dict[str, object]:
    """A CloudEvent of customer c."""
    return {"specversion": "1.0", "id": event_id, "source": "s", "type": event_type, "subject": "c", **more}


def test_partitions_are_those_of_the_published_values() -> None:
    """The hash gives the values of Kafka's own unit test of murmur2, and CRC32 its published check value."""
    published = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    for key, value in published.items():
        assert java_partition(key, 2**31) == value % 2**31
    assert librdkafka_partition(b"123456789", 2**32) == 0xCBF43926


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b"[" * 65 + b"]" * 65, "not_json"),
        (b"[" * 64 + b"]" * 64, "not_cloudevents"),
        (b'{"specversion": "0.3"}', "not_cloudevents"),
        (b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t"}', "missing_field"),
        (b" " * 262_144, "too_large"),
    ],
)
def test_records_that_are_no_event(value: bytes, expected: str) -> None:
    """What is no CloudEvent is refused for the first reason that applies."""
    assert event_of(Stored(0, 0, NOW_MS, b"c", value)) == expected


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("1e400", "out_of_range"),
        ("1" * 39, "out_of_range"),
        ("0.1234567890123", "out_of_range"),
        ("0.1234567890120", Fraction("0.123456789012")),
        ("1000000000000000000", Fraction(10**18)),
        ("1000000000000000000.000000000001", "out_of_range"),
        ("-1", "negative"),
        ("1e-12", Fraction(1, 10**12)),
        ("0e999", Fraction(0)),
    ],
)
def test_numbers_are_read_from_their_digits(digits: str, expected: object) -> None:
    """A quantity is exact to twelve places and 10¹⁸, and refused beyond, whether it came as a number or as text."""
    for value in (Number(digits), digits):
        assert quantity_of({"data": {"tokens": value}}, TOKENS) == expected


def test_text_that_is_no_number_is_refused() -> None:
    """Words, hexadecimal, signs and lists are no quantity, and an absent one is missing."""
    for value in ("twelve", "0x10", "+1", "", " 1", None, [1], True):
        assert quantity_of({"data": {"tokens": value}}, TOKENS) == "bad_quantity"
    assert quantity_of({"data": {}}, TOKENS) == "missing_field"
    assert [plain(Fraction(text)) for text in ("-0.5", "12", "0.000000000001")] == ["-0.5", "12", "0.000000000001"]


def test_instants() -> None:
    """Instants need a zone and a second below 60, and digits beyond the microsecond are cut off."""
    assert instant_us("1970-01-01T01:00:00.1234569+01:00") == 123_456
    assert [instant_us(text) for text in ("1970-01-01T00:00:00", "1970-01-01T00:00:60Z", "1970-02-30T00:00:00Z", None)] == [None] * 4


def test_verdicts_and_totals() -> None:
    """Each record has one verdict, an event counts once for each meter that takes it, and what was refused may come again."""
    log = [
        record(0, event("1", data={"region": "eu"})),
        record(1, event("1", data={"region": "eu"})),
        record(2, event("2", "llm", data={"tokens": "x"})),
        record(3, event("2", "llm", data={"tokens": "1.5"})),
        record(4, event("3", time="2020-01-01T00:00:00Z")),
        record(5, event("4", time="2999-01-01T00:00:00Z")),
        record(6, event("5", time="2027-01-15T08:00:00")),
        record(7, event("6", "other")),
        record(8, event("7"), key=None),
        record(9, event("8", "tidemark.close")),
    ]
    ledger = Ledger(RULES).take_all(log)
    said = [ledger.verdicts[0, offset] for offset in range(10)]
    assert [each.verdict for each in said] == [
        *("counted", "duplicate", "rejected", "counted", "too_late"),
        *("rejected", "rejected", "rejected", "rejected", "control"),
    ]
    assert [each.reason for each in said[4:9]] == ["too_late", "future", "bad_time", "no_meter", "key_mismatch"]
    assert {span: (total.quantity, total.events) for span, total in ledger.totals.items()} == {
        Span("c", "calls", NOW_S, NOW_S + 60): (1, 1),
        Span("c", "eu", NOW_S, NOW_S + 3600): (1, 1),
        Span("c", "tokens", NOW_S, NOW_S + 3600): (Fraction(3, 2), 1),
    }


def test_a_stray_event_counts_at_its_home_with_the_time_of_its_first_arrival() -> None:
    """On a wrong partition a record is re-routed, and the copy at home is placed by when the original arrived."""
    rules = Rules(2, RULES.meters, horizon_s=86_400, future_s=300)
    home = java_partition(b"c", 2)
    stray = Stored(1 - home, 0, NOW_MS, b"c", json.dumps(event()).encode())
    headers = (("tidemark-origin-partition", b"0"), ("tidemark-received-at", str(NOW_MS).encode()))
    copy = Stored(home, 0, NOW_MS + 7_200_000, b"c", stray.value, headers)
    lost = Stored(1 - home, 1, NOW_MS, b"c", stray.value, headers)
    ledger = Ledger(rules).take_all([stray, copy, lost])
    assert [each.verdict for each in ledger.verdicts.values()] == ["rerouted", "counted", "rejected"]
    assert ledger.refused() == {(1 - home, 1): "routing_loop"}
    assert [span.start_s for span in ledger.totals] == [NOW_S]


def test_windows_are_cut_at_period_edges() -> None:
    """A window that holds a customer's period edge is two windows, and every second belongs to one."""
    rules = Rules(1, RULES.meters, 86_400, 300, {"c": (NOW_S + 100,)})
    assert rules.span("c", TOKENS, NOW_S + 99)[2:] == (NOW_S, NOW_S + 100)
    assert rules.span("c", TOKENS, NOW_S + 100)[2:] == (NOW_S + 100, NOW_S + 3600)
    assert rules.span("d", TOKENS, NOW_S + 99)[2:] == (NOW_S, NOW_S + 3600)


def test_a_grid_changes_at_an_instant() -> None:
    """Before the change an instant lies in the old grid, from it on in the new one."""
    changed = Meter("calls", "api", window_s=10, later=((NOW_S + 60, 30),))
    assert RULES.span("c", changed, NOW_S + 59)[2:] == (NOW_S + 50, NOW_S + 60)
    assert RULES.span("c", changed, NOW_S + 60)[2:] == (NOW_S + 60, NOW_S + 90)


def test_cells() -> None:
    """Whole totals have a cell in their window's first billed second; fractions, negatives and usage before the period have none."""
    spans = [Span("c", "calls", start_s, start_s + 60) for start_s in (0, 60, 120, 180, 240)]
    totals = dict(zip(spans, map(Total, map(Fraction, ("5", "6", "7", "0.5", "-1"))), strict=True))
    assert cells(totals, {("c", "calls"): Bound("si_1", 90)}) == ({"si_1": {91: 6, 120: 7}}, set(spans[1:3]), {"si_1": {180, 240}})
    assert cells(totals, {("c", "calls"): Bound("si_1", 90, scale=2)}).units == {"si_1": {91: 12, 120: 14, 180: 1}}
    assert cells(totals, {("c", "calls"): Bound("si_1", 0, edges=(120,))}).units == {"si_1": {1: 5, 60: 6, 121: 7}}
    assert cells(totals, {}) == ({}, set(), {})


def test_windows_in_one_second_are_one_cell() -> None:
    """The window of the first second of a period and the one after it share a cell, which holds their sum."""
    spans = [Span("c", "calls", 100, 101), Span("c", "calls", 101, 160)]
    totals = dict(zip(spans, map(Total, map(Fraction, ("2", "3"))), strict=True))
    assert cells(totals, {("c", "calls"): Bound("si_1", 0, edges=(100,))}) == ({"si_1": {101: 5}}, set(spans), {"si_1": set()})


def test_hash_is_the_sum_of_digests() -> None:
    """A window's hash does not depend on the order of its events and changes with each of their fields."""
    fields = ("c", "calls", "s", "1", 5, Fraction(1))
    one = posting_digest(*fields)
    for at, other in enumerate(("d", "x", "t", "2", 6, Fraction(2))):
        changed = (*fields[:at], other, *fields[at + 1 :])
        assert posting_digest(*changed) != one  # type: ignore[arg-type]
    assert window_hash(one + 2**256) == window_hash(one)
    assert len(window_hash(one)) == 64
