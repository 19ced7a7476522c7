"""100,000 due cells at a provider that allows 100 calls a second: the rate is used and kept, the nearest finality goes first, a call stays cheap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sinks import lanes, schedule
from sinks.cell_state import CellState
from sinks.cells import Place
from tests.core.report_rush import Allowance, Rush
from tests.core.report_world import START_S

RATE = 100
HOUR_S = 3600


def ahead(rush: Rush, until_ms: int) -> int:
    """By how many turns the most impatient of the cells that were due from the beginning went before its own."""
    calls = [(priority[0], at_ms) for at_ms, priority, cell in rush.called if rush.known_at_ms[cell] == START_S * 1000 and at_ms < until_ms]
    ranks: dict[int, int] = {}
    for rank, end_s in enumerate(sorted(end_s for end_s, _ in calls)):
        ranks.setdefault(end_s, rank)
    return max(ranks[end_s] - turn for turn, (end_s, _) in enumerate(calls))


def test_a_hundred_thousand_cells_go_out_at_the_rate_that_is_allowed() -> None:
    """No 429, at least 95 % of what is allowed, all delivered once in about 1,000 s, the nearest finality first, also those that come later."""
    rush = Rush(1, RATE, Allowance(RATE))
    rush.bind(20_000)
    for number in range(100_000):
        rush.due(number % 19_990, START_S - HOUR_S * (1 + number // 19_990))
    late: list[str] = []

    def comes() -> None:
        customer = 19_990 + len(late)
        late.append(f"si_{customer}|{START_S - HOUR_S}")
        rush.due(customer, START_S - HOUR_S)

    for number in range(10):
        rush.at(60_000 * (1 + number), comes)
    begun_ms = rush.now_ms
    rush.run()
    took_s = (rush.now_ms - begun_ms) / 1000
    assert rush.allowance.refused == 0
    assert Counter(cell for _, _, cell in rush.called) == dict.fromkeys(rush.known_at_ms, 1)
    assert rush.machine.tally.counts()["delivered"] == 100_010 and rush.machine.committable == 100_010
    assert 100_010 / took_s >= 0.95 * RATE, f"took {took_s:.0f} s"
    assert ahead(rush, begun_ms + 1_000_000) <= 400, "a lane's calls come one by one, and a partition has 128 intents open: four seconds' calls"
    ends = sorted(priority[0] for _, priority, _ in rush.called)
    for cell in late:
        at_ms, end_s = next((at_ms, priority[0]) for at_ms, priority, called in rush.called if called == cell)
        turn_ms = begun_ms + 1000 * ends.index(end_s) // RATE
        assert at_ms <= max(rush.known_at_ms[cell] + 3_000, turn_ms + 10_000), "it overtakes what is final later"
    assert rush.writes < 100_010, "intents and answers share transactions"


def test_a_day_of_windows_on_few_items_waits_for_no_item() -> None:
    """After a day without a worker each item has 24 windows due: so many items are called at once that the answers' time is not the limit."""
    rush = Rush(2, RATE, Allowance(RATE))
    rush.bind(200)
    for number in range(200 * 24):
        rush.due(number // 24, START_S - HOUR_S * (1 + number % 24))
    begun_ms = rush.now_ms
    rush.run()
    used = sum(at_ms < begun_ms + 40_000 for at_ms, _, _ in rush.called) / 40
    assert used >= 0.95 * RATE and rush.allowance.refused == 0


@pytest.mark.parametrize("cells", [1_000, 8_000])
def test_a_call_costs_the_same_whatever_waits(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps in the queues of lanes and timers are counted: no more than two dozen for a delivered cell, with a thousand waiting or eight thousand."""
    steps = Counter[str]()

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any) -> Any:
            steps[name] += 1
            return call(*args)

        return counting

    for module in (lanes, schedule):
        for name in ("heappush", "heappop"):
            monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    for name in ("_holds", "_settled"):
        monkeypatch.setattr(lanes.Lanes, name, counted(name, getattr(lanes.Lanes, name)))
    rush = Rush(3, 1_000, Allowance(1e9))
    rush.bind(cells // 4)
    for number in range(cells):
        rush.due(number // 4, START_S - HOUR_S * (1 + number % 4))
    rush.run()
    assert len(rush.called) == cells
    assert sum(steps.values()) <= 24 * cells, steps


def test_a_lane_has_its_turn_by_its_first_cell_as_it_is() -> None:
    """A cell that was first leaves no claim behind by which the next cell of its item, final much later, would go before another item's."""
    queue = lanes.Lanes()
    near, far, other = cell_of("si_a", 1, 1), cell_of("si_a", 9, 2), cell_of("si_b", 5, 3)
    queue.push_ready(near)
    queue.open(near)
    queue.close(near)  # its item is queued once more
    queue.push_ready(far)
    queue.push_ready(other)
    assert [queue.pop_ready(), queue.pop_ready(), queue.pop_ready()] == [near, other, far]


def test_a_partition_whose_open_intents_can_wait_makes_room_for_a_cell_that_cannot() -> None:
    """All intents that may be open are of far finality, and a near one becomes due: the partition asks with the near one's finality, so that its
    turn comes before other partitions' calls, one of its calls is made, and the room that it leaves is the near one's."""
    queue = lanes.Lanes()
    for number in range(lanes.OPEN_IN_MODE):
        far = cell_of(f"si_{number}", 900 + number, number)
        queue.push_ready(far)
        assert queue.pop_ready() is far
        queue.open(far)
        queue.push_call(far)
    near = cell_of("si_near", 5, 1)
    assert queue.nearest() == (900, 0, "si_0|0")
    queue.push_ready(near)
    assert queue.pop_ready() is None, "the limit holds"
    assert queue.nearest() == near.priority
    assert queue.nearest(frozenset({near.place.mode})) is None
    called = queue.pop_call()
    assert called is not None
    queue.close(called)
    queue.call_done(called.place.lane)
    assert queue.pop_ready() is near
    assert queue.nearest() == (901, 1, "si_1|1"), "what has its room asks for nothing"


def cell_of(item: str, end_s: int, second: int) -> CellState:
    """A cell of an item."""
    return CellState(Place("stripe", "default", f"{item}|{second}", "acme", "calls", item, "sub_1", second, 0, end_s, "1"))
