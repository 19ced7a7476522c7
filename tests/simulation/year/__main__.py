"""`python -m tests.simulation.year`: years of many customers against the sandbox's rules; exit code 1 where one is not exact."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.year.living import Year
from tests.simulation.year.plan import Plan, groups_of, plan_of
from tests.simulation.year.verdict import judge

RATES = {"lost": 0.01, "cut": 0.005, "500": 0.005, "500_effect": 0.005, "429": 0.01, "503": 0.005, "409": 0.005, "hold": 0.005}
"""Five of a hundred calls go wrong, in every way that there is."""
DYING = 0.001


@dataclass
class Lived:
    """What groups of customers came to."""

    faults: list[str] = field(default_factory=list)
    cells: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    kills: int = 0


def main() -> int:
    """Each seed a year; what it came to, and what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.year", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--years", type=int, default=1, help="how many seeds")
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--group", type=int, default=20, help="customers that share an account and a log; groups are lived one after another")
    parser.add_argument("--only", type=int, help="only this group, as a failing one is named")
    asked = parser.parse_args()
    wrong = 0
    for seed in range(asked.seed, asked.seed + asked.years):
        plan = plan_of(seed, asked.customers, asked.days)
        groups = groups_of(plan, asked.group)
        chosen = range(len(groups)) if asked.only is None else [asked.only]
        wrong += bool(_year(seed, asked.days, {number: groups[number] for number in chosen}))
    return 1 if wrong else 0


def _year(seed: int, days: int, groups: dict[int, Plan]) -> list[str]:
    """All groups of a seed, and the sum of what they came to."""
    began_s, used_s, sums = time.perf_counter(), time.process_time(), Lived()
    for number, group in groups.items():
        before = len(sums.faults)
        _live(number, group, sums)
        done = f"seed {seed}: group {number}, {time.perf_counter() - began_s:.0f} s, {len(sums.faults) - before} faults"
        sys.stderr.write(f"{done}\n")
    customers = [each for group in groups.values() for each in group.subscribers]
    sys.stdout.write(
        f"seed {seed}: {len(customers)} customers, {days} days, {sum(len(group.used) for group in groups.values())} events, "
        f"{sums.kills} kills, {time.perf_counter() - began_s:.0f} s, {time.process_time() - used_s:.0f} s of a core\n"
        f"  cycles: {_said(f'{each.count} {each.interval}' for each in customers)}\n"
        f"  changes of plan: {_said(change.kind for each in customers for change in each.changes)}\n"
        f"  cells: {_said(sums.cells.elements())}\n  answers: {_said(sums.answers.elements())}\n  faults: {len(sums.faults)}\n"
    )
    for fault in sums.faults[:20]:
        sys.stdout.write(f"    {fault}\n")
    sys.stdout.flush()
    return sums.faults


def _said(counted: Iterable[str]) -> str:
    """How many of each, most first."""
    return ", ".join(f"{count} {word}" for word, count in Counter(counted).most_common())


def _live(number: int, plan: Plan, sums: Lived) -> None:
    """One group's year."""
    with tempfile.TemporaryDirectory() as directory:
        year = Year(plan, Path(directory), rates=RATES, dying=DYING)
        try:
            year.live()
            sums.faults += [f"group {number}: {fault}" for fault in judge(year)]
            sums.cells.update(f"{cell.state} {cell.reason}".strip() for each in year.delivering for cell in each.cells())
            sums.cells.update(f"parked {each.reason}" for delivering in year.delivering for each in delivering.parked())
            sums.answers.update({f"{kind} {status}".strip(): count for (kind, status), count in year.shop.statuses.items()})
            sums.kills += year.meter_kills + sum(each.kills for each in year.delivering)
        finally:
            year.close()


if __name__ == "__main__":
    sys.exit(main())
