"""H3, laws 0 and 10: a worker was down longer than the horizon; what waited in the log was on time when it came, and counts."""

from __future__ import annotations

import random

from tests.core.meterlog import NOW_MS, Log, customers, meters_record, usage
from tests.hazards import wall
from tests.hazards.fold import Fold, clean, differences
from topics.instants import format_us
from topics.meters import Meter, Timing

HOUR_MS = 3_600_000
NAMES = customers(3)


def seeded(seed: int) -> list[str]:
    """Events of three hours, each up to 50 minutes old when it came, under a horizon of one hour; the wall clock of each worker days later."""
    rng, log, wanted = random.Random(seed), Log(), 0
    log.add(*meters_record((Meter(slug="calls", event_type="api.request", window_s=600),), Timing(horizon_ms=HOUR_MS)), NOW_MS)
    for number in range(60):
        stamp = NOW_MS + number * 3 * HOUR_MS // 60
        late = rng.random() < 0.1
        occurred = stamp - (HOUR_MS + rng.randrange(1, HOUR_MS) if late else rng.randrange(50 * 60_000))
        wanted += not late
        name = rng.choice(NAMES)
        log.add(name.encode(), usage(name, f"e{number}", format_us(occurred * 1000)), stamp)
    wall.here = wall.Worker(now_ms=NOW_MS)
    life = Fold(log, rng)
    life.apply(rng.randrange(1, log.end))
    life.flush(groups=rng.choice((1, 3)))
    wall.here = wall.Worker(now_ms=NOW_MS + rng.choice((2, 5, 900)) * HOUR_MS)
    life.restart()
    life.finish(wall.here.now_ms + 86_400_000)
    counted = {"counted": life.partition.counters.counted, "events": sum(total.events for total in life.totals().values())}
    return [*differences("number", counted, {"counted": wanted, "events": wanted}), *life.faults]


def test_h03_a_backlog_older_than_the_horizon_counts() -> None:
    """However long the worker was down, an event is too late by the log's now and by no clock."""
    assert not clean(seeded, 40)
