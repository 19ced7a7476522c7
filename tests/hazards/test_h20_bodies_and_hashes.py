"""H20, law 2: hash and first offset stand in the same record as the sum; what is emitted again after a crash is the same to the byte."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime
from fractions import Fraction
from typing import Any

from tests.core.test_fold import account_of, build_log
from tests.hazards.fold import Fold, clean, differences, small_segments
from tests.oracle.hashes import posting_digest, window_hash
from topics.event import Event, parse_event
from topics.meters import COUNT


def _recounted(life: Fold) -> dict[str, tuple[str, int]]:
    """Hash and first offset of each window, from the log's counted events by the oracle's own hash."""
    naive = account_of(life.log)
    sums: dict[str, int] = defaultdict(int)
    first: dict[str, int] = {}
    for record in life.log.records:
        event = parse_event(record.value)
        if naive.verdicts[record.offset] != "counted" or not isinstance(event, Event):
            continue
        at_us = _occurred_us(event, record.headers, record.timestamp_ms)
        for meter in naive.meters:
            data: Any = event.data
            if meter["type"] != event.type or any(data.get(name) != wanted for name, wanted in meter.get("where", {}).items()):
                continue
            quantity = Fraction(1) if meter["value"] == COUNT else Fraction(str(data[meter["value"]]))
            start_s = at_us // 1_000_000 // meter["window_s"] * meter["window_s"]
            key = f"{event.subject}|{meter['slug']}|{start_s}|{start_s + meter['window_s']}"
            sums[key] += posting_digest(event.subject, meter["slug"], event.source, event.id, at_us, quantity)
            first.setdefault(key, record.offset)
    return {key: (window_hash(total), first[key]) for key, total in sums.items()}


def _occurred_us(event: Event, headers: Any, timestamp_ms: int) -> int:
    if event.time is None:
        return 1000 * next((int(data) for name, data in headers if name == "tidemark-received-at"), timestamp_ms)
    return round(datetime.fromisoformat(event.time.upper()).timestamp() * 1000) * 1000


def seeded(seed: int) -> list[str]:
    """Emissions and crashes at every turn, every emission repeated by the successor; the last hashes are a recount's."""
    rng = random.Random(seed)
    log = build_log(500 + seed, 90)
    with small_segments():
        life = Fold(log, rng)
        while life.partition.next_offset < log.end:
            life.apply(life.partition.next_offset + rng.choice((1, 6, 30)))
            groups, noted = rng.choice((1, 2, 3, 3)), rng.random() < 0.5
            life.flush(groups=groups)
            life.emit(life.partition.log_now_ms + 86_400_000, noted=noted)
            if groups < 3 or not noted or rng.random() < 0.2:
                life.restart()
        life.finish()
    totals = life.totals()
    firsts = {
        f"{r.window.customer}|{r.window.meter}|{r.window.start_s}|{r.window.end_s}": r.first_offset for r in life.partition.state.rows.all()
    }
    recounted = _recounted(life)
    faults = differences("hash of", {key: total.hash for key, total in totals.items()}, {key: found for key, (found, _) in recounted.items()})
    live = {key: offset for key, (_, offset) in recounted.items() if key in firsts}
    return faults + differences("first offset of", firsts, live) + life.faults


def test_h20_what_is_emitted_again_is_the_same_and_its_hash_is_a_recount() -> None:
    """After any crash a revision's body is what it was, byte for byte, and its hash is that of the events that a recount finds."""
    assert not clean(seeded, 30)
