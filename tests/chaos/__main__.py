"""Kills, freezes, cuts and full disks by seed, until so many processes were killed; every few faults all must equal an independent account.

Real processes of the product run behind a proxy on one or three real brokers, while producers of both partitioners send duplicates, late,
disordered, re-routed, aborted and bad events. The same seed is the same schedule. A run that finds a difference says seed and place, leaves its
stack up to be looked at, and exits 1; a run that ends otherwise, however it ends, leaves no process behind.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from infra.embedded import jars
from tests.chaos import summary
from tests.chaos.differing import in_words
from tests.chaos.run import Run
from tests.system.cli import ROOT

EXAMPLES = """examples:
  make chaos N=30                       a few minutes, one broker
  make chaos N=200 SEED=1 BROKERS=3     three brokers with fail-over, about twenty minutes on two cores
  make chaos N=200 JSON=chaos.json      the figures as a file, too
N counts processes that got SIGKILL or SIGTERM; freezes, cut connections and full disks come on top.
"""

GUARD = """
import sys
from pathlib import Path
from infra.embedded import stack
directory, *rest = sys.stdin.read().splitlines()
if rest != ["leave"]:
    stack.down(Path(directory))
"""


class Guard:
    """A process that takes the stack down when this one ends, however it ends, unless it is told to leave it up."""

    def __init__(self, directory: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", GUARD], stdin=subprocess.PIPE, env=environment, cwd=directory.parent, start_new_session=True, text=True
        )
        self._say(f"{directory}\n")

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def leave(self) -> None:
        """The stack stays up."""
        self._say("leave\n")
        self._process.communicate()

    def take_down(self) -> None:
        """The stack is down when this returns."""
        self._process.communicate()


def tell(line: str) -> None:
    """Shows a line at once, also into a file."""
    print(line, flush=True)


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        usage="make chaos [N=100] [SEED=1] [BROKERS=1|3] [JSON=FILE]\n       python -m tests.chaos [options]",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="processes to kill before the run ends (100)")
    parser.add_argument("--seed", type=int, default=1, help="which schedule of faults (1)")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="1, or 3 with replication 3 and two in sync (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


def ended(number: int, frame: Any) -> None:
    """SIGTERM is a Ctrl-C: everything is taken down."""
    raise KeyboardInterrupt


def main() -> int:
    """Exit code 0 where every comparison was equal, 1 where one was not, 130 where somebody ended the run."""
    given = options()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, ended)
    jars.class_path(tell)
    home = Path(tempfile.mkdtemp(prefix="tidemark-chaos-"))
    run = Run(home / "stack", given.seed, given.brokers, tell)
    run.world.directory.mkdir()
    guard = Guard(run.world.directory)
    outcome = "exact"
    try:
        tell(f"seed {given.seed}: a stack of {given.brokers} broker{'s'[: given.brokers - 1]} comes up")
        run.prepare()
        run.survive(given.kills)
    except AssertionError as error:
        outcome = in_words(error)
        guard.leave()
    except KeyboardInterrupt:
        tell("ended by hand; taking everything down")
        guard.take_down()
        shutil.rmtree(home, ignore_errors=True)
        return 130
    except BaseException:
        guard.take_down()
        raise
    found = summary.document(run, outcome)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    tell(f"\n{summary.table(found)}\n")
    if outcome != "exact":
        tell(f"seed {given.seed}, {given.brokers} broker(s): {outcome}\nthe stack is left up: tidemark status --dir {run.world.directory}")
        return 1
    guard.take_down()
    shutil.rmtree(home, ignore_errors=True)
    tell(f"seed {given.seed}: {found['kills']} kills survived, every total exact")
    return 0


if __name__ == "__main__":
    sys.exit(main())
