"""H4, law 0: an event ahead of the log is refused, and a replay minutes later must refuse it too."""

from __future__ import annotations

import random

from tests.core.meterlog import NOW_MS, Log, customers, meters_record, usage
from tests.hazards import wall
from tests.hazards.fold import Fold, clean, differences
from topics.instants import format_us
from topics.meters import Meter, Timing

NAMES = customers(2)


def seeded(seed: int) -> list[str]:
    """Some events are 5 to 11 minutes ahead of the log; the flush that refuses them dies, and the next worker begins six minutes later."""
    rng, log = random.Random(seed), Log()
    log.add(*meters_record((Meter(slug="calls", event_type="api.request", window_s=60),), Timing()), NOW_MS)
    future: set[int] = set()
    for number in range(40):
        stamp = NOW_MS + number * 2_000
        ahead = rng.random() < 0.3
        occurred = stamp + (rng.randrange(300_001, 660_000) if ahead else rng.randrange(-60_000, 300_000))
        name = rng.choice(NAMES)
        offset = log.add(name.encode(), usage(name, f"e{number}", format_us(occurred * 1000)), stamp)
        future |= {offset} if ahead else set()
    wall.here = wall.Worker(now_ms=NOW_MS)
    life = Fold(log, rng)
    life.apply(rng.choice((rng.randrange(2, log.end), log.end)))
    life.flush(groups=rng.choice((1, 2)))
    wall.here = wall.Worker(now_ms=NOW_MS + 80_000 + 360_000)
    life.restart()
    life.finish(wall.here.now_ms + 86_400_000)
    faults = differences("verdict of offset", life.verdicts(), dict.fromkeys(future, "future"))
    faults += differences("rejected", {"offsets": life.rejected()}, {"offsets": future})
    if life.marked() != log.end:
        faults.append(f"the archive is told of marks up to {life.marked()} of {log.end}")
    counted = sum(total.events for total in life.totals().values())
    return [*faults, *life.faults, *([] if counted == log.end - 1 - len(future) else [f"{counted} events in totals, {len(future)} refused"])]


def test_h04_what_is_refused_once_is_refused_for_ever() -> None:
    """An event that one pass refused as `future` is in the rejected topic and in no total, whatever the clock says at the replay."""
    assert not clean(seeded, 40)
