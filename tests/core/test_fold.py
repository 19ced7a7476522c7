"""The fold against a naive account: laws 0, 2, 4, 5, 6, 7, 11, with crashes at every point of a flush."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from typing import Any

import pytest

from streams.conservation import postings_residual
from streams.partition import MeterPartition
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, Stored, batch_of, customers, fresh, meters_record, state_sends, usage
from tests.core.naive import Naive
from topics.catalog import REJECTED, VERDICTS, WINDOWS
from topics.home import home_of
from topics.meters import Meter, Timing
from topics.quantity import ONE

METERS = (
    Meter(slug="calls", event_type="api.request", window_s=60),
    Meter(slug="eu_bytes", event_type="api.request", value="bytes", where={"region": "eu"}, window_s=3600),
    Meter(slug="credit", event_type="wallet.change", value="amount", allow_negative=True, window_s=10),
)
PLAIN = [
    {"slug": "calls", "type": "api.request", "value": "count", "window_s": 60},
    {"slug": "eu_bytes", "type": "api.request", "value": "bytes", "where": {"region": "eu"}, "window_s": 3600},
    {"slug": "credit", "type": "wallet.change", "value": "amount", "allow_negative": True, "window_s": 10},
]
TIMING = Timing(dedup_ms=600_000, horizon_ms=3_600_000 * 3, future_ms=300_000, revision_delay_ms=0)
HOME = customers(5)
AWAY = next(name for name in (f"x{i}" for i in range(99)) if home_of(name.encode(), PARTITIONS) != 0)
AMOUNTS: list[Any] = [
    0, 1, 7, 999_999, 10**18, -3, "12.5", "-0.000000000001", "1e3", "1E-12", "1e-13", "0.0000000000010", "nan", "Infinity", " 1", "1_0", "+1", "",
    True, None, [], {"a": 1}, 10**18 + 1, 10**38, "123456789012345678.123456789012",
]  # fmt: skip
RAW = [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"specversion":"1.0"}', b"{" * 70, b"[" * 65 + b"]" * 65, b'{"specversion":"0.3","id":"1"}',
    b'{"specversion":"1.0","id":"n","source":"s","type":"api.request","subject":"c","data":{"bytes":NaN,"region":"eu"}}',
]  # fmt: skip


def _time(rng: random.Random, now_ms: int) -> str | None:
    kind = rng.random()
    if kind < 0.05:
        return None
    if kind < 0.12:
        return rng.choice(["2026-11-20T10:00:00", "2026-11-20T23:59:60Z", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", ""])
    at_ms = now_ms - rng.choice((0, 1, 999, 59_999, 60_000, 400_000, 3_600_000, 10_799_999, 10_800_000, 10_800_001, -299_999, -300_000, -300_001))
    seconds, millis = divmod(at_ms, 1000)
    day, rest = divmod(seconds - NOW_MS // 1000, 86_400)
    date = {0: "2026-11-21", -1: "2026-11-20", 1: "2026-11-22"}[day]
    text = f"{date}T{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return text + rng.choice([f".{millis:03d}", f".{millis:03d}000"]) + rng.choice(["Z", "+00:00", "z"])


def build_log(seed: int, length: int = 400) -> Log:
    """A hostile log: duplicates, disorder, late, future, malformed, re-routed, markers, clock jumps."""
    rng = random.Random(seed)
    log = Log()
    log.add(*meters_record(METERS, TIMING), NOW_MS)
    now_ms = NOW_MS + 1
    ids = [f"id{number}" for number in range(length // 2)] + ["ü" * 3, "x" * 200]
    for _ in range(length):
        now_ms += rng.choice((0, 0, 1, 500, 20_000, 20_000, 400_000 if rng.random() < 0.1 else 0))
        stamp = now_ms - rng.choice((0, 0, 0, 700))
        if rng.random() < 0.04:
            log.marker(rng.randrange(1, 4))
        if rng.random() < 0.06:
            log.add(rng.choice([b"c", None, HOME[0].encode()]), rng.choice(RAW), stamp)
            continue
        customer = rng.choice([*HOME, HOME[0], AWAY])
        data = {"bytes": rng.choice(AMOUNTS), "region": rng.choice(["eu", "eu", "us"]), "amount": rng.choice(AMOUNTS)}
        if rng.random() < 0.1:
            del data["bytes"]
        kind = rng.choice(["api.request", "api.request", "wallet.change", "unknown.type"])
        value = usage(customer, rng.choice(ids), _time(rng, now_ms), data, kind, rng.choice(["gw", "gw", "other"]))
        key = customer.encode() if rng.random() < 0.97 else rng.choice([None, b"somebody"])
        headers = (("tidemark-received-at", b"%d" % (stamp - 5000)),) if rng.random() < 0.05 else ()
        log.add(key, value, stamp, headers)
    log.marker(rng.randrange(3))
    return log


def account_of(log: Log) -> Naive:
    """The naive account of a whole log."""
    naive = Naive(PLAIN, dedup_ms=TIMING.dedup_ms, horizon_ms=TIMING.horizon_ms, future_ms=TIMING.future_ms, at_home=set(HOME))
    for record in log.records:
        naive.take(record)
    return naive


def compare(partition: MeterPartition, log: Log, naive: Naive, retired: dict[tuple[str, str, int], tuple[int, int, int]]) -> None:
    """State = account, row by row, and both conservation sums are 0."""
    rows = {(r.window.customer, r.window.meter, r.window.start_s): (r.scaled, r.events, r.through_offset) for r in partition.state.rows.all()}
    wanted = {key: (int(total * ONE), naive.events[key], naive.through[key]) for key, total in naive.sums.items()}
    assert {**retired, **rows} == wanted
    counters = partition.counters
    verdicts = list(naive.verdicts.values())
    assert counters.residual == 0
    assert postings_residual(partition.state) == 0
    assert counters.next_offset == log.end
    assert counters.counted == verdicts.count("counted")
    assert counters.duplicate == verdicts.count("duplicate")
    assert counters.too_late == verdicts.count("too_late")
    assert counters.rerouted == verdicts.count("rerouted")
    assert counters.skipped == log.end - len(log.records)


@pytest.mark.parametrize("seed", range(40))
def test_every_record_has_the_verdict_of_the_naive_account(seed: int) -> None:
    """Whatever the cut into batches, each record's verdict and each row equal those of an account that shares no code."""
    log, rng = build_log(seed), random.Random(seed)
    naive = account_of(log)
    partition = fresh(Disk(), rng)
    said: dict[int, str] = {}
    for batch in log.batches(0, rng):
        partition.apply(batch)
    for record in partition.state.facts.rejected:
        said[record.offset] = record.reason
    for _, verdict in partition.state.facts.verdicts:
        said.setdefault(verdict.offset, verdict.verdict)
    assert said == {offset: verdict for offset, verdict in naive.verdicts.items() if verdict not in ("counted", "control")}
    compare(partition, log, naive, {})
    originals = {record.offset: record for record in log.records}
    for rejected in partition.state.facts.rejected:
        assert (rejected.key, rejected.value) == originals[rejected.offset][1:3]


