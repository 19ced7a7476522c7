"""Law 0 and 10 while the timings themselves change in the log: what was final stays final, and no grid begins where an event was counted."""

from __future__ import annotations

import random

import pytest

from tests.core.meterlog import NOW_MS, Disk, Log, customers, fresh, meters_record, usage
from topics.instants import format_us
from topics.meters import Meter, Timing, meters_digest

HOUR_MS = 3_600_000
METER = Meter(slug="calls", event_type="api.request", window_s=60)
CUSTOMER = customers(1)[0]


@pytest.mark.parametrize("seed", range(40))
def test_a_window_that_was_final_is_never_begun_again(seed: int) -> None:
    """Horizons, futures and dedups go up and down in the log, clocks jump: every verdict is that of the greatest of each so far (H12, H13)."""
    rng, log = random.Random(seed), Log()
    timing = Timing(horizon_ms=6 * HOUR_MS, dedup_ms=3 * HOUR_MS)
    log.add(*meters_record((METER,), timing), NOW_MS)
    now_ms = NOW_MS
    final_ms, dead = NOW_MS - timing.horizon_ms, (NOW_MS - timing.dedup_ms) // HOUR_MS
    seen: dict[str, int] = {}
    wanted: dict[int, str] = {}
    for _ in range(200):
        now_ms += rng.choice((0, 1000, 60_000, HOUR_MS))
        final_ms, dead = max(final_ms, now_ms - timing.horizon_ms), max(dead, (now_ms - timing.dedup_ms) // HOUR_MS)
        if rng.random() < 0.1:
            new = Timing(
                horizon_ms=rng.choice((1, 6, 48)) * HOUR_MS, dedup_ms=rng.choice((1, 3, 30)) * HOUR_MS, future_ms=rng.choice((1000, 300_000, HOUR_MS))
            )
            replaced, timing = meters_digest(timing, (METER,)), new
            wanted[log.add(*meters_record((METER,), new, replaced), now_ms)] = "control"
        else:
            at_ms, name = now_ms - rng.randrange(-2 * HOUR_MS, 60 * HOUR_MS) // rng.choice((1, 10, 100)), f"i{rng.randrange(60)}"
            offset = log.add(CUSTOMER.encode(), usage(CUSTOMER, name, format_us(at_ms * 1000)), now_ms)
            if at_ms > now_ms + timing.future_ms:
                wanted[offset] = "future"
            elif at_ms < final_ms:
                wanted[offset] = "too_late"
            elif seen.get(name, -1) >= dead:
                wanted[offset] = "duplicate"
            else:
                wanted[offset], seen[name] = "counted", now_ms // HOUR_MS
        final_ms, dead = max(final_ms, now_ms - timing.horizon_ms), max(dead, (now_ms - timing.dedup_ms) // HOUR_MS)
    partition, disk = fresh(Disk(), rng), Disk()
    said: dict[int, str] = {}
    for batch in log.batches(0, rng):
        partition.apply(batch)
        said |= {verdict.offset: verdict.reason or verdict.verdict for _, verdict in partition.state.facts.verdicts}
        flush = partition.begin_flush()
        assert flush is not None
        for send in [*flush.first, flush.counters, *flush.last]:
            if send.topic == "usage.state":
                disk.append(send.key, send.value)
        partition.end_flush(flush)
        for row in partition.state.rows.all():
            row.emitted = row.rev
        if rng.random() < 0.2:
            partition = fresh(disk, rng)
    assert said == {offset: verdict for offset, verdict in wanted.items() if verdict not in ("counted", "control")}
    assert partition.counters.counted == list(wanted.values()).count("counted")


def test_a_grid_does_not_begin_before_events_that_an_older_future_took() -> None:
    """An event from the future is counted, the future is shortened, the grid changes: it begins after that event (law 8)."""
    far, near = Timing(future_ms=2 * HOUR_MS), Timing(future_ms=1000)
    old, new = METER, Meter(slug="calls", event_type="api.request", window_s=90)
    log = Log()
    log.add(*meters_record((old,), far), NOW_MS)
    ahead_s = NOW_MS // 1000 + 7000
    log.add(CUSTOMER.encode(), usage(CUSTOMER, "ahead", format_us(ahead_s * 10**6)), NOW_MS)
    log.add(*meters_record((old,), near, meters_digest(far, (old,))), NOW_MS + 1)
    log.add(*meters_record((new,), near, meters_digest(near, (old,))), NOW_MS + 2)
    log.add(CUSTOMER.encode(), usage(CUSTOMER, "again", format_us(ahead_s * 10**6)), NOW_MS + 2 * HOUR_MS)
    partition = fresh(Disk(), random.Random(1))
    for batch in log.batches(0, random.Random(1)):
        partition.apply(batch)
    assert partition.state.definitions.meters["calls"][-1].valid_from_s > ahead_s
    (row,) = partition.state.rows.all()
    assert (row.events, row.window.start_s, row.window.end_s) == (2, ahead_s // 60 * 60, ahead_s // 60 * 60 + 60)
