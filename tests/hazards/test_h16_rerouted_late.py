"""H16, law 1: an event without `time` waits for hours on the wrong partition before it is sent to its home."""

from __future__ import annotations

import random

from tests.core.meterlog import NOW_MS, PARTITIONS, Log, customers, meters_record, usage
from tests.hazards.fold import Fold, clean, differences
from tests.oracle.hashes import java_partition
from topics.batch import Headers
from topics.catalog import EVENTS
from topics.instants import format_us
from topics.meters import Meter, Timing

HOUR_MS = 3_600_000
NAMES = customers(4)
Arrival = tuple[int, bytes, bytes, Headers]
METERS = (
    Meter(slug="calls", event_type="api.request", window_s=60),
    Meter(slug="bytes", event_type="api.request", value="n", where={"big": True}, window_s=3600),
)


def _log() -> Log:
    log = Log()
    log.add(*meters_record(METERS, Timing()), NOW_MS)
    return log


def _home(records: list[Arrival], rng: random.Random) -> Fold:
    """The home partition over records (arrival, key, value, headers)."""
    log = _log()
    for stamp, key, value, headers in sorted(records, key=lambda record: record[0]):
        log.add(key, value, stamp, tuple(headers))
    life = Fold(log, rng)
    life.finish()
    return life


def seeded(seed: int) -> list[str]:
    """Half of the events go to partition 1 and come home up to four hours later, in any order, some twice; the other life gets them at once."""
    rng, wrong = random.Random(seed), _log()
    direct, at_home = list[Arrival](), list[Arrival]()
    for number in range(40):
        name, stamp = rng.choice(NAMES), NOW_MS + number * 97_000
        time = None if rng.random() < 0.6 else format_us((stamp - rng.randrange(HOUR_MS)) * 1000)
        value = usage(name, f"e{number}", time, {"n": number, "big": rng.random() < 0.5})
        direct.append((stamp, name.encode(), value, ()))
        if rng.random() < 0.5:
            at_home.append(direct[-1])
        else:
            wrong.add(name.encode(), value, stamp, rng.choice(((), (("trace", b"x"),))))
    away = Fold(wrong, rng, partition=1)
    away.apply(rng.randrange(1, wrong.end + 1))
    away.flush(groups=rng.choice((1, 3)))
    away.restart()
    away.finish()
    sends = [send for send in away.written if send.topic == EVENTS]
    homes = {send.key: java_partition(send.key or b"", PARTITIONS) for send in sends}
    faults = [f"{send.key!r} is sent to {send.partition}, home is {homes[send.key]}" for send in sends if send.partition != homes[send.key]]
    moved: list[Arrival] = [(NOW_MS + HOUR_MS + rng.randrange(3 * HOUR_MS), send.key or b"", send.value or b"", send.headers) for send in sends]
    found, wanted = _home([*at_home, *moved], rng), _home(direct, rng)
    here, there = found.totals(), wanted.totals()
    faults += differences(
        "window", {key: (t.quantity, t.events, t.hash) for key, t in here.items()}, {key: (t.quantity, t.events, t.hash) for key, t in there.items()}
    )
    rerouted = away.partition.counters.rerouted
    return faults if rerouted == wrong.end - 1 else [*faults, f"{rerouted} of {wrong.end - 1} events rerouted"]


def test_h16_a_rerouted_event_lands_where_it_would_have() -> None:
    """Sent home after any delay, in any order or twice, an event lies in the very window that producing it there would have chosen."""
    assert not clean(seeded, 40)
