"""`make bench`: Tidemark's meter and five others on one real Kafka in one run, and the goals of issue "Speed and scale" with their results.

Broker on the first core, contestant on the last, one after the other over the same log; each sum is checked. Rates are events by committed
offsets between 15 % and 100 % of the log. infra/docs/benchmarks.md says what is fair, what is skipped and why.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.contest import Contest, contend, say
from tests.benchmarks.contestants import EVERYBODY, METER, QUICK, Contestant
from tests.benchmarks.goals import PARTS, Figure, beside, missed, parts, table
from tests.benchmarks.history import EVENTS_LONG, history
from tests.benchmarks.profiling import profile
from tests.benchmarks.shapes import SHAPES

GOAL_SHAPES = ("base", "million", "million-at-once")
"""What the goals are measured on."""
EVENTS = 4_000_000
"""Below it a JVM is still warming up, and commits each half second blur the rate."""


@dataclass(frozen=True)
class Order:
    """What is to be run, from the command line."""

    shapes: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    events: int
    is_long: bool
    has_parts: bool

    @property
    def scale(self) -> float:
        """The share of the full size at which everything is run."""
        return min(1.0, self.events / EVENTS)


def parse(words: Sequence[str]) -> tuple[argparse.Namespace, Order]:
    """The command line; without words it is the whole table of goals."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS, help=f"events of each shape (default {EVENTS:,}); all else is scaled with it")
    parser.add_argument("--shape", action="append", choices=sorted(SHAPES), help="only this shape, again for more; no other part of the table")
    parser.add_argument("--shapes", choices=("goals", "all"), default="goals", help="all: the others too, a quarter of an hour longer")
    parser.add_argument("--only", help="contestants by key, with commas: " + ",".join(one.key for one in EVERYBODY))
    parser.add_argument("--long", action="store_true", help=f"with --shape: also the run of {EVENTS_LONG:,} events")
    parser.add_argument("--no-parts", action="store_true", help="leave out the parts with modules of their own: " + ", ".join(PARTS))
    parser.add_argument("--profile", action="store_true", help="only run the meter under a sampling profiler, and say where its time goes")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--compare", type=Path, help="say how this run's ratios stand to those in a file of an earlier --json")
    found = parser.parse_args(words)
    shapes = tuple(found.shape or (SHAPES if found.shapes == "all" else GOAL_SHAPES))
    wanted = set((found.only or ",".join(one.key for one in EVERYBODY)).split(","))
    if unknown := wanted - {one.key for one in EVERYBODY}:
        parser.error(f"no such contestant: {', '.join(sorted(unknown))}")
    who = tuple(one for one in EVERYBODY if one.key in wanted)
    is_table = not found.shape and not found.only
    return found, Order(shapes, who, found.events, is_table or found.long, is_table and not found.no_parts)


def main() -> int:
    """Run, print, write; 1 where a contestant's sum was wrong or the meter failed."""
    arguments, order = parse(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as name:
        if arguments.profile:
            for shape in arguments.shape or ["base"]:
                profile(_room(name, f"profile-{shape}"), SHAPES[shape], order.events)
            return 0
        contests = {shape: contest(order, shape, _room(name, shape)) for shape in order.shapes}
        found = report.figures(contests)
        if order.is_long:
            found += history(_room(name, "history"), round(EVENTS_LONG * order.scale))
        if order.has_parts:
            found += run_parts(Path(name), order.scale)
    written = report.document(machine(order), contests, found)
    tell(contests, found, order)
    if arguments.compare:
        for line in report.compare(written, json.loads(arguments.compare.read_text())):
            print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps(written, indent=1) + "\n")
    return 1 if any(each.is_wrong for each in contests.values()) else 0


def contest(order: Order, shape: str, room: Path) -> Contest:
    """One shape: everybody on the base shape, the quick ones on others."""
    who = order.contestants if shape == "base" else tuple(one for one in order.contestants if one in QUICK)
    return contend(room, SHAPES[shape], order.events, who or (METER,), order.scale)


def run_parts(name: Path, scale: float) -> list[Figure]:
    """The parts of the table that have modules of their own; one that fails is said and does not take the others with it."""
    found: list[Figure] = []
    for part in parts():
        say(f"part {part} …")
        try:
            found += importlib.import_module(part).figures(_room(str(name), part), scale, say)
        except Exception as error:  # noqa: BLE001 what a part may raise is its own; the rest of the table is still worth printing
            say(f"part {part} failed: {type(error).__name__}: {error}")
    return found


def _room(home: str, name: str) -> Path:
    """An empty directory."""
    room = Path(home) / name
    room.mkdir()
    return room


def machine(order: Order) -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "events": order.events,
    }


def tell(contests: dict[str, Contest], found: list[Figure], order: Order) -> None:
    """Ratios, then the goals."""
    print()
    for each in contests.values():
        print("\n".join(report.ratio_lines(each)))
    print("\nGoals" + (f" (at {order.scale:.0%} of the full size: no figures to go by)" if order.scale < 1 else ""))
    print("\n".join([*table(found), *beside(found)]))
    if short := missed(found):
        print(f"not reached: {', '.join(short)}. Where the meter's time goes: make bench ARGS=--profile")
    print(", ".join(f"{name} {value}" for name, value in machine(order).items()))


if __name__ == "__main__":
    sys.exit(main())
