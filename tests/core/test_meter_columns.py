"""The columnar path against the reference and against the naive account, with its caches made so small that each of them overflows."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from streams import columns
from streams.partition import MeterPartition
from tests.core import test_fold
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, Stored, batch_of, control, customers, fresh, meters_record, usage
from topics.bindings import BINDING_TYPE, Item, items_digest
from topics.errors import Halt
from topics.event import MAX_EVENT_BYTES, Rejection
from topics.home import home_of
from topics.instants import format_s, format_us
from topics.judging import Control, Setting, Usage, judge
from topics.meters import Meter, Timing, meters_digest

CALLS = Meter(slug="calls", event_type="api.request", window_s=60)
BYTES = Meter(slug="bytes", event_type="api.request", value="n", where={"region": "eu"}, window_s=3600)
CREDIT = Meter(slug="credit", event_type="wallet", value="n", allow_negative=True, window_s=10)
TIMING = Timing(dedup_ms=3_600_000, horizon_ms=86_400_000, future_ms=300_000)
HOME = customers(3)
LIMITS = ("_MAX_HELD_BYTES",)


def rows_of(partition: MeterPartition) -> dict[tuple[Any, ...], tuple[int, int, int, int]]:
    """What each row holds."""
    return {tuple(row.window): (row.scaled, row.events, row.first_offset, row.rev) for row in partition.state.rows.all()}


def folded(log: Log, seed: int = 0) -> MeterPartition:
    """A partition that folded the log in random cuts."""
    partition = fresh(Disk(), random.Random(seed))
    for batch in log.batches(0, random.Random(seed)):
        partition.apply(batch)
    return partition


@pytest.mark.parametrize("seed", range(12))
def test_caches_that_overflow_all_the_time_change_no_total(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for next to nothing in each cache every row still equals the naive account: a window never has two rows."""
    for name in LIMITS:
        monkeypatch.setattr(columns, name, (1, 4000, 400)[seed % 3])
    log = test_fold.build_log(7000 + seed, 300)
    partition = folded(log, seed)
    test_fold.compare(partition, log, test_fold.account_of(log), {})
    assert partition.reader.known < len(log.records)


