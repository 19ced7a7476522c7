"""H2, law 0: rows are flushed, offsets are not, the worker is killed; its successor has another clock and another configuration."""

from __future__ import annotations

import random

from tests.core.meterlog import NOW_MS, Log
from tests.core.test_fold import account_of, build_log
from tests.hazards import wall
from tests.hazards.fold import Fold, clean, differences
from topics.errors import Halt
from topics.verdict import Counters

CUTS = 8
"""Places of the log at which one seed is cut; over the seeds that is every place of many logs."""
HOUR_MS = 3_600_000


def _lived(log: Log, seed: int, cut: int | None) -> Fold:
    """A life of the log: whole, or killed at `cut` in any part of a flush and gone on with by another machine."""
    rng = random.Random(seed)
    wall.here = wall.Worker(now_ms=NOW_MS)
    life = Fold(log, rng)
    if cut is not None:
        life.apply(rng.randrange(cut + 1))
        life.flush()
        life.apply(cut)
        life.emit(life.partition.log_now_ms)
        life.flush(groups=rng.randrange(4))
        now_ms = NOW_MS + rng.choice((-40, -1, 1, 6, 31 * 24)) * HOUR_MS
        wall.here = wall.Worker(now_ms=now_ms, window_s=rng.choice((60, 86_400)), horizon_ms=rng.choice((1, 9**9)) * HOUR_MS)
        life.restart()
    life.finish()
    return life


def _unready(log: Log, seed: int) -> list[str]:
    """A log that does not begin with its meters is judged by nobody's defaults."""
    headless = Log()
    headless.records = [record._replace(offset=record.offset - 1) for record in log.records[1:]]
    headless.end = log.end - 1
    try:
        Fold(headless, random.Random(seed)).apply(20)
    except Halt:
        return []
    return ["events before the first meters record were judged"]


def seeded(seed: int) -> list[str]:
    """Every cut of a hostile log must end with the verdicts and totals of the uncut one, and those are the naive account's."""
    log = build_log(seed, 80)
    faults = _unready(log, seed)
    whole = _lived(log, seed, None)
    naive = account_of(log)
    said = {offset: verdict for offset, verdict in naive.verdicts.items() if verdict not in ("counted", "control")}
    faults += differences("verdict of offset", whole.verdicts(), said)
    for cut in random.Random(seed).sample(range(1, log.end), CUTS):
        life = _lived(log, seed, cut)
        faults += differences(f"cut at {cut}: verdict of offset", life.verdicts(), said)
        faults += differences(f"cut at {cut}: total", life.totals(), whole.totals())
        counted = Counters.__struct_fields__
        here, there = life.partition.counters, whole.partition.counters
        faults += [f"cut at {cut}: {name} is {getattr(here, name)}" for name in counted if getattr(here, name) != getattr(there, name)]
        faults += life.faults
    return faults


def test_h02_a_restart_with_another_clock_and_configuration_changes_nothing() -> None:
    """Cut anywhere, in any part of a flush, and gone on with under another wall clock and configuration, verdicts and totals are the same."""
    assert not clean(seeded, 12)
