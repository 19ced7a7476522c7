"""H30, law 12: a subscription begins in the very second of the usage; windows before the period; windows that share a second."""

from __future__ import annotations

import random
from collections import Counter

from tests.core.report_world import START_S, World, binding, item_of, total_of
from tests.hazards.fold import clean, differences
from topics.quantity import ONE
from topics.window_total import WindowTotal


def _totals(rng: random.Random, starts_s: list[int], size_s: int, names: tuple[str, ...], first: int = 0) -> list[WindowTotal]:
    found = []
    for number in range(first, first + 14):
        scaled = rng.randrange(30) * ONE + rng.choice((0, 0, 0, 0, ONE // 4)) - rng.choice((0, 0, 0, 0, 40 * ONE))
        found.append(total_of(rng.choice(names), rng.choice(starts_s), scaled, number, size_s=size_s))
    return found


def seeded(seed: int) -> list[str]:
    """Short windows around the start of two customers' billing, and a third customer on the item of the first by mistake."""
    rng = random.Random(seed)
    world, size_s = World(seed), rng.choice((1, 10, 60))
    anchors = {name: START_S - rng.choice((0, 1, 5, 60)) for name in ("acme", "zen")}
    items = {name: item_of(f"si_{name}", period_anchor_s=anchor) for name, anchor in anchors.items()}
    for name, item in items.items():
        world.definitions.append(binding(name, item))
    world.definitions.append(binding("thief", items["acme"]))
    last = START_S - 120 + (120 // size_s + 2) * size_s
    starts = [*(last - number * size_s for number in range(6)), anchors["acme"], anchors["acme"] + 1]
    world.source = _totals(rng, starts, size_s, ("acme", "zen"))
    world.settle()
    world.source += _totals(rng, starts, size_s, ("acme", "zen", "thief"), first=100)
    world.settle()
    return _against_model(world, anchors)


def _against_model(world: World, anchors: dict[str, int]) -> list[str]:
    """Cells by hand: the newest total of each window, summed by second, none at or before the period's start, none rounded."""
    newest: dict[tuple[str, int], WindowTotal] = {}
    owners: dict[tuple[str, int], str] = {}
    for total in world.source:
        name, start_s = total.customer, total.window.start_s
        whose = "acme" if name == "thief" else name
        if total.window.end_s > anchors[whose]:
            owners.setdefault((f"si_{whose}", max(start_s, anchors[whose] + 1)), name)  # who comes first has the cell; the other is parked
        if (name, start_s) not in newest or total.revision > newest[name, start_s].revision:
            newest[name, start_s] = total
    sums: dict[tuple[str, int], int] = {}
    windows: Counter[tuple[str, int]] = Counter()
    for (name, start_s), total in newest.items():
        whose = "acme" if name == "thief" else name
        cell = (f"si_{whose}", max(start_s, anchors[whose] + 1))
        if total.window.end_s > anchors[whose] and owners[cell] == name:
            sums[cell] = sums.get(cell, 0) + total.scaled
            windows[cell] += 1
    whole = {cell: scaled // ONE for cell, scaled in sums.items() if scaled % ONE == 0 and scaled > 0}
    unsendable = {cell for cell, scaled in sums.items() if scaled % ONE or scaled < 0}
    standing = {cell: units for cell, units in world.standing().items() if cell not in unsendable}
    early = [cell for cell in world.stripe.cells if cell[1] <= anchors[cell[0].removeprefix("si_")]]
    faults = differences("cell", standing, whole) + [f"{cell} lies at or before the start of its period" for cell in early]
    parked = len(newest) - windows.total() + sum(windows[cell] for cell in unsendable)
    assert world.worker is not None
    counts = world.worker.machine.tally.counts()
    faults += differences("windows that are", counts, counts | {"parked": parked, "undelivered": 0})
    return faults + world.stripe.errors[:1]


def test_h30_cells_that_share_a_second_hold_the_sum() -> None:
    """Around the second in which billing begins, each cell holds the sum of its windows, no earlier second is used, nothing is rounded."""
    assert not clean(seeded, 60)
