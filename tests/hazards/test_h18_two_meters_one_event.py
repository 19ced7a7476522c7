"""H18, law 7: one event selects two meters, and one of them has no value in it; it is accepted whole or rejected whole."""

from __future__ import annotations

import json
import random

from streams.conservation import postings_residual
from tests.core.meterlog import NOW_MS, Log, customers, meters_record, usage
from tests.core.naive import Naive
from tests.hazards.fold import Fold, clean, differences
from topics.instants import format_us
from topics.meters import Meter, Timing
from topics.quantity import ONE

NAMES = customers(2)
TIMING = Timing()


def _meters(rng: random.Random) -> tuple[Meter, ...]:
    """One to four meters over the same two types of event."""
    found = []
    for number in range(rng.randrange(1, 5)):
        where: dict[str, str | int | bool] = {"k": rng.randrange(2)} if rng.random() < 0.5 else {}
        value, kind = rng.choice(("count", "a", "b")), rng.choice(("use", "use", "other"))
        found.append(
            Meter(slug=f"m{number}", event_type=kind, value=value, where=where, window_s=rng.choice((60, 3600)), allow_negative=rng.random() < 0.3)
        )
    return tuple(found)


def seeded(seed: int) -> list[str]:
    """Random meter sets over events that lack fields, have bad ones or negative ones, with a crash; both conservation equations hold."""
    rng, log = random.Random(seed), Log()
    meters = _meters(rng)
    plain = [
        {"slug": m.slug, "type": m.event_type, "value": m.value, "where": m.where, "window_s": m.window_s, "allow_negative": m.allow_negative}
        for m in meters
    ]
    naive = Naive(plain, dedup_ms=TIMING.dedup_ms, horizon_ms=TIMING.horizon_ms, future_ms=TIMING.future_ms, at_home=set(NAMES))
    log.add(*meters_record(meters, TIMING), NOW_MS)
    for number in range(50):
        name, stamp = rng.choice(NAMES), NOW_MS + number * 1000
        data = {field: rng.choice((0, 3, -2, "1.5", True, "x")) for field in ("a", "b") if rng.random() < 0.7} | {"k": rng.randrange(2)}
        time = format_us((stamp - rng.randrange(9_000)) * 1000)
        value = usage(name, f"e{rng.randrange(40)}", time, data, rng.choice(("use", "use", "other", "none")))
        log.add(name.encode(), value, stamp)
    for record in log.records:
        naive.take(record)
    life = Fold(log, rng)
    life.apply(rng.randrange(1, log.end))
    life.flush(groups=rng.choice((1, 2, 3)))
    life.restart()
    life.finish()
    said = {offset: verdict for offset, verdict in naive.verdicts.items() if verdict not in ("counted", "control")}
    faults = differences("verdict of offset", life.verdicts(), said)
    rows = {(r.window.customer, r.window.meter, r.window.start_s): (r.scaled, r.events) for r in life.partition.state.rows.all()}
    faults += differences("row", rows, {key: (int(total * ONE), naive.events[key]) for key, total in naive.sums.items()})
    residuals = life.partition.counters.residual, postings_residual(life.partition.state)
    marks = [json.loads(send.value or b"") for send in life.written if send.key is None and b'"mark"' in (send.value or b"")]
    shown = marks[-1]["counters"]["counted"]
    return faults if residuals == (0, 0) and shown == life.partition.counters.counted else [*faults, f"residuals {residuals}, {shown} counted"]


def test_h18_an_event_is_accepted_whole_or_rejected_whole() -> None:
    """Whatever the meters, an event that one of them cannot read counts in none of them, is visible as rejected, and both sums add up."""
    assert not clean(seeded, 60)
