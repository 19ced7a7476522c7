"""The schedule of faults: a pure function of the seed that reaches every kind."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.chaos.plan import WORKERS, broker_names
from tests.chaos.schedule import KINDS, SENTENCES, WITH_FAIL_OVER, schedule


@pytest.mark.parametrize("brokers", [1, 3])
def test_the_same_seed_is_the_same_schedule(brokers: int) -> None:
    """A seed names one schedule, whatever else is random, and another seed another one."""
    first, again, other = (list(islice(schedule(seed, brokers), 200)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("brokers", [1, 3])
def test_a_short_run_sees_every_kind(brokers: int) -> None:
    """Within thirty faults every kind has come, each with a sentence and with processes that such a stack has."""
    names = {"proxy", "clickhouse", "sandbox", *broker_names(brokers), *WORKERS}
    for seed in range(20):
        faults = list(islice(schedule(seed, brokers), 30))
        wanted = {*KINDS, *(WITH_FAIL_OVER if brokers > 1 else ())}
        assert {fault.kind for fault in faults} == wanted <= set(SENTENCES)
        assert all(fault.sentence() and set(fault.names) <= names for fault in faults)


def test_workers_are_scaled_up_and_down() -> None:
    """Scaling goes from two meters to one, to three, and back to two, and nothing strikes a worker that rests."""
    running: tuple[str, ...] = ("meter-0", "meter-1", "report", "archive")
    meters = []
    for fault in islice(schedule(3, 1), 300):
        if fault.kind == "scale":
            running = fault.names
            meters.append(sum(name.startswith("meter") for name in running))
        assert set(fault.names) & set(WORKERS) <= set(running)
    assert meters[:6] == [1, 3, 2, 1, 3, 2]
