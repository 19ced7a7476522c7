"""`tidemark.amend` that cannot be meant, lies in the wrong place, or comes when its window is final: refused, and nothing changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.control import binding_event, clock_event
from tests.core.amend_world import FIRST, HOUR, LATER_MS, NOW_S, Bench, correct_data, entry, void_data, voided
from tests.core.meterlog import NOW_MS, customers
from topics.amendments import NO_ROW
from topics.bindings import Item
from topics.clocks import ClockRecord
from topics.meters import Timing


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"reason": "  "}, "reason is empty"),
        ({"who": ""}, "who is empty"),
        ({"reason": "x" * 1001}, "at most 1000"),
        ({"kind": "undo"}, "cannot be used"),
        ({"v": 2}, "record version 2 is unknown"),
        ({"postings": []}, "posts to no window"),
        ({"postings": [entry(HOUR, NOW_S + 60, "-7"), entry(HOUR, NOW_S + 60, "-7")]}, "twice to one meter"),
        ({"postings": [entry(HOUR, NOW_S + 3660, "-7")]}, "lies outside of its window"),
        ({"postings": [{**entry(HOUR, NOW_S + 60, "-7"), "end": "2026-11-21"}]}, "is no window"),
        ({"postings": [{**entry(HOUR, NOW_S + 60, "-7"), "end": "2026-11-21T00:30:00Z"}]}, "holds nothing that was counted"),
        ({"postings": [entry(HOUR, NOW_S + 60, "seven")]}, "cannot be posted"),
        ({"postings": [entry(HOUR, NOW_S + 60, "0.0000000000001")]}, "cannot be posted"),
        ({"postings": [entry(HOUR, NOW_S + 60, "-8")]}, "takes no negative quantities"),
        ({"postings": [entry(HOUR, NOW_S + 60, "-7", (0, 1))]}, "names no revision"),
        ({"postings": [{**entry(HOUR, NOW_S + 60, "-7"), "meter": "nobody"}]}, "no meter that was in force"),
        ({"of": None}, "names an event"),
        ({"kind": "correct"}, "names no event"),
        ({"kind": "accept"}, "posts to no window"),
        ({"of": {"source": "gw", "id": "e1", "partition": 1, "generation": 0, "offset": 1}}, "lies on partition 1"),
        ({"of": {"source": "gw", "id": "e1", "partition": 0, "generation": 0, "offset": 0}}, "holds no event of offset 0"),
        ({"of": {"source": "gw", "id": "e1", "partition": 0, "generation": 0, "offset": 2}}, "holds no event of offset 2"),
        ({"of": {"source": "gw", "id": "e1", "partition": 0, "generation": 1, "offset": 1}}, "holds no event of offset 1"),
        ({"of": {"source": "gw", "id": "e1", "partition": 0, "generation": 0, "offset": -1}}, "holds no event of offset -1"),
        ({"of": {"source": "gw", "id": "e1", "partition": 0, "generation": -1, "offset": 1 << 64}}, "holds no event of offset"),
        ({"replaces": "somebody"}, "it replaces amendment somebody, but none is in force"),
    ],
)  # fmt: skip
def test_an_amendment_that_cannot_be_meant_is_refused(change: dict[str, Any], sentence: str) -> None:
    """It is `bad_control` with a sentence that says why, counts nothing, and the window stays as it was."""
    bench = Bench()
    offset = bench.event(7)
    bench.amend({**void_data(offset, [entry(HOUR, NOW_S + 60, "-7")]), **change})
    bench.fold(save=False)
    (said,) = bench.refusals()
    assert sentence in said
    assert bench.total() == (7, 1)
    assert (bench.partition.counters.rejected, bench.partition.counters.postings) == (1, 2)


@pytest.mark.parametrize("fault", ["key", "home", "customer", "time"])
def test_an_amendment_in_the_wrong_place_is_refused(fault: str) -> None:
    """Under another key, away from its customer's home, of another customer's window, or without a time, it changes nothing."""
    bench = Bench()
    offset = bench.event(7)
    data = voided(offset, 7)
    away = customers(1, partition=1)[0]
    if fault == "time":
        value = json.loads(_amend_value(bench, data))
        del value["time"]
        bench.log.add(FIRST.encode(), json.dumps(value).encode(), LATER_MS)
    else:
        bench.amend(data, customer={"home": away, "customer": customers(3)[2]}.get(fault, FIRST), key=b"other" if fault == "key" else None)
    bench.fold(save=False)
    assert len(bench.refusals()) == 1
    assert bench.total() == (7, 1)


def _amend_value(bench: Bench, data: dict[str, Any]) -> bytes:
    bench.amend(data)
    bench.log.end -= 1
    return bench.log.records.pop().value or b""


def test_a_final_window_is_never_amended() -> None:
    """Once no event can change a window no amendment can, whether its row was let go yet or not: the same log gives the same answer."""
    answers = []
    for emitted in (False, True):
        bench = Bench(Timing(horizon_ms=7_200_000))
        offset = bench.event(7, NOW_S + 60)
        bench.fold()
        if emitted:
            for _ in range(3):
                bench.partition.tick(NOW_MS + 86_400_000, bench.partition.durable_offset)
            bench.partition.end_emission(bench.partition.due(NOW_MS + 86_400_000))
        bench.event(1, NOW_S + 4 * 3600, at_ms=NOW_MS + 4 * 3_600_000)
        bench.fold()
        assert (bench.partition.state.retired.rows > 0) == emitted
        bench.amend(void_data(offset, [entry(HOUR, NOW_S + 60, "-7")]), at_ms=NOW_MS + 4 * 3_600_000)
        bench.fold(save=False)
        answers += bench.refusals()
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert "is final: nothing of it changes any more" in answers[0]


def test_no_window_is_begun_where_no_event_could_be() -> None:
    """A correction of a window in the future is refused: a meter or binding that comes meanwhile would cut it."""
    bench, seconds = Bench(), 7200
    bench.event(1)
    bench.amend(correct_data([entry(HOUR, NOW_S + seconds, "30", (NO_ROW, NO_ROW))]), NOW_S + seconds)
    bench.fold(save=False)
    assert ["lies in the future" in said for said in bench.refusals()] == [True]
    bench.event(1, at_ms=NOW_MS + seconds * 1000)
    bench.amend(correct_data([entry(HOUR, NOW_S + seconds, "30", (NO_ROW, NO_ROW))]), NOW_S + seconds, at_ms=NOW_MS + seconds * 1000)
    bench.fold(save=False)
    assert bench.total(at_s=NOW_S + seconds) == (30, 1)


def test_a_window_that_was_let_go_before_its_customer_had_a_clock_is_not_begun_again() -> None:
    """A test clock may be long before the log's now; what was final when it first spoke stays final, also for corrections."""
    bench = Bench(Timing(horizon_ms=7_200_000))
    items = (Item(meter="calls", item="si_1", period_anchor_s=NOW_S - 86_400, clock="clock_1"),)
    bound = binding_event(FIRST, items, None)
    bench.log.add(bound.key, bound.value, LATER_MS)
    bench.event(7)
    bench.fold()
    bench.emit(NOW_MS + 86_400_000)
    bench.event(1, NOW_S + 3 * 86_400, at_ms=NOW_MS + 3 * 86_400_000)
    bench.fold()
    assert bench.partition.state.retired.rows > 0
    said = clock_event(FIRST, ClockRecord(clock="clock_1", now_s=NOW_S + 1800))
    bench.log.add(said.key, said.value, NOW_MS + 3 * 86_400_000)
    bench.amend(correct_data([entry(HOUR, NOW_S + 60, "30", (NO_ROW, NO_ROW))]), at_ms=NOW_MS + 3 * 86_400_000)
    bench.fold(save=False)
    assert ["is final" in one for one in bench.refusals()] == [True]
