"""`python -m tests.simulation`: thousands of seeded disasters against the product's own code, or one of them told step by step.

    python -m tests.simulation --seeds 10000            every seed from 0 on, on all cores; exit code 1 where one is not exact
    python -m tests.simulation --seed 168               one seed, made as small as it can be and told
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from tests.simulation.plan import plan_of
from tests.simulation.running import Sums, chunk_of, history
from tests.simulation.story import smallest, told

CHUNK: Final = 25
"""Seeds that a process takes at once: a few seconds."""
SAY_EVERY_S: Final = 10.0


def chunks(first: int, count: int) -> Iterator[range]:
    """All seeds, in pieces."""
    for at in range(first, first + count, CHUNK):
        yield range(at, min(at + CHUNK, first + count))


def run_many(first: int, count: int, jobs: int) -> Sums:
    """Every seed, with a line of progress now and then."""
    sums, started_s = Sums(), time.monotonic()
    said_s = started_s
    # Ctrl-C is the parent's: it ends the others when it leaves this block.
    with multiprocessing.get_context("spawn").Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        for part in pool.imap_unordered(chunk_of, chunks(first, count)):
            sums.add(part)
            for seed, faults in part.faults.items():
                print(f"seed {seed}: {faults[0]}", flush=True)
            now_s = time.monotonic()
            if now_s - said_s >= SAY_EVERY_S:
                said_s = now_s
                left_s = (now_s - started_s) / sums.seeds * (count - sums.seeds)
                print(f"{sums.seeds} of {count} seeds, {len(sums.faults)} with faults, about {left_s:.0f} s left", file=sys.stderr, flush=True)
    return sums


def summary(sums: Sums, elapsed_s: float) -> dict[str, Any]:
    """What a run came to, for people and scripts."""
    return {
        "seeds": sums.seeds,
        "seeds_with_faults": len(sums.faults),
        "elapsed_s": round(elapsed_s, 1),
        "steps": sums.steps,
        "window_revisions": sums.windows,
        "process_ends": sums.kills,
        "disasters": dict(sums.deeds.most_common()),
        "faults": {str(seed): faults for seed, faults in sorted(sums.faults.items())},
    }


def one(seed: int) -> int:
    """One seed, told."""
    result = history(plan_of(seed))
    if result.faults:
        print(told(result), "\n\nmaking it smaller:", flush=True)
        result = smallest(result, print)
    print(told(result))
    return 1 if result.faults else 0


def main() -> int:
    """0: every total was exact; 1: not, with the seeds; 130: stopped by Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="tell this one")
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    options = parser.parse_args()
    if options.seed is not None:
        return one(options.seed)
    started_s = time.monotonic()
    try:
        sums = run_many(options.first, options.seeds, options.jobs)
    except KeyboardInterrupt:
        print("stopped before its end; nothing is left behind", file=sys.stderr)
        return 130
    found = summary(sums, time.monotonic() - started_s)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for name, value in found.items():
            print(f"{name:>18}: {value}")
        print("every total of every seed is exact" if not sums.faults else "tell one with --seed")
    return 1 if sums.faults else 0


if __name__ == "__main__":
    sys.exit(main())
