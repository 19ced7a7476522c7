"""`python -m tests.drift`: seeded books, honest and with drift of eleven kinds planted in them; exit code 1 where one is not found or not repaired.

    python -m tests.drift --seeds 100            each seed honest and planted
    python -m tests.drift --seed 7               only this one, and what was planted in it
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.embedded.testing import engine_server
from infra.reconciling.drift import KINDS
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import TABLES
from tests.contract.archive_engine import archive_at
from tests.drift.trial import Trial, honest, planted

SEEDS_A_LINE = 10
"""After so many a line says how far the run is: two minutes."""


def main() -> int:
    """Each seed; what it came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--json", action="store_true", help="the sum as JSON")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds) if asked.seed is None else [asked.seed]
    began_s = time.perf_counter()
    trials: list[Trial] = []
    with archives() as engine:
        for seed in seeds:
            both = {kind.__name__: engine.run(kind, seed) for kind in (honest, planted)}
            trials += both.values()
            if not (seed - asked.first + 1) % SEEDS_A_LINE:
                sys.stderr.write(f"{seed - asked.first + 1} of {len(seeds)} seeds, {time.perf_counter() - began_s:.0f} s\n")
            sys.stderr.write("".join(f"seed {seed} ({name}): {fault}\n" for name, trial in both.items() for fault in trial.faults))
            if asked.seed is not None:
                sys.stderr.write("".join(f"  planted {tuple(each)}\n" for each in both["planted"].planted))
    said = _sum(trials, time.perf_counter() - began_s)
    sys.stdout.write(json.dumps(said) + "\n" if asked.json else _text(said))
    return 1 if said["faults"] else 0


class Engine:
    """One ClickHouse engine and database, empty for each trial."""

    def __init__(self, url: str, directory: Path) -> None:
        self._clickhouse = archive_at(url, "drift")
        self._directory = directory

    def run(self, kind: Callable[[int, Path, ClickHouse], Trial], seed: int) -> Trial:
        """One trial."""
        for table in TABLES:
            self._clickhouse.command(f"TRUNCATE TABLE {table.name}")
        return kind(seed, self._directory / f"{kind.__name__}-{seed}", self._clickhouse)


@contextmanager
def archives() -> Iterator[Engine]:
    """An engine for many trials."""
    with tempfile.TemporaryDirectory() as directory, engine_server(Path(directory) / "engine") as server:
        yield Engine(server.url, Path(directory))


def _sum(trials: list[Trial], took_s: float) -> dict[str, object]:
    kinds = Counter(each.kind for trial in trials for each in trial.planted)
    return {
        "seeds": len({trial.seed for trial in trials}),
        "planted": {kind: kinds[kind] for kind in KINDS},
        "rounds": dict(sorted(Counter(trial.rounds for trial in trials if trial.planted).items())),
        "steps": sum(trial.steps for trial in trials),
        "deaths": sum(trial.deaths for trial in trials),
        "settled": sum(trial.settled for trial in trials),
        "faults": sum(len(trial.faults) for trial in trials),
        "seconds": round(took_s),
    }


def _text(said: dict[str, object]) -> str:
    planted_kinds = said["planted"]
    assert isinstance(planted_kinds, dict)
    kinds = ", ".join(f"{count} {kind}" for kind, count in planted_kinds.items())
    return (
        f"{said['seeds']} seeds, each honest and planted, {said['seconds']} s: {said['faults']} faults\n"
        f"  planted: {kinds}\n"
        f"  repairs: {said['steps']} steps, killed {said['deaths']} times on the way; rounds until nothing was left: {said['rounds']}; "
        f"{said['settled']} adjustments settled by hand\n"
    )


if __name__ == "__main__":
    sys.exit(main())
