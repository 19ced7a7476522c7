"""Rows of the fault matrix (`infra/docs/faults.md`) that have no other home: order, bodies, sizes, borders of numbers and of days, other versions."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from infra.send.csv_rows import Columns, read_csv
from infra.send.outgoing import BadLine, Outgoing
from sinks.clickhouse.bounds import decimal76, scaled_of
from sinks.clickhouse.migrate import migrations
from sinks.units import Unsendable, units_of
from streams.partition import MeterPartition
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, batch_of, customers, fresh, meters_record, usage
from tests.core.plain_rows import record_of
from tests.core.test_closing import Bench
from topics.codec import is_sealed
from topics.event import MAX_EVENT_BYTES, Event, Rejection, parse_event
from topics.instants import format_us, parse_us
from topics.judging import Setting, judge
from topics.meters import Meter, Timing
from topics.quantity import LIMIT, ONE, format_scaled, parse_total
from topics.window_total import decode_window_total

METER = Meter(slug="bytes", event_type="api.request", value="n", window_s=60)
CUSTOMER = customers(1)[0]
NOW_US = NOW_MS * 1000


def folded(values: list[tuple[bytes, int]], seed: int = 0) -> MeterPartition:
    """A partition that folded these values of one customer (with their append times) in random cuts."""
    log = Log()
    log.add(*meters_record((METER,), Timing()), NOW_MS)
    for value, stamp_ms in values:
        log.add(CUSTOMER.encode(), value, stamp_ms)
    partition = fresh(Disk(), random.Random(seed))
    for batch in log.batches(0, random.Random(seed)):
        partition.apply(batch)
    return partition


def sums(partition: MeterPartition) -> dict[tuple[Any, ...], tuple[int, int, int]]:
    """Total, events and hash of every window."""
    return {tuple(row.window): (row.scaled, row.events, row.content_hash) for row in partition.state.rows.all()}


def test_a6_of_two_bodies_under_one_id_the_first_counts() -> None:
    """The first body is counted whichever it is, the second is a duplicate with its verdict, and neither halts anything."""
    bodies = [usage(CUSTOMER, "same", format_us(NOW_US), {"n": n}) for n in (5, 700)]
    for first, second in (bodies, bodies[::-1]):
        partition = folded([(first, NOW_MS), (second, NOW_MS + 1)])
        wanted = 5 if first is bodies[0] else 700
        assert [total[0] for total in sums(partition).values()] == [wanted * ONE]
        assert (partition.counters.counted, partition.counters.duplicate, partition.counters.residual) == (1, 1, 0)
        assert [(verdict.verdict, verdict.offset) for _, verdict in partition.state.facts.verdicts] == [("duplicate", 2)]


@pytest.mark.parametrize("seed", range(10))
def test_a7_any_order_of_the_events_is_the_same_totals(seed: int) -> None:
    """Totals, counts and hashes are equal for every permutation of the same events, over windows and batches."""
    rng = random.Random(seed)
    events = [usage(CUSTOMER, f"e{n}", format_us(NOW_US - rng.randrange(3_600_000_000)), {"n": rng.randrange(10**6)}) for n in range(120)]
    wanted = sums(folded([(value, NOW_MS) for value in events], seed))
    assert len(wanted) > 20
    for _ in range(3):
        rng.shuffle(events)
        assert sums(folded([(value, NOW_MS) for value in events], rng.randrange(99))) == wanted


def test_a8_what_comes_within_the_grace_is_in_the_one_revision() -> None:
    """An event that arrives after its window's end and before the grace is over is in the first emission, and there is no second."""
    bench = Bench()
    bench.event(1, NOW_MS + 1000)
    bench.catch_up()
    bench.event(2, NOW_MS + 2000, NOW_MS + 64_000)
    bench.catch_up()
    assert bench.emitted(NOW_MS + 64_999) == []
    assert bench.emitted(NOW_MS + 65_000) == [("2", 2)]
    assert bench.emitted(NOW_MS + 600_000) == []


