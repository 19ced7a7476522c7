"""`python -m tests.fuzz --seconds 600 --seed 7`: every part in turn until the time is over, with progress; `--case part:seed` is one again."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from random import Random

from tests.fuzz.cost import print_cost
from tests.fuzz.events import Case
from tests.fuzz.parts import PARTS


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, for all parts together")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cases")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="this part alone (may be given again)")
    parser.add_argument("--case", metavar="PART:SEED", help="one case again, as a failure printed it")
    parser.add_argument("--cost", action="store_true", help="what the checksums of stored records cost, instead")
    return parser.parse_args()


def one(case: str) -> int:
    """A single case; its traceback is the answer."""
    part, _, seed = case.partition(":")
    with PARTS[part]() as run:
        print(f"{case}: {run(Random(seed))}")
    return 0


def tried(name: str, run: Case, seed: str, *, quiet: bool) -> str | None:
    """The way that a case took; None where it failed, which is said with what gives it again."""
    try:
        return run(Random(seed))
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        if not quiet:
            print(f"\n--case {name}:{seed}\n{traceback.format_exc()[-3000:]}", flush=True)
        return None


def main() -> int:
    """Exit 0 where nothing was found, 1 where something was."""
    asked = arguments()
    if asked.cost:
        return print_cost()
    if asked.case:
        return one(asked.case)
    names = asked.only or sorted(PARTS)
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    failures: Counter[str] = Counter()
    began = said = time.monotonic()
    number = 0
    with ExitStack() as stack:
        cases = {name: stack.enter_context(PARTS[name]()) for name in names}
        while time.monotonic() - began < asked.seconds:
            number += 1
            for name, run in cases.items():
                way = tried(name, run, f"{asked.seed}/{number}", quiet=failures[name] >= 5)
                failures[name] += way is None
                counts[name][way or "failed"] += 1
            if time.monotonic() - said > 20:
                said = time.monotonic()
                print(f"{said - began:5.0f} s, {number} rounds, {sum(failures.values())} failures", flush=True)
    for name in names:
        print(f"{name:12} {sum(counts[name].values()):8} cases, {failures[name]} failures · {dict(counts[name].most_common(6))}")
    print(f"{number * len(names)} cases by seed {asked.seed}, {sum(failures.values())} failures")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
