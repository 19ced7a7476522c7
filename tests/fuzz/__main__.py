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
    spent_s = dict.fromkeys(names, 0.0)
    began = said = time.monotonic()
    with ExitStack() as stack:
        cases = {name: stack.enter_context(PARTS[name]()) for name in names}
        while (now := time.monotonic()) - began < asked.seconds:
            # Every part gets the same time: one that waits for a socket must not hold up one that does thousands a second.
            name = min(names, key=lambda each: spent_s[each])
            way = tried(name, cases[name], f"{asked.seed}/{counts[name].total()}", quiet=failures[name] >= 5)
            failures[name] += way is None
            counts[name][way or "failed"] += 1
            spent_s[name] += time.monotonic() - now
            if now - said > 20:
                said = now
                done = sum(found.total() for found in counts.values())
                print(f"{said - began:5.0f} s, {done} cases, {sum(failures.values())} failures", flush=True)
    for name in names:
        print(f"{name:12} {sum(counts[name].values()):8} cases, {failures[name]} failures · {dict(counts[name].most_common(6))}")
    done = sum(found.total() for found in counts.values())
    print(f"{done} cases by seed {asked.seed} in {time.process_time():.0f} s of CPU, {sum(failures.values())} failures")
    return int(failures.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