def test_a11_a_time_in_the_future_is_refused_and_moves_no_clock() -> None:
    """The year 2099, nanoseconds taken for milliseconds and six minutes ahead are `future`; what is late or final afterwards is as before."""
    ahead = ["2099-01-01T00:00:00Z", format_us(NOW_US * 1000 % (250_000 * 10**12)), format_us(NOW_US + 360_000_000)]
    good = usage(CUSTOMER, "good", format_us(NOW_US - 29 * 86_400_000_000), {"n": 1})
    edge = usage(CUSTOMER, "edge", format_us(NOW_US + 300_000_000), {"n": 1})
    values = [(usage(CUSTOMER, f"ahead{n}", time, {"n": 1}), NOW_MS) for n, time in enumerate(ahead)]
    partition = folded([*values, (good, NOW_MS), (edge, NOW_MS)])
    assert [rejected.reason for rejected in partition.state.facts.rejected] == ["future"] * 3
    assert (partition.counters.counted, partition.log_now_ms) == (2, NOW_MS)


@pytest.mark.parametrize(("more", "reason"), [(-1, None), (0, None), (1, "too_large")])
def test_a15_the_border_of_an_events_size(more: int, reason: str | None) -> None:
    """Key, value and headers of 256 KiB together are taken, one byte more is `too_large`: rejected with its bytes, and the next one counts."""
    key, headers = CUSTOMER.encode(), (("trace", b"x" * 100),)
    value = usage(CUSTOMER, "large", format_us(NOW_US), {"n": 1, "pad": ""})
    pad = MAX_EVENT_BYTES + more - len(key) - len(value) - len("trace") - 100
    value = value.replace(b'"pad": ""', b'"pad": "' + b"x" * pad + b'"')
    log = Log()
    log.add(*meters_record((METER,), Timing()), NOW_MS)
    log.add(key, value, NOW_MS, headers)
    log.add(key, usage(CUSTOMER, "next", format_us(NOW_US), {"n": 1}), NOW_MS)
    partition = fresh(Disk(), random.Random(1))
    partition.apply(batch_of(log.records, 0, log.end))
    assert [rejected.reason for rejected in partition.state.facts.rejected] == ([] if reason is None else [reason])
    assert [rejected.value for rejected in partition.state.facts.rejected] == ([] if reason is None else [value])
    assert partition.counters.counted == (2 if reason is None else 1)


def test_b5_no_table_is_fed_by_a_materialised_view() -> None:
    """There is no view that could fail halfway through an insert: every number is read from the tables that are written."""
    statements = [statement.upper() for migration in migrations() for statement in migration.statements]
    assert any("CREATE OR REPLACE VIEW" in statement or "CREATE VIEW" in statement for statement in statements)
    assert not [statement for statement in statements if "MATERIALIZED VIEW" in statement]


@pytest.mark.parametrize(
    ("zone", "skipped", "repeated", "hours"),
    [
        ("Europe/Berlin", "2026-03-29 02:30:00", "2026-10-25 02:30:00", (23, 25)),
        ("America/St_Johns", "2026-03-08 02:30:00", "2026-11-01 01:30:00", (23, 25)),
    ],
)
def test_d1_local_times_of_days_with_23_and_25_hours(zone: str, skipped: str, repeated: str, hours: tuple[int, int]) -> None:
    """A local hour that is skipped is no time, one that is repeated is its first, and the days around are as long as their zone says."""

    def read(*times: str) -> list[Outgoing | BadLine]:
        rows = [b"at", *(time.encode() for time in times)]
        return list(read_csv(iter(enumerate(rows, 1)), Columns(event_type="t", customer="c", time="at", zone=zone)))

    assert isinstance(read(skipped)[0], BadLine)
    for day, length in ((skipped[:10], hours[0]), (repeated[:10], hours[1])):
        year, month, date = map(int, day.split("-"))
        following = f"{year}-{month:02d}-{date + 1:02d} 00:00:00" if date < 31 else f"{year}-{month + 1:02d}-01 00:00:00"
        midnights = [event.occurred_at_us for event in read(f"{day} 00:00:00", following) if isinstance(event, Outgoing)]
        assert midnights[0] is not None
        assert midnights[1] is not None
        assert midnights[1] - midnights[0] == length * 3_600_000_000
    first, hour_before = read(repeated, repeated.replace("02:30", "01:30").replace("01:30", "00:30", "St_Johns" in zone))
    assert isinstance(first, Outgoing)
    assert isinstance(hour_before, Outgoing)
    assert (first.occurred_at_us or 0) - (hour_before.occurred_at_us or 0) == 3_600_000_000


