"""`python -m tests.simulation.year`: years of many customers against the sandbox's rules; exit code 1 where one is not exact."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.simulation.year.living import Year
from tests.simulation.year.plan import plan_of
from tests.simulation.year.verdict import judge

RATES = {"lost": 0.01, "cut": 0.005, "500": 0.005, "500_effect": 0.005, "429": 0.01, "503": 0.005, "409": 0.005, "hold": 0.005}
"""Five of a hundred calls go wrong, in every way that there is."""
DYING = 0.001


def main() -> int:
    """Each seed a year; what it came to, and what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.year", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--years", type=int, default=1, help="how many seeds")
    parser.add_argument("--customers", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    asked = parser.parse_args()
    wrong = 0
    for seed in range(asked.seed, asked.seed + asked.years):
        wrong += bool(_lived(seed, asked.customers, asked.days))
    return 1 if wrong else 0


def _lived(seed: int, customers: int, days: int) -> list[str]:
    began_s = time.perf_counter()
    plan = plan_of(seed, customers, days)
    with tempfile.TemporaryDirectory() as directory:
        year = Year(plan, Path(directory), rates=RATES, dying=DYING)
        try:
            year.live()
            faults = judge(year)
            states = Counter(f"{cell.state} {cell.reason}".strip() for each in year.delivering for cell in each.cells())
            kills = year.meter_kills + sum(each.kills for each in year.delivering)
        finally:
            year.close()
    heard = Counter({f"{kind} {status}".strip(): count for (kind, status), count in year.shop.statuses.items()})
    sys.stdout.write(
        f"seed {seed}: {customers} customers, {days} days, {len(plan.used)} events, {kills} kills, {time.perf_counter() - began_s:.1f} s\n"
        f"  cells: {dict(states)}\n  answers: {dict(heard)}\n  faults: {len(faults)}\n"
    )
    for fault in faults[:20]:
        sys.stdout.write(f"    {fault}\n")
    return faults


if __name__ == "__main__":
    sys.exit(main())
