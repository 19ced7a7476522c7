"""Probing a provider that counts as down never ends before it is back: found by the simulation as billing that stood still with nothing open."""

from __future__ import annotations

import pytest

from sinks.calls import Call
from sinks.outcomes import Delivered, RetryAfter
from sinks.receipts import Deliveries
from tests.core.report_world import START_S, binding, item_of, total_of
from topics.quantity import ONE

NOW_MS = (START_S + 7200) * 1000
SAVED = RetryAfter(http_status=500, reason="saved_failure", spent=True, down=True, may_stand=True)
NO_ANSWER = RetryAfter(reason="no_answer", down=True)


def write(machine: Deliveries, now_ms: int) -> bool:
    """One transaction, committed at once; whether there was one."""
    found = machine.next_write(now_ms)
    if found is not None:
        machine.written(found, now_ms)
    return found is not None


def call(machine: Deliveries, now_ms: int) -> Call:
    """The one call that may start."""
    while write(machine, now_ms):
        pass
    (found,) = machine.next_calls(now_ms, 16)
    assert isinstance(found, Call)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_probing_goes_on_when_the_last_open_intent_fails_for_good(seed: int) -> None:
    """Every open intent may end in a saved failure while a grant for a probe finds no item free: there is a next probe all the same."""
    machine = Deliveries(0, f"account{seed}", 0)
    machine.define([binding("a", item_of("si_a", account=f"account{seed}")), binding("b", item_of("si_b", account=f"account{seed}"))], NOW_MS)
    machine.total(total_of("a", START_S, ONE, 1), 0, None, NOW_MS)
    slow = call(machine, NOW_MS)
    machine.total(total_of("b", START_S, ONE, 2), 1, None, NOW_MS)
    machine.answered(call(machine, NOW_MS), SAVED, NOW_MS)
    now_ms = NOW_MS
    for outcome in (NO_ANSWER, NO_ANSWER, NO_ANSWER, SAVED):
        machine.answered(call(machine, now_ms), outcome, now_ms)
        now_ms += 5_000 if outcome is NO_ANSWER else 0
    machine.total(total_of("a", START_S + 3600, ONE, 3), 2, None, now_ms)
    for _ in range(100):
        now_ms += 10
        write(machine, now_ms)  # the provider counts as down; a's second window finds its item busy with the first
        if machine.breaker.may_call(now_ms):
            break
    write(machine, now_ms)
    machine.answered(slow, SAVED, now_ms)
    for _ in range(400):
        now_ms += 1000
        write(machine, now_ms)
        for each in machine.next_calls(now_ms, 16):
            assert isinstance(each, Call)
            machine.answered(each, Delivered(http_status=200), now_ms)
    assert machine.tally.counts() == {"delivered": 3, "undelivered": 0, "parked": 0, "unbound": 0}