@pytest.mark.parametrize("seed", range(20))
def test_d5_nothing_is_rounded_and_the_sum_of_the_parts_is_the_whole(seed: int) -> None:
    """Fractional events sum to the exact fraction; units go out only where the total is whole, and then they are that total."""
    rng = random.Random(seed)
    parts = [Fraction(rng.randrange(10**15), 10 ** rng.randrange(13)) for _ in range(60)]
    texts = [format_scaled(int(part * ONE)) for part in parts]
    partition = folded([(usage(CUSTOMER, f"e{n}", format_us(NOW_US), {"n": text}), NOW_MS) for n, text in enumerate(texts)], seed)
    ((scaled, events, _),) = sums(partition).values()
    assert (Fraction(scaled, ONE), events) == (sum(parts), 60)
    units = units_of(format_scaled(scaled), "1")
    assert units == sum(parts) if sum(parts).denominator == 1 else isinstance(units, Unsendable) and units.reason == "fraction"


def test_d6_a_thousand_million_of_the_largest_quantities_fit_everywhere() -> None:
    """The sum of 10⁹ events of 10¹⁸ units is exact in a row, in a segment, on `usage.windows` and in the archive, and is parked, not wrapped."""
    partition = folded([(usage(CUSTOMER, "e", format_us(NOW_US), {"n": LIMIT}), NOW_MS)])
    (row,) = partition.state.rows.all()
    row.scaled *= 10**9
    assert int.from_bytes(record_of(row).scaled, "little", signed=True) == row.scaled == 10**27 * ONE
    flush = partition.begin_flush()
    assert flush is not None
    partition.end_flush(flush)
    partition.tick(NOW_MS + 10**7, None)
    partition.tick(NOW_MS + 10**7, partition.next_offset)
    (emission,) = partition.due(NOW_MS + 10**7)
    total = decode_window_total(emission.send.value, "here")
    assert (total.scaled, parse_total(total.quantity)) == (10**27 * ONE, 10**27 * ONE)
    assert scaled_of(decimal76(total.scaled)) == 10**27 * ONE
    units = units_of(total.quantity, "1")
    assert isinstance(units, Unsendable)
    assert units.reason == "too_large"
    assert units_of(format_scaled((2**63 - 1) * ONE), "1") == 2**63 - 1


def test_d8_events_of_newer_and_older_producers() -> None:
    """Unknown attributes and data change nothing and stay in the bytes; a field that is missing is named; a number may become its text."""
    plain = usage(CUSTOMER, "e1", format_us(NOW_US), {"n": 7})
    newer = plain.replace(b'"n": 7', b'"n": 7, "m": {"deep": [1, null]}').replace(b'"id":', b'"traceparent": "00-1-2-03", "dataschema": 5, "id":')
    widened = plain.replace(b'"n": 7', b'"n": "7.000"')
    for value in (plain, newer, widened):
        assert [total[0] for total in sums(folded([(value, NOW_MS)])).values()] == [7 * ONE]
    for name in (b'"id"', b'"source"', b'"subject"', b'"type"'):
        found = parse_event(plain.replace(name, b'"renamed"'))
        assert isinstance(found, Rejection)
        assert found.reason == "missing_field"
        assert name.strip(b'"').decode() in found.sentence
    setting = Setting(0, PARTITIONS, NOW_MS, 0, folded([]).state.definitions)
    judged = judge(CUSTOMER.encode(), plain.replace(b'"n"', b'"amount"'), (), NOW_MS, setting)
    assert isinstance(judged, Rejection)
    assert (judged.reason, "data.n" in judged.sentence) == ("missing_field", True)


def test_d8_a_stored_record_with_fields_of_a_newer_program_is_read() -> None:
    """A field that this program does not know is passed over in a record of its own version, and the checksum covers it."""
    from tests.fuzz.records import resealed
    from tests.fuzz.samples import TOTAL, stored_samples

    (sample,) = [each for each in stored_samples() if each.kind == "total"]
    body = {**msgspec.json.decode(sample.value), "colour": "red"}
    del body["crc"]
    value = resealed(msgspec.json.encode(body), random.Random(1))
    assert is_sealed(value, "here")
    assert decode_window_total(value, "here") == TOTAL


def test_d2_a_leap_second_is_no_time() -> None:
    """Second 60 is refused and never moved into a neighbouring second, in every form of an instant."""
    for text in ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2017-01-01T00:59:60+01:00"):
        assert parse_us(text) is None
        partition = folded([(usage(CUSTOMER, "e", text, {"n": 1}), NOW_MS)])
        assert [rejected.reason for rejected in partition.state.facts.rejected] == ["bad_time"]
    event = parse_event(usage(CUSTOMER, "e", "2016-12-31T23:59:59Z", {"n": 1}))
    assert isinstance(event, Event)
