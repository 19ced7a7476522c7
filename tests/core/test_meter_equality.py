"""The equality property: folded in columns, or record by record by the reference, a log gives the same verdicts, rows, hashes and counters.

The reference of the fold is the same `step` with a reader that calls no record plain: every record then goes through `topics.judging.judge`, and
every batch is one record. Nothing of the columnar reading of bytes, times, quantities, types or `where` is left in it.
"""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from streams.columns import Reader
from streams.partition import MeterPartition
from streams.sheet import Sheet
from tests.core.meterlog import NOW_MS, PARTITIONS, Disk, Log, batch_of, control, customers, fresh, meters_record
from topics.bindings import BINDING_TYPE, CLOSE_TYPE, Item, items_digest
from topics.clocks import CLOCK_TYPE
from topics.content_hash import MODULUS
from topics.home import home_of
from topics.instants import format_us
from topics.meters import METERS_TYPE, Meter, Timing, meters_digest

TIMING = Timing(dedup_ms=1_800_000, horizon_ms=6 * 3_600_000, future_ms=300_000)
METERS = (
    Meter(slug="calls", event_type="api.request", window_s=60),
    Meter(slug="bytes", event_type="api.request", value="n", where={"region": "eu", "paid": True}, window_s=3600),
    Meter(slug="tokens", event_type="llm", value="tokens.in", window_s=10),
    Meter(slug="cost", event_type="llm", value="cost", allow_negative=True, where={"tier": 1}, window_s=600),
)
LATER = (*METERS[:2], Meter(slug="tokens", event_type="llm", value="tokens.in", window_s=60), METERS[3])
HOME = [*customers(6), next(name for name in (f"ü{number}" for number in range(99)) if home_of(name.encode(), PARTITIONS) == 0)]
AWAY = next(name for name in (f"x{number}" for number in range(99)) if home_of(name.encode(), PARTITIONS) != 0)
AMOUNTS: list[Any] = [
    0, 1, 7, 9_223_372, 9_223_373, 2**53 + 1, 10**18, 10**18 + 1, -1, -9_223_373, -(10**18), "12.5", "-0.000000000001", "1e3", "1e-13", "x", True,
    None, [], 10**30, 2**63, -(2**63) - 1, 1.5, -0.0, 1e300, "123456789012345678.123456789012", "",
]  # fmt: skip
TIMES = ("%sZ", "%s+00:00", "%sz", "%s.5Z", "%s.123Z", "%s.123456Z", "%s.1234567Z", "%s.250+00:00", "%s.000001+01:00", "%s", "%s.Z", "%s.12a4Z")
MISSING = object()


def test_control_types_are_those_of_the_meter() -> None:
    """The log below has every kind of record that changes what later ones mean."""
    assert all(kind.startswith("tidemark.") for kind in (METERS_TYPE, BINDING_TYPE, CLOCK_TYPE, CLOSE_TYPE))


