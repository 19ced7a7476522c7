"""Whole records of every kind that is stored, for mutators to work on: made by the product's own writers from fixed facts."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from streams.partition import MeterPartition
from tests.core.meterlog import NOW_MS, Disk, Log, control, customers, fresh, meters_record, state_sends, usage
from topics.bindings import BINDING_TYPE, Item, ItemVersion, Release, items_digest
from topics.codec import encode
from topics.definitions import definition_key
from topics.instants import format_us
from topics.meters import Meter, MeterVersion, Timing, TimingVersion
from topics.receipt import CellReceipt, Standing, WindowPart, WindowReceipt, receipt_key
from topics.rejected import Rejected, rejected_headers
from topics.verdict import Counters, Mark, Verdict
from topics.window_total import window_total
from topics.windows import Window, window_key

START_S = NOW_MS // 1000
METER = Meter(slug="bytes", event_type="api.request", value="n", where={"region": "eu"}, window_s=60)
ITEM = Item(meter="bytes", item="si_1", price="price_1", period_anchor_s=START_S, scale="0.001", fractions="refuse")
WINDOW = Window("acme|%", "bytes", START_S, START_S + 60)
PART = WindowPart(window=window_key(WINDOW), generation=0, through_offset=41, quantity="12000.5")
TOTAL = window_total(WINDOW, scaled=12_000_500_000_000_000, events=3, first_offset=7, revision=(0, 41), partition=2, content_hash=2**255 + 9)
CELL = CellReceipt(
    provider="stripe", account="default", cell=f"si_1|{START_S + 1}", customer="acme|%", meter="bytes", item="si_1", subscription="sub_1",
    timestamp_s=START_S + 1, period_start_s=START_S, period_end_s=START_S + 2_592_000, scale="2", windows=(PART,), revision=2, attempt=1,
    quantity="12000.5", units="24001", idempotency_key="tm1_" + "a1" * 32, path="/v1/subscription_items/si_1/usage_records",
    body=f"quantity=24001&timestamp={START_S + 1}&action=set", state="delivered", intent_at_ms=NOW_MS, reported_at_ms=NOW_MS + 80,
    outcome="delivered", http_status=200, request_id="req_1", closed_at_ms=NOW_MS - 5,
    standing=Standing(revision=2, attempt=1, units="24001", quantity="12000.5", at_ms=NOW_MS + 80), maybe=("7", "11"),
)  # fmt: skip
PARKED = WindowReceipt(
    window=window_key(WINDOW), customer="acme|%", meter="bytes", start_s=START_S, end_s=START_S + 60, generation=0, through_offset=41,
    quantity="12000.5", reason="unbound", sentence="nobody is billed", parked_at_ms=NOW_MS,
)  # fmt: skip
DEFINITIONS = (
    MeterVersion(meter=METER, valid_from_s=-62_135_596_800, offset=0, digest="d" * 64),
    TimingVersion(timing=Timing(), offset=0, digest="d" * 64),
    ItemVersion(customer="acme|%", meter="bytes", item=ITEM, valid_from_s=START_S, whole=(START_S + 5,), offset=3, digest="e" * 64),
    Release(customer="acme|%", target='["cell","stripe","default","si_1|5"]', reason="it is mended", offset=9),
)
VERDICTS = (
    Verdict(verdict="duplicate", generation=0, partition=2, offset=40, customer="acme|%", source="gw", event_id="e1"),
    Verdict(verdict="rerouted", generation=0, partition=2, offset=41, customer="acme|%", source="gw", event_id="e2", home=1),
    Mark(generation=0, partition=2, next_offset=42, counters=Counters(next_offset=42, counted=40, duplicate=1, rerouted=1, postings=40)),
)
REJECTED = Rejected(b"acme", b'{"no":1}', (("h", b"1"),), "not_cloudevents", "specversion is 'None'", "usage.events", 2, 39, NOW_MS)
REJECTED_HEADERS = rejected_headers(REJECTED)


class Sample(NamedTuple):
    """One stored record as it lies on its topic."""

    kind: str
    key: bytes | None
    value: bytes


def stored_samples() -> list[Sample]:
    """A JSON record of every kind."""
    found = [Sample("total", window_key(WINDOW).encode(), encode(TOTAL))]
    found += [Sample("verdict", b"acme", encode(verdict)) for verdict in VERDICTS]
    found += [Sample("receipt", receipt_key(receipt), encode(receipt)) for receipt in (CELL, PARKED)]
    found += [Sample("definition", definition_key(definition), encode(definition)) for definition in DEFINITIONS]
    return found


def changelog(events: int = 6, flushes: int = 2) -> Disk:
    """The changelog of a partition with a meter, a binding, rows and ids, written in several flushes."""
    customer, rng, disk = customers(1)[0], random.Random(1), Disk()
    item = Item(meter="bytes", item="si_1", period_anchor_s=START_S)
    binding = {"v": 1, "digest": items_digest((item,)), "replaces": None, "items": [item]}
    log = Log()
    log.add(*meters_record((METER,)), NOW_MS)
    log.add(*control(BINDING_TYPE, customer, binding, customer.encode()), NOW_MS)
    for number in range(events):
        at_us = (NOW_MS + 40_000 * number) * 1000
        log.add(customer.encode(), usage(customer, f"e{number}", format_us(at_us), {"n": number + 1, "region": "eu"}), NOW_MS + 40_000 * number)
    partition = fresh(disk, rng)
    for upto in [log.end * flush // flushes for flush in range(1, flushes + 1)]:
        for batch in log.batches(partition.next_offset, rng, until=upto):
            partition.apply(batch)
        flush = partition.begin_flush()
        assert flush is not None
        for send in [*flush.first, flush.counters]:
            for key, value in state_sends([send]):
                disk.append(key, value)
        partition.end_flush(flush)
    return disk


def content(partition: MeterPartition) -> tuple[Any, ...]:
    """All of a partition's state that money depends on."""
    state = partition.state
    rows = {tuple(row.window): (row.scaled, row.events, row.first_offset, row.rev, row.emitted, row.content_hash) for row in state.rows.all()}
    identity = (state.identity.cluster_id, state.identity.last_offset, state.identity.last_digest)
    ids = {bucket: sorted(map(bytes, state.ids.in_bucket(bucket))) for bucket in state.id_counts}
    definitions = (state.definitions.meters, state.definitions.items, state.definitions.timing, state.definitions.meters_digest)
    return rows, state.counters, state.clocks, state.retired, identity, ids, definitions, state.generation, state.closed, state.digester.key