def test_a_window_first_asked_for_by_a_duplicate_has_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A duplicate opens a row without an event; the cache forgets the customer before the next batch: both events share one row."""
    monkeypatch.setattr(columns, "_MAX_HELD_BYTES", 1)
    log, (first, second, third) = Log(), HOME
    log.add(*meters_record((CALLS,), TIMING), NOW_MS)
    log.add(first.encode(), usage(first, "a", format_us(NOW_MS * 1000)), NOW_MS)
    log.add(first.encode(), usage(first, "a", format_us((NOW_MS + 120_000) * 1000)), NOW_MS)  # its window differs, its id does not
    split = log.end
    for number, customer in enumerate((first, second, third, first)):
        log.add(customer.encode(), usage(customer, f"n{number}", format_us((NOW_MS + 120_000) * 1000)), NOW_MS)
    partition = fresh(Disk(), random.Random(1))
    partition.apply(batch_of(log.records[:split], 0, split))
    partition.apply(batch_of(log.records[split:], split, log.end))
    found = {(row.window.customer, row.window.start_s - NOW_MS // 1000): row.events for row in partition.state.rows.all()}
    assert found == {(first, 0): 1, (first, 120): 2, (second, 120): 1, (third, 120): 1}


def test_a_cell_of_one_grid_is_never_taken_for_a_cell_of_another() -> None:
    """The N-th window of an old grid and the N-th of a new one are different windows, however far a horizon lets them be apart."""
    long = Timing(horizon_ms=100 * 31_557_600_000, dedup_ms=3_600_000)
    old, new = CALLS, Meter(slug="calls", event_type="api.request", window_s=64)
    log = Log()
    log.add(*meters_record((old,), long), NOW_MS)
    log.add(*meters_record((new,), long, meters_digest(long, (old,))), NOW_MS)
    at_s = NOW_MS // 1000 + 7200
    cell = at_s // 64
    past_s = cell * 60 + 5
    log.add(HOME[0].encode(), usage(HOME[0], "past", format_s(past_s)), NOW_MS + 7_200_000)
    log.add(HOME[0].encode(), usage(HOME[0], "now", format_s(at_s)), NOW_MS + 7_200_000)
    assert {row.window.start_s for row in folded(log).state.rows.all()} == {past_s // 60 * 60, at_s // 64 * 64}


def test_an_event_of_nobody_is_rejected() -> None:
    """An empty customer under an empty key is `missing_field` on every partition, also where that key is at home."""
    for partitions in range(1, 9):
        if home_of(b"", partitions):
            continue
        partition = MeterPartition.recover(0, partitions, [], writer_epoch=b"w" * 8, id_key=b"k" * 16, cluster_id="test")
        key, value = meters_record((CALLS,), TIMING)
        records = [Stored(0, key, value, (), NOW_MS), Stored(1, b"", usage("", "1", format_us(NOW_MS * 1000)), (), NOW_MS)]
        partition.apply(batch_of(records, 0, 2))
        assert [rejected.reason for rejected in partition.state.facts.rejected] == ["missing_field"]
        assert partition.counters.counted == 0


SPICE: list[Any] = [
    None, "", "x", 0, 1, -1, True, [], {}, 1.5, 1e300, "1e" + "0" * 5000 + "1", "9" * 5000, "\u0000", "\u00fc", "\U0001f600", "1" * 60, " ",
    {"n": {"n": 1}},
    "0001-01-01T00:00:00+14:00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-23:59", "2026-11-21T00:00:00.1234567Z", "2026-11-21T00:00:60Z",
    "2026-11-21T00:00:00.Z", "2026-11-21T00:00:00", "2026-11-21t00:00:00z", "2026-11-21T00:00:00+00:00", "2026-11-21T00:00:00.5Z", "1.0",
    "api.request", "tidemark.meters", "tidemark.", "tidemark.binding", "tidemark.release", "wallet",
]  # fmt: skip
ODD = [
    b'{"specversion":"1.0","id":1,"id":"a","source":"s","type":"api.request","subject":"%s","data":{"n":1e2,"region":"eu"}}',
    b'{"specversion":"1.0","id":"\\ud800","source":"s","type":"api.request","subject":"%s"}',
    b'{"specversion":"1.0","id":"a\\u0000","source":"s\\u0000","type":"api.request","subject":"%s","time":"2026-11-21T00:00:00Z"}',
    b'\xef\xbb\xbf{"specversion":"1.0","id":"a","source":"s","type":"api.request","subject":"%s"}',
    b'{"specversion":"1.0","id":"a","source":"s","type":"api.request","subject":"%s","x":' + b"[" * 64 + b"]" * 64 + b"}",
    b'{"specversion":"1.0","id":"a","source":"s","type":"api.request","subject":"%s","x":' + b"[" * 63 + b"]" * 63 + b"}",
    b'{"specversion":"1.0","id":"a","source":"s","type":"wallet","subject":"%s","data":{"n":-0.0}}',
    b'{"specversion":"1.0","id":"b","source":"s","type":"wallet","subject":"%s","data":{"n":' + b"9" * 5000 + b"}}",
    b'{"specversion":"1.0","id":"b","source":"s","type":"wallet","subject":"%s","data":{"n":1e' + b"0" * 5000 + b"}}",
    b'{"specversion":"1.0","id":"c","source":"s","type":"wallet","subject":"%s","data":{"n":"1","n":2}}',
    '{"specversion":"1.0","id":"a","source":"s","type":"t","subject":"%s"}'.encode("utf-16-le"),
]  # fmt: skip


def hostile(rng: random.Random, number: int) -> Stored:
    """One record that is nearly good, or not at all."""
    customer = rng.choice(HOME)
    stamp = NOW_MS + number
    event: dict[str, Any] = {"specversion": "1.0", "id": f"e{number % 40}", "source": "gw", "type": rng.choice(("api.request", "wallet"))}
    event |= {"subject": customer, "time": format_us(stamp * 1000), "data": {"n": rng.randrange(9), "region": "eu"}}
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        place = rng.choice((event, event, event["data"] if isinstance(event.get("data"), dict) else event))
        place[rng.choice((*event, "n", "region", "other"))] = rng.choice(SPICE)
    value = json.dumps(event, ensure_ascii=rng.random() < 0.5).encode()
    if rng.random() < 0.15:
        value = rng.choice(ODD).replace(b"%s", customer.encode())
    if rng.random() < 0.03:
        value = value[: rng.randrange(len(value))] + rng.randbytes(3)
    if rng.random() < 0.02:
        value = json.dumps({**event, "pad": "x" * rng.choice((70_000, MAX_EVENT_BYTES))}).encode()
    subject = event.get("subject")
    key = rng.choice((customer.encode(), subject.encode() if isinstance(subject, str) else None, None, b"", b"\xff\xfe", b"k" * 1000))
    origins = (("tidemark-received-at", b"1"), ("tidemark-origin-partition", b"3")), (("h", None), ("h", b"")), (("tidemark-received-at", b"9" * 30),)
    headers: tuple[Any, ...] = rng.choice(((), (), (), *origins))
    return Stored(number, key if rng.random() < 0.2 else customer.encode(), value if rng.random() < 0.99 else None, headers, stamp)


@pytest.mark.parametrize("seed", range(30))
def test_the_columnar_path_says_what_the_reference_says(seed: int) -> None:
    """Hostile events, record by record: verdict, window, quantity and id are the reference's, in whatever batches, and nothing crashes."""
    rng = random.Random(seed)
    key, value = meters_record((CALLS, BYTES, CREDIT), TIMING)
    records = [Stored(0, key, value, (), NOW_MS), *(hostile(rng, number) for number in range(1, 250))]
    log = Log()
    log.records, log.end = records, len(records)
    partition = folded(log, seed)
    state = partition.state
    reasons = {rejected.offset: rejected.reason for rejected in state.facts.rejected}
    counted: dict[tuple[Any, ...], list[int]] = {}
    seen: set[tuple[str, str, str]] = set()
    for record in records[1:]:
        setting = Setting(0, PARTITIONS, record.timestamp_ms, (record.timestamp_ms - TIMING.horizon_ms) * 1000, state.definitions)
        judged = judge(record.key, record.value, record.headers, record.timestamp_ms, setting)
        assert not isinstance(judged, Rejection) or judged.reason == reasons[record.offset]
        assert isinstance(judged, Rejection | Control) or record.offset not in reasons
        if isinstance(judged, Usage) and (name := (judged.event.subject, judged.event.source, judged.event.id)) not in seen:
            seen.add(name)
            for posting in judged.postings:
                held = counted.setdefault(tuple(posting.window), [0, 0])
                held[0] += posting.scaled
                held[1] += 1
    assert {window: [row[0], row[1]] for window, row in rows_of(partition).items()} == counted
    assert partition.counters.residual == 0
    flush = partition.begin_flush()
    assert flush is not None
    assert max(len(send.key or b"") + len(send.value or b"") for send in flush.first) < 1_000_000