class Worker:
    """Drives a partition as the shell does, over a disk that keeps only acknowledged records, and dies where it is told to."""

    def __init__(self, disk: Disk, out: dict[str, list[tuple[bytes | None, bytes | None]]], rng: random.Random) -> None:
        self.disk, self.out, self.rng = disk, out, rng
        self.partition = fresh(disk, rng)

    def flush(self, die: bool) -> bool:
        """One flush; True where the worker died on the way, having written any part of a group."""
        flush = self.partition.begin_flush()
        if flush is None:
            return die
        for group in (flush.first, [flush.counters], flush.last):
            sends = list(group)
            self.rng.shuffle(sends) if group is flush.first else None
            upto = self.rng.randrange(len(sends) + 1) if die and self.rng.random() < 0.5 else len(sends)
            for send in sends[:upto]:
                self.out.setdefault(send.topic, []).append((send.key, send.value))
            for key, value in state_sends(sends[:upto]):
                self.disk.append(key, value)
            if upto < len(sends):
                return True
        self.partition.end_flush(flush)
        return die

    def emit(self, now_ms: int) -> None:
        """One round of closing and emission, all acknowledged."""
        wants = self.partition.tick(now_ms, None)
        if wants:
            self.partition.tick(now_ms, self.partition.durable_offset)
        emissions = self.partition.due(now_ms)
        for emission in emissions:
            self.out.setdefault(WINDOWS, []).append((emission.send.key, emission.send.value))
        if self.rng.random() < 0.9:  # else it dies between the send and the note of it
            self.partition.end_emission(emissions)


