"""The backlog: how much is due, when it is delivered at the rate that is used, what would come too late, and what people are told of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.cli.start import show_windows, span
from infra.status import backlog
from sinks.backlog import LATELY_S, Backlog, Lately, Way, added_up, final_of, missed, shown
from sinks.calls import Call
from sinks.cell_state import CellState
from sinks.cells import Place
from sinks.outcomes import Delivered
from tests.core.report_rush import Allowance, Rush
from tests.core.report_world import START_S
from topics.receipt import MeterTarget

WAY = Way("stripe", "default", "usage_records", 100.0, None)


@given(st.lists(st.tuples(st.integers(-50, 200), st.integers(1, 40)), max_size=12), st.integers(1, 20))
def test_what_comes_too_late_is_what_a_queue_would_deliver_too_late(groups: list[tuple[int, int]], rate: int) -> None:
    """Cell by cell: one is called each 1/rate seconds, those that are final first go first, and what is final by then takes no turn."""
    finals: dict[int, int] = {}
    for final_s, cells in groups:
        finals[final_s] = finals.get(final_s, 0) + cells
    turns, late = 0, list[int]()
    for final_s in sorted(finals):
        for _ in range(finals[final_s]):
            if turns + 1 <= final_s * rate:
                turns += 1
            else:
                late.append(final_s)
    assert missed(finals, 0.0, float(rate)) == (len(late), min(late, default=None))


def cell_at(number: int, **more: Any) -> CellState:
    """Some cell."""
    return CellState(Place("stripe", "default", f"si_{number}|1", "acme", "calls", f"si_{number}", "sub_1", 1, 0, 60 * number, "1", **more))


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.one_of(st.none(), st.integers(0, 99))), max_size=60))
def test_the_backlog_is_what_a_recount_says(changes: list[tuple[int, bool, int | None]]) -> None:
    """Whatever changes in whatever order: cells by finality and the oldest closing time are those of the cells that wait now."""
    found, cells, waiting = Backlog(), [cell_at(number) for number in range(8)], dict[int, CellState]()
    for number, waits, closed_at_ms in changes:
        cell = cells[number]
        if closed_at_ms is not None:
            cell.closed_at_ms = max(closed_at_ms, cell.closed_at_ms or 0)
        found.note(cell, waits=waits)
        waiting.pop(number, None)
        if waits:
            waiting[number] = cell
        assert len(found) == len(waiting)
        assert found.oldest_ms() == min((at.closed_at_ms for at in waiting.values() if at.closed_at_ms is not None), default=None)
        assert found.finals().get("usage_records", {}) == {60 * number: 1 for number in waiting}


def test_when_a_cell_is_final() -> None:
    """Usage records at the end of the period, meter events an hour after it; of a customer on a test clock nobody knows in our time."""
    target = MeterTarget(event_name="calls", customer="cus_1", aggregation="hour")
    assert final_of(cell_at(5).place) == 300
    assert final_of(cell_at(5, target=target).place) == 300 + 3600
    assert final_of(cell_at(5, clock="clock_1").place) is None
    found = Backlog()
    found.note(cell_at(5, clock="clock_1"), waits=True)
    assert found.finals() == {} and found.undated() == {"usage_records": 1}


def test_the_rate_of_late_leaves_out_what_lasts_and_what_was_quiet() -> None:
    """Whole seconds with calls count, the second that lasts and seconds without calls do not, and what is long ago is forgotten."""
    lately = Lately()
    assert lately.per_second(0) is None
    for at_ms in (0, 100, 200, 5_000):
        lately.called(at_ms)
    assert lately.per_second(900) is None
    assert lately.per_second(5_500) == 3.0
    assert lately.per_second(6_000) == 2.0
    assert lately.per_second(5_000 + LATELY_S * 1000 + 999) == 1.0
    assert lately.per_second(6_000 + LATELY_S * 1000) is None


def test_the_eta_is_by_the_rate_that_is_used() -> None:
    """A provider that answers slowly makes less of the limit, so it takes longer; while it is down nobody knows."""
    assert shown(WAY, {9_000: 500}, 0, 0, is_down=False)["eta_s"] == 5.0
    assert shown(WAY._replace(used=50.0), {9_000: 500}, 20, 0, is_down=False)["eta_s"] == 10.4
    assert shown(WAY, {9_000: 500}, 0, 0, is_down=True)["eta_s"] is None


def test_two_workers_backlogs_are_one() -> None:
    """Cells, limits and what is missed add up; it takes as long as the worker that is done last; the first finality is the nearer one."""
    one = shown(WAY._replace(allowed=50.0, used=40.0), {60: 4_000}, 0, 0, is_down=False)
    two = shown(WAY._replace(allowed=50.0), {120: 100, 600: 50}, 0, 0, is_down=False)
    three = shown(Way("stripe", "default", "meters", 20.0, None), {60: 10}, 0, 0, is_down=False)
    said = backlog([{"kind": "report", "backlog": added_up([one], 3)}, {"kind": "report", "backlog": added_up([two, three], 4)}, {"kind": "meter"}])
    assert (said["cells"], said["unread"], said["eta_s"], said["missed"]) == (4_160, 7, 100.0, 1_600)
    assert said["first_missed_at"] == "1970-01-01T00:01:00Z"
    meters, records = said["by"]
    assert (meters["mode"], meters["cells"], meters["used_per_s"]) == ("meters", 10, None)
    assert (records["cells"], records["allowed_per_s"], records["used_per_s"], records["eta_s"]) == (4_150, 100.0, 40.0, 100.0)
    assert backlog([]) == {"cells": 0, "unread": 0, "eta_s": 0.0, "missed": 0, "first_missed_at": None, "by": []}


def test_the_machine_keeps_its_backlog() -> None:
    """Cells are in it from their total to the receipt of their answer, and no longer."""
    rush = Rush(5, 1_000, Allowance(1e9))
    rush.bind(100)
    for customer in range(100):
        rush.due(customer, START_S - 3600)
    machine, left = rush.machine, random.Random(5).randrange(1, 99)
    assert len(machine.tally.backlog) == 100
    write = machine.next_write(rush.now_ms)
    assert write is not None
    machine.written(write, rush.now_ms)
    for call in machine.next_calls(rush.now_ms, 100 - left):
        assert isinstance(call, Call)
        machine.answered(call, Delivered(200, "req"), rush.now_ms)
    assert len(machine.tally.backlog) == 100
    write = machine.next_write(rush.now_ms)
    assert write is not None
    machine.written(write, rush.now_ms)
    assert len(machine.tally.backlog) == left == machine.tally.counts()["undelivered"]


def test_people_are_told_what_waits_and_what_would_be_late(capsys: pytest.CaptureFixture[str]) -> None:
    """`tidemark status` says how many cells wait for how long, and warns of those that would come too late, with the first finality."""
    line = shown(WAY._replace(used=80.0), {3_600: 400_000}, 0, 0, is_down=False)
    status = {"windows": {"undelivered": 400_000}, "settled": False, "backlog": added_up([line], 12), "adjustments": 0}
    show_windows(status | {"gate": None})
    said = " ".join(capsys.readouterr().out.split())
    assert "backlog: 400,000 cells due at stripe default, usage_records: delivered in 1 h 23 min; 100 calls a second allowed, 80 made of late" in said
    assert "112,000 cells would come too late at this rate; the first are final at 1970-01-01T01:00:00Z" in said
    assert "12 totals that the report has not read yet" in said
    assert [span(seconds) for seconds in (0, 0.4, 61, 3_600, 90_061)] == ["0 s", "0 s", "1 min 1 s", "1 h", "1 d 1 h"]