def test_a_binding_forgets_its_own_customer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred bindings do not walk all customers a hundred times, and each one's windows are cut all the same."""
    log = Log()
    log.add(*meters_record((BYTES,), TIMING), NOW_MS)
    names = customers(100, prefix="b")
    walked: list[str] = []
    edge_s = NOW_MS // 1000 + 1800
    for round_ in range(2):
        for name in names:
            for minute in (1, 31):
                at_us = (NOW_MS + minute * 60_000) * 1_000_000 // 1000
                log.add(name.encode(), usage(name, f"{round_}{minute}", format_us(at_us), {"n": 1, "region": "eu"}), NOW_MS + 3_600_000 - 1)
            if not round_:
                item = Item(meter="bytes", item=f"si_{name}", period_anchor_s=edge_s, period="month")
                data = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
                log.add(*control(BINDING_TYPE, name, data, name.encode()), NOW_MS + 3_600_000 - 1)
    partition = fresh(Disk(), random.Random(1))
    forget = partition.reader.forget

    def watched() -> None:
        walked.append("all")
        forget()

    monkeypatch.setattr(partition.reader, "forget", watched)
    for batch in log.batches(0, random.Random(1)):
        partition.apply(batch)
    assert partition.counters.control == 101
    assert len(walked) <= 2
    assert all(row.events == 4 for row in partition.state.rows.all())  # rows that were there stay whole (`straddling`)


