"""`tidemark.amend` that cannot be meant, lies in the wrong place, or comes when its window is final: refused, and nothing changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.amend_world import FIRST, HOUR, LATER_MS, NOW_S, Bench, entry, void_data, voided
from tests.core.meterlog import NOW_MS, customers
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