@pytest.mark.parametrize("seed", range(60))
def test_totals_are_exact_after_crashes_at_every_point(seed: int) -> None:
    """Killed in any group of any flush, with compaction and zombies that write late, the rows equal the naive account (H1, H2, H7, H11)."""
    rng = random.Random(1000 + seed)
    log, disk = build_log(1000 + seed, 300), Disk()
    out: dict[str, list[tuple[bytes | None, bytes | None]]] = {}
    worker = Worker(disk, out, rng)
    zombies: list[Worker] = []
    retired: dict[tuple[str, str, int], tuple[int, int, int]] = {}
    while worker.partition.next_offset < log.end:
        upto = min(log.end, worker.partition.next_offset + rng.choice((1, 5, 30, 120)))
        for batch in log.batches(worker.partition.next_offset, rng, upto):
            worker.partition.apply(batch)
        worker.emit(worker.partition.log_now_ms + rng.choice((0, 7_200_000)))
        if zombies and rng.random() < 0.3:
            zombies.pop().flush(die=True)
        if rng.random() < 0.4:
            disk.compact(rng)
        if worker.flush(die=rng.random() < 0.3):
            if rng.random() < 0.5:
                zombies.append(worker)
            worker = Worker(disk, out, rng)
    while worker.flush(die=False) or worker.partition.due(0) or worker.partition._dirty:
        worker.emit(10**14)
    worker.emit(10**14)
    worker.flush(die=False)
    compare_emitted(out, account_of(log))
    recovered = fresh(disk, rng)
    assert recovered.status() == worker.partition.status()
    for key in account_of(log).sums:
        if key[2] + 3600 * 24 < 0:
            retired[key] = (0, 0, 0)
    held = {(r.window.customer, r.window.meter, r.window.start_s) for r in recovered.state.rows.all()}
    naive = account_of(log)
    gone = {key: (int(total * ONE), naive.events[key], naive.through[key]) for key, total in naive.sums.items() if key not in held}
    assert sum(count for _, count, _ in gone.values()) == recovered.state.retired.events
    compare(recovered, log, naive, gone)


def compare_emitted(out: dict[str, list[tuple[bytes | None, bytes | None]]], naive: Naive) -> None:
    """The greatest revision of each window is the account's sum; one revision never has two bodies; every verdict was written."""
    bodies: dict[tuple[bytes | None, int], bytes] = {}
    newest: dict[tuple[str, str, int], tuple[int, Fraction]] = {}
    for key, value in out.get(WINDOWS, []):
        body = json.loads(value or b"")
        assert bodies.setdefault((key, body["through_offset"]), value or b"") == value
        start = int(key.decode().split("|")[2]) if key else 0
        name = (body["customer"], body["meter"], start)
        if body["through_offset"] >= newest.get(name, (-1, Fraction(0)))[0]:
            newest[name] = (body["through_offset"], Fraction(body["quantity"]))
    assert {name: total for name, (_, total) in newest.items()} == dict(naive.sums)
    verdicts: dict[int, str] = {}
    for _, value in out.get(VERDICTS, []):
        body = json.loads(value or b"")
        if body["verdict"] != "mark":
            assert verdicts.setdefault(body["offset"], body["verdict"]) == body["verdict"]
    reasons = {offset: verdict for offset, verdict in naive.verdicts.items() if verdict not in ("counted", "control")}
    assert set(verdicts) == set(reasons)
    assert len(out.get(REJECTED, [])) >= sum(1 for verdict in reasons.values() if verdict not in ("duplicate", "rerouted"))


def test_a_replay_below_the_fence_changes_nothing() -> None:
    """Delivery that goes back and hands over the same records again adds nothing (H15)."""
    rng = random.Random(5)
    log = build_log(5)
    partition = fresh(Disk(), rng)
    for batch in log.batches(0, rng):
        partition.apply(batch)
    before = partition.status()
    partition.apply(batch_of(log.records[:100], 0, log.records[99].offset + 1))
    assert partition.status() == before


def test_a_gap_in_delivery_is_refused() -> None:
    """A batch that begins beyond the next offset is corruption of delivery, never counted as skipped."""
    partition = fresh(Disk(), random.Random(1))
    with pytest.raises(Exception, match="went from offset 0 to 7"):
        partition.apply(batch_of([Stored(7, b"k", b"{}", (), NOW_MS)], 7, 8))


def test_a_partition_without_meters_halts() -> None:
    """An event before the first meters record halts with the command that helps; nothing is guessed."""
    partition = fresh(Disk(), random.Random(1))
    record = Stored(0, HOME[0].encode(), usage(HOME[0], "1", None), (), NOW_MS)
    with pytest.raises(Exception, match="run `tidemark apply`"):
        partition.apply(batch_of([record], 0, 1))
