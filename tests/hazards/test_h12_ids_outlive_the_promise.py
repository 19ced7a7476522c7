"""H12, law 6: an id is forgotten while its window still takes late events; copies come from two hours before to two hours after `dedup`."""

from __future__ import annotations

import random
from collections import Counter

from tests.core.meterlog import NOW_MS, Log, customers, meters_record, usage
from tests.hazards import wall
from tests.hazards.fold import Fold, clean, small_segments
from topics.instants import format_us
from topics.meters import Meter, Timing

HOUR_MS = 3_600_000
NAMES = customers(3)
WINDOWS_S = (10, 60, 900, 3600, 86_400)


def _story(rng: random.Random, dedup_ms: int) -> tuple[Log, Counter[str], Counter[str]]:
    """A log of originals and copies; per id how often it must and how often it may be counted at most."""
    log, last_counted_ms = Log(), dict[str, int]()
    must, most = Counter[str](), Counter[str]()
    meter = Meter(slug="calls", event_type="api.request", window_s=rng.choice(WINDOWS_S))
    log.add(*meters_record((meter,), Timing(dedup_ms=dedup_ms, horizon_ms=90 * 24 * HOUR_MS)), NOW_MS)
    now_ms, ids = NOW_MS, [f"id{number}" for number in range(8)]
    for number in range(60):
        at = rng.randrange(len(ids))
        name = ids[at]
        now_ms += rng.choice((1, 40_000, 20 * 60_000, HOUR_MS - 1))
        if rng.random() < 0.5:
            now_ms = max(now_ms, last_counted_ms.get(name, 0) + dedup_ms + rng.randrange(-2 * HOUR_MS, 2 * HOUR_MS))
        first_ms = last_counted_ms.get(name)
        # Inside the promise a copy is a duplicate; an hour beyond it an id is forgotten; between the two either is right.
        if first_ms is None or now_ms - first_ms >= dedup_ms + HOUR_MS:
            must[name] += 1
            most[name] += 1
            last_counted_ms[name] = now_ms
        elif now_ms - first_ms > dedup_ms:
            most[name] += 1
            ids[at] = f"more{number}"  # what would follow of this id hangs on which it was
        log.add(NAMES[0].encode(), usage(NAMES[0], name, format_us((now_ms - 5_000) * 1000)), now_ms)
        wall.here.now_ms = now_ms
    return log, must, most


def seeded(seed: int) -> list[str]:
    """Copies of a few ids at all distances around `dedup`, with crashes between; every counted event is found by a recount of the rows."""
    rng = random.Random(seed)
    log, must, most = _story(rng, rng.choice((1_000, 30 * 60_000, 2 * HOUR_MS, 24 * HOUR_MS)))
    wall.here = wall.Worker(now_ms=NOW_MS + rng.choice((0, 0, 400)) * HOUR_MS)
    with small_segments():
        life = Fold(log, rng)
        while life.partition.next_offset < log.end:
            life.apply(life.partition.next_offset + rng.choice((1, 3, 9)))
            life.flush(groups=rng.choice((0, 1, 2, 3, 3, 3)))
            if rng.random() < 0.4:
                life.disk.compact(rng)
            life.restart()
        life.finish()
    events = sum(total.events for total in life.totals().values())
    counters = life.partition.counters
    faults = list(life.faults)
    if not sum(must.values()) <= counters.counted <= sum(most.values()):
        faults.append(f"{counters.counted} events counted, the promise is {sum(must.values())} to {sum(most.values())}")
    if events != counters.counted or counters.counted + counters.duplicate != log.end - 1:
        faults.append(f"{events} events in totals, {counters.counted} counted, {counters.duplicate} duplicates of {log.end - 1}")
    return faults


def test_h12_copies_within_dedup_count_once() -> None:
    """Copies within `dedup` count once whatever the grid and the crashes; an hour beyond it they count again, and totals hold what was counted."""
    assert not clean(seeded, 60)