def test_no_control_record_stops_the_meter() -> None:
    """Control records with absurd numbers are rejected as `bad_control`, and what was accepted can be flushed and recovered."""
    meters = {"v": 1, "replaces": meters_digest(TIMING, (CALLS,)), "meters": [CALLS]}
    huge = (10**14, 10**19, 10**30, -(10**30))
    timings = [Timing(**{name: number}) for name in ("dedup_ms", "horizon_ms", "future_ms", "revision_delay_ms") for number in huge]
    records = [control("tidemark.meters", "m", {**meters, "timing": timing, "digest": meters_digest(timing, (CALLS,))}) for timing in timings]
    grace = Meter(slug="calls", event_type="api.request", grace_ms=10**19)
    records.append(control("tidemark.meters", "m", {**meters, "timing": TIMING, "meters": [grace], "digest": meters_digest(TIMING, (grace,))}))
    other = Timing(dedup_ms=5000)
    for number in huge:
        records.append(control("tidemark.meters", "m", {**meters, "timing": other, "valid_from_s": number, "digest": meters_digest(other, (CALLS,))}))
        for name in ("period_anchor_s", "period_count", "starts_at_s", "valid_from_s"):
            item = msgspec.structs.replace(Item(meter="calls", item="si", period_anchor_s=0), **{name: number})
            data = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
            records.append(control(BINDING_TYPE, HOME[0], data, HOME[0].encode()))
    long = "\U0001f600" * 20_000
    wild = tuple(Meter(slug=long, event_type="", value="", window_s=1) for _ in range(2))
    records.append(control("tidemark.meters", "m", {**meters, "timing": TIMING, "meters": wild, "digest": meters_digest(TIMING, wild)}))
    records.append(control("tidemark.meters", "m", {**meters, "timing": other, "digest": meters_digest(other, (CALLS,)), "replaces": long}))
    records.append(control("tidemark.meters", "m", {"v": long}))
    log = Log()
    log.add(*meters_record((CALLS,), TIMING), NOW_MS)
    for key, value in records:
        log.add(key, value, NOW_MS + 1)
    disk = Disk()
    partition = folded(log)
    assert (partition.counters.control, partition.counters.rejected) == (1, len(records))
    flush = partition.begin_flush()
    assert flush is not None
    assert max(len(send.value or b"") for send in flush.first if send.topic != "usage.rejected") < 10_000
    for send in [*flush.first, flush.counters]:
        if send.topic == "usage.state":
            disk.append(send.key, send.value)
    assert fresh(disk, random.Random(2)).counters == partition.counters


def test_a_log_that_begins_with_anything_else_halts() -> None:
    """Whatever hostile record is the very first, the meter halts with the command that helps; nothing else is raised."""
    rng = random.Random(11)
    for number in range(300):
        record = hostile(rng, number)
        partition = MeterPartition.recover(0, PARTITIONS, [], writer_epoch=b"w" * 8, id_key=b"k" * 16, cluster_id="test", fresh_base=number)
        with pytest.raises(Halt, match="tidemark apply"):
            partition.apply(batch_of([record], number, number + 1))


@pytest.mark.parametrize("width", [4, 1])
def test_a_large_batch_takes_ids_of_both_kinds(width: int) -> None:
    """Ids with escapes among a thousand without, of one length or of several, of twenty types: each counts as when it comes alone."""
    meters = tuple(Meter(slug=f"m{number}", event_type=f"type{number}", window_s=60) for number in range(20))
    rng, log = random.Random(width), Log()
    log.add(*meters_record(meters, TIMING), NOW_MS)
    for number in range(1500):
        customer, event_id = rng.choice(HOME), f"{rng.randrange(900):0{width}d}"
        value = usage(customer, event_id, format_us(NOW_MS * 1000), event_type=f"type{rng.randrange(20)}")
        if rng.random() < 0.05:
            value = value.replace(f'"{event_id}"'.encode(), f'"\\u003{event_id[0]}{event_id[1:]}"'.encode())
        log.add(customer.encode(), value, NOW_MS + number)
    together, alone = fresh(Disk(), random.Random(1)), fresh(Disk(), random.Random(1))
    together.apply(batch_of(log.records, 0, log.end))
    for record in log.records:
        alone.apply(batch_of([record], record.offset, record.offset + 1))
    assert 0 < together.counters.counted < 1500
    assert (together.counters, rows_of(together)) == (alone.counters, rows_of(alone))
    hashes = [{tuple(row.window): row.content_hash for row in partition.state.rows.all()} for partition in (together, alone)]
    assert hashes[0] == hashes[1]