class Writer:
    """Appends records of all kinds to a log."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.log = Log()
        self.now_ms = NOW_MS
        self.ids = [f"id{number:04d}" for number in range(60)] + ["ü" * 4, "x" * 200, "a\\b", "long" * 40]
        self.meters: tuple[Meter, ...] | None = None
        self.bound: set[str] = set()

    def write(self, length: int, controls: float = 0.03) -> Log:
        """So many records after the meters; `controls`: how often one that is folded by itself stands before an event."""
        self.put_meters(METERS)
        for number in range(length):
            self.now_ms += self.rng.choice((0, 0, 0, 0, 1, 900, 60_000, 700_000 if self.rng.random() < 0.2 else 0))
            if self.rng.random() < 0.03:
                self.log.marker(self.rng.randrange(1, 4))
            if self.rng.random() < controls:
                self.put_control(number)
            self.put_event()
        self.log.marker(self.rng.randrange(3))
        return self.log

    def put_meters(self, meters: tuple[Meter, ...]) -> None:
        """A new set of meters."""
        replaces = None if self.meters is None else meters_digest(TIMING, self.meters)
        self.log.add(*meters_record(meters, TIMING, replaces), self.now_ms)
        self.meters = meters

    def put_control(self, number: int) -> None:
        """A binding whose period ends soon, a clock, a close, new meters, or a control record that means nothing."""
        name = self.rng.choice(HOME)
        kind = self.rng.randrange(5)
        if kind == 0 and name not in self.bound:
            self.bound.add(name)
            edge_s = self.now_ms // 1000 + self.rng.choice((330, 1801, 3600))
            item = Item(meter=self.rng.choice(("calls", "bytes", "tokens")), item="si", period_anchor_s=edge_s, period="month")
            if self.rng.random() < 0.3:
                item = Item(meter=item.meter, item="si", period_anchor_s=edge_s, period="month", clock="clk_1")
            data: Any = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
            self.log.add(*control(BINDING_TYPE, name, data, name.encode()), self.now_ms)
        elif kind == 1:
            data = {"v": 1, "clock": "clk_1", "now_s": self.now_ms // 1000 + number}
            self.log.add(*control(CLOCK_TYPE, name, data, name.encode()), self.now_ms)
        elif kind == 2:
            self.log.add(*control(CLOSE_TYPE, "close", {"v": 1}), self.now_ms)
        elif kind == 3 and self.meters == METERS:
            self.put_meters(LATER)
        else:
            self.log.add(*control(METERS_TYPE, "meters", {"v": 1, "digest": "no"}), self.now_ms)

    def put_event(self) -> None:
        """Usage, or nearly so: most records are plain, each fault is rare, and any of them may stand beside any other."""
        rng = self.rng
        name = AWAY if rng.random() < 0.03 else rng.choice(HOME)
        data: dict[str, Any] = {"n": rng.randrange(1000), "region": "eu", "paid": True, "tokens.in": rng.randrange(10**6), "cost": "0.25", "tier": 1}
        event: dict[str, Any] = {"specversion": "1.0", "id": rng.choice(self.ids), "source": rng.choice(("gw", "gw", "gw2", "ü/"))}
        event |= {"type": rng.choice(("api.request", "llm")), "subject": name, "time": self.time(), "data": data, "other": {"a": [1, {"b": None}]}}
        if rng.random() < 0.4:
            data[rng.choice(("n", "tokens.in", "cost"))] = rng.choice(AMOUNTS)
        if rng.random() < 0.15:
            data[rng.choice(("region", "paid", "tier"))] = rng.choice(("us", 1, True, 1.0, None, "1"))
        if rng.random() < 0.05:
            del data[rng.choice(list(data))]
        if rng.random() < 0.1:
            field = rng.choice(("specversion", "id", "source", "type", "subject", "data", "time"))
            event[field] = rng.choice((MISSING, None, "", 1, "tidemark.", [1], "1.0", "none"))
        said = {field: value for field, value in event.items() if value is not MISSING}
        value = json.dumps(said, ensure_ascii=rng.random() < 0.7).encode()
        if rng.random() < 0.04:
            value = self.spoiled(value)
        key = name.encode() if rng.random() < 0.97 else rng.choice((None, b"", b"nobody", b"\xff"))
        headers: Any = ()
        if rng.random() < 0.06:
            at = b"%d" % (self.now_ms - 5000)
            headers = rng.choice(((("trace", b"1"),), (("x", None),), (("tidemark-received-at", at),), (("tidemark-origin-partition", b"2"),)))
        self.log.add(key, value, self.now_ms - rng.choice((0, 0, 0, 650)), headers)

    def time(self) -> Any:
        """Mostly near now; also late, too late, in the future, and no instant at all."""
        rng = self.rng
        if rng.random() < 0.05:
            odd = ("2026-02-29T00:00:00Z", "2026-11-20T23:59:60Z", "0001-01-01T00:00:00+23:59", "\u0662026-11-20T00:00:00Z")
            return rng.choice((MISSING, None, "", "soon", *odd))
        ago_ms = rng.choice((0, 1000, 59_000, 61_000, 3_600_000, 6 * 3_600_000 - 1000, 6 * 3_600_000 + 61_000, -299_000, -301_000))
        whole = format_us((self.now_ms - ago_ms) // 1000 * 1_000_000)[:-1]
        return (TIMES[4] if rng.random() < 0.6 else rng.choice(TIMES)) % whole

    def spoiled(self, value: bytes) -> bytes:
        """Bytes that are no event any more, or an event that a careless reader takes for another."""
        rng = self.rng
        return rng.choice(
            (
                value[:-1], value + b"x", b"", value.replace(b'"n"', b'"\\u006e"'), value.replace(b'"id":', b'"id": "twice", "id":'),
                value.replace(b'"other"', b'"\xff"'), value.replace(b"null", b"1" * 5000), value.replace(b"null", b"[" * 70 + b"]" * 70),
                value.replace(b'"data"', b'"data": {"n": 5}, "data"'),
                value.replace(b"null", b'"' + b"p" * 70_000 + b'"'), value.replace(b"null", b"01"),
                value.replace(b'"n":', b'"n": 3, "n":'), value.replace(b"null", b'"\\ud800"'),
                b" " + value + b"\n", value.replace(b"null", b"{" * 3 + b"}" * 3),
            )
        )  # fmt: skip


class ByReference(Reader):
    """Calls no record plain."""

    def sheet(self, batch: Any, at: int) -> Sheet:
        """The columns of the batch, of which none is believed."""
        sheet = super().sheet(batch, at)
        sheet.plain = np.zeros_like(sheet.plain)
        return sheet


def folded(log: Log, rng: random.Random, *, reference: bool) -> MeterPartition:
    """A partition that folded the log: in random cuts, or record by record through the reference."""
    partition = fresh(Disk(), random.Random(1))
    if reference:
        partition.reader = ByReference(partition.state)
        at = 0
        for record in log.records:
            partition.apply(batch_of([record], at, record.offset + 1))
            at = record.offset + 1
        partition.apply(batch_of([], at, log.end))
        return partition
    for batch in log.batches(0, rng):
        partition.apply(batch)
    return partition


def said(partition: MeterPartition) -> dict[str, Any]:
    """All that a log comes to; ids by their digests, verdicts by offset, since within a batch duplicates are said after the others."""
    state = partition.state
    rows = {
        tuple(row.window): (row.scaled, row.events, row.first_offset, row.rev, row.own, row.content_hash % MODULUS) for row in state.rows.all()
    }
    return {
        "rows": rows,
        "counters": state.counters,
        "clocks": state.clocks,
        "identity": state.identity,
        "verdicts": sorted(state.facts.verdicts, key=lambda found: found[1].offset),
        "rejected": state.facts.rejected,
        "rerouted": state.facts.rerouted,
        "definitions": state.facts.definitions,
        "bytes": state.facts.bytes,
        "ids": sorted((bucket, tuple(row)) for bucket, digests in state.new_ids for row in digests.tolist()),
        "id_counts": state.id_counts,
    }


@pytest.mark.parametrize("seed", range(24))
def test_columns_say_what_the_reference_says(seed: int) -> None:
    """Whatever the cut: every verdict, sentence, row, fence, hash, id and counter is that of a fold which asks the reference about each record."""
    log = Writer(seed).write(260)
    columns, reference = folded(log, random.Random(seed), reference=False), folded(log, random.Random(seed), reference=True)
    assert said(columns) == said(reference)
    assert columns.counters.residual == 0


@pytest.mark.parametrize("seed", range(100, 108))
def test_short_stretches_between_control_records_say_the_same(seed: int) -> None:
    """Anyone may write a control record after each event: what stands between two of them is added posting by posting, to the same sums."""
    log = Writer(seed).write(200, controls=0.4)
    columns, reference = folded(log, random.Random(seed), reference=False), folded(log, random.Random(seed), reference=True)
    assert said(columns) == said(reference)


def test_the_log_has_every_verdict_and_most_records_are_plain() -> None:
    """Over its seeds the log above brings each reason, each verdict and control record, so that none of them is equal by not being there."""
    verdicts: set[str] = set()
    counted = 0
    for seed in range(24):
        partition = folded(Writer(seed).write(260), random.Random(seed), reference=False)
        verdicts |= {verdict.reason or verdict.verdict for _, verdict in partition.state.facts.verdicts}
        counted += partition.counters.counted
    wanted = {"bad_control", "bad_quantity", "bad_time", "duplicate", "future", "key_mismatch", "missing_field", "negative", "no_meter"}
    wanted |= {"not_cloudevents", "not_json", "out_of_range", "rerouted", "routing_loop", "too_late"}
    assert wanted <= verdicts
    assert counted > 24 * 60
