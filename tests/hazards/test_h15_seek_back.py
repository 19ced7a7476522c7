"""H15, law 2: an eager rebalance returns the same partition, and its position falls back without a restart."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from streams import step as step_module
from tests.core.meterlog import batch_of, usage
from tests.core.test_fold import HOME, account_of, build_log
from tests.hazards.fold import Fold, clean, differences
from topics.errors import CorruptState
from topics.quantity import ONE


def seeded(seed: int) -> list[str]:
    """Delivery goes back by up to 80 records at any time, in cuts of its own; the account is as if it never had."""
    rng = random.Random(seed)
    log = build_log(seed, 90)
    life = Fold(log, rng)
    while life.partition.next_offset < log.end:
        life.apply(life.partition.next_offset + rng.choice((1, 7, 30)), back=rng.choice((0, 1, 5, 80)))
        died = rng.random() < 0.15
        life.flush(groups=rng.randrange(4) if died else 3)
        if died:
            life.restart()
    life.flush()
    naive = account_of(log)
    said = {offset: verdict for offset, verdict in naive.verdicts.items() if verdict not in ("counted", "control")}
    rows = {(r.window.customer, r.window.meter, r.window.start_s): (r.scaled, r.events) for r in life.partition.state.rows.all()}
    faults = differences("row", rows, {key: (int(total * ONE), naive.events[key]) for key, total in naive.sums.items()})
    counters = life.partition.counters
    exact = {"counted": list(naive.verdicts.values()).count("counted"), "next_offset": log.end, "residual": 0}
    faults += differences("number", {name: getattr(counters, name) for name in exact}, exact)
    faults += differences("verdict of offset", life.verdicts(), said) + life.faults
    return faults + _known(life) + _torn(life)


def _known(life: Fold) -> list[str]:
    """What came again did not move the record by which the log is known (law 3)."""
    last = life.log.records[-1]
    life.partition.apply(batch_of(life.log.records[:7], 0, life.log.records[6].offset + 1))
    if life.partition.identity_offset != last.offset:
        return [f"the log is known by offset {life.partition.identity_offset}, the last one folded is {last.offset}"]
    life.partition.check_identity(cluster_id="test", begin=0, end=life.log.end, record=(last.key, last.value, last.timestamp_ms))
    return []


def _torn(life: Fold) -> list[str]:
    """A delivery that leaves records out, and a batch that is folded by half, stop the worker: neither becomes durable."""
    faults, at = [], life.log.end
    life.log.add(HOME[0].encode(), usage(HOME[0], "after a gap", None), life.partition.log_now_ms)
    more = life.log.add(HOME[0].encode(), usage(HOME[0], "beyond it", None), life.partition.log_now_ms)
    try:
        life.partition.apply(batch_of(life.log.records[-1:], more, more + 1))
        faults.append(f"delivery left offset {at} out, and nobody says so")
    except CorruptState:
        life.restart()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_module, "_add", lambda *_: 1 / 0)
        with suppress(ZeroDivisionError):
            life.apply()
    with suppress(CorruptState):
        life.flush()
        faults.append("a batch that was folded by half became durable")
    return faults


def test_h15_records_that_come_again_change_nothing() -> None:
    """A position that falls back to anywhere, without a restart, counts nothing a second time and judges nothing anew."""
    assert not clean(seeded, 40)
