"""The invoice gate: what is held, for how long, and what is never touched."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from sinks.gate import LONGEST_HOLD_S, Draft, Gate, Stand, decide, is_ready
from topics.receipt import CellState

STANDS = [Stand(state, current, read_back) for state in get_args(CellState) for current in (True, False) for read_back in (True, False)]
MOMENTS = (0, 3600, LONGEST_HOLD_S - 1, LONGEST_HOLD_S, LONGEST_HOLD_S * 10)
READY = Stand("confirmed", True, True)


@pytest.mark.parametrize("gate", get_args(Gate))
def test_nothing_of_others_is_touched(gate: Gate) -> None:
    """A draft without cells of ours, and one that somebody else holds, is left as it is, whatever the gate says."""
    for now_s, auto in product(MOMENTS, (True, False)):
        assert decide(gate, Draft(0, auto, held_by_us=False), [], now_s) == "leave"
    for now_s, stand in product(MOMENTS, STANDS):
        assert decide(gate, Draft(0, auto_advance=False, held_by_us=False), [stand], now_s) == "leave"


def test_a_draft_is_held_only_while_something_is_missing() -> None:
    """With the gate on `hold` a draft is held exactly while a cell is not ready and 72 hours have not passed; with another gate never."""
    for gate, now_s, stand in product(get_args(Gate), MOMENTS, STANDS):
        wanted = gate == "hold" and not is_ready(stand) and now_s < LONGEST_HOLD_S
        assert (decide(gate, Draft(0, True, False), [READY, stand], now_s) == "hold") is wanted


def test_every_hold_ends() -> None:
    """What we hold is released as soon as all is ready, when the gate is taken away, and after 72 hours at the latest, then with an alarm."""
    for gate, now_s, stand in product(get_args(Gate), MOMENTS, STANDS):
        action = decide(gate, Draft(0, False, True), [READY, stand], now_s)
        if gate != "hold" or is_ready(stand):
            assert action == "release"
        else:
            assert action == ("release_with_alarm" if now_s >= LONGEST_HOLD_S else "leave")


def test_what_is_ready_lacks_nothing() -> None:
    """A cell is ready when its newest totals are confirmed, delivered where that is definite, or an adjustment; in no other state."""
    ready = {(stand.state, stand.is_read_back) for stand in STANDS if is_ready(stand)}
    assert ready == {("confirmed", True), ("confirmed", False), ("adjustment", True), ("adjustment", False), ("delivered", False)}
    assert not any(is_ready(stand) for stand in STANDS if not stand.is_current)
