"""H13, law 10: the horizon is raised, or one clock is 36 days ahead; a window that was let go must never begin anew."""

from __future__ import annotations

import random

from tests.core.meterlog import NOW_MS, Log, customers, meters_record, usage
from tests.hazards.fold import Fold, clean, small_segments
from topics.instants import format_us
from topics.meters import Meter, Timing, meters_digest

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NAMES = customers(3)
METER = Meter(slug="calls", event_type="api.request", window_s=3600)


def _story(rng: random.Random) -> tuple[Log, set[int]]:
    """Usage of a few days while the horizon changes and a broker's clock jumps ahead and comes back; and the offsets of stale changes."""
    log, held, now_ms, stale = Log(), Timing(horizon_ms=6 * HOUR_MS, revision_delay_ms=0), NOW_MS, set[int]()
    log.add(*meters_record((METER,), held), now_ms)
    for number in range(90):
        now_ms += rng.choice((1, 600_000, HOUR_MS, 3 * HOUR_MS))
        if rng.random() < 0.06:
            timing = Timing(horizon_ms=rng.choice((HOUR_MS, 6 * HOUR_MS, 4 * DAY_MS, 60 * DAY_MS)), revision_delay_ms=0)
            if rng.random() < 0.3 and timing != held:
                stale.add(log.add(*meters_record((METER,), timing, "another"), now_ms))
                continue
            log.add(*meters_record((METER,), timing, meters_digest(held, (METER,))), now_ms)
            held = timing
            continue
        name = rng.choice(NAMES)
        stamp = now_ms + (36 * DAY_MS if rng.random() < 0.02 else 0)
        occurred = now_ms - rng.choice((0, 0, HOUR_MS, 5 * HOUR_MS, 7 * HOUR_MS, 30 * HOUR_MS, 5 * DAY_MS))
        log.add(name.encode(), usage(name, f"e{number}", format_us(occurred * 1000)), stamp)
    return log, stale


def seeded(seed: int) -> list[str]:
    """Emission, retiring and crashes all the way; of each window a higher revision never has fewer events."""
    rng = random.Random(seed)
    (log, stale), floor = _story(rng), -(1 << 62)
    faults: list[str] = []
    with small_segments():
        life = Fold(log, rng)
        while life.partition.next_offset < log.end:
            life.apply(life.partition.next_offset + rng.choice((1, 4, 12)))
            if life.partition.state.clocks.final_until_us < floor:
                faults.append(f"what was final until {floor} is final only until {life.partition.state.clocks.final_until_us}")
            life.emit(life.partition.log_now_ms + DAY_MS)
            died = rng.random() < 0.25
            life.flush(groups=rng.randrange(4) if died else 3)
            if died:
                life.restart()
            else:
                floor = max(floor, life.partition.state.clocks.final_until_us)
        life.finish()
    events = sum(total.events for total in life.totals().values())
    if events != life.partition.counters.counted:
        faults.append(f"the newest revisions hold {events} events, {life.partition.counters.counted} were counted")
    said = life.verdicts()
    faults += [f"a change that replaces what is not in force is {said.get(offset)}" for offset in stale if said.get(offset) != "bad_control"]
    return faults + life.shrunk() + life.faults


def test_h13_no_revision_has_fewer_events_than_the_one_before() -> None:
    """However the horizon and the log's clock jump, what is final stays final and every revision of a window only adds events."""
    assert not clean(seeded, 40)
