"""Kills, freezes and bursts by seed until so many faults were survived; every few faults all that is shown must equal the oracle's account.

A run that finds a difference leaves its stack up and says where, so that it can be looked at.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random

from infra.embedded import stack
from tests.system.comparing import assert_all_agree
from tests.system.conftest import ANCHORED, LOOKED_UP, NAMED, pids_of, take_down
from tests.system.test_exactness import FAULTS, burst, frozen
from tests.system.world import World

METERS = ("api_calls", "eu_calls", "tokens", "storage", "credits", "pings")
COMPARE_EVERY = 4
"""Faults between two comparisons: often enough to find the fault to blame, seldom enough that faults meet each other's recovery."""


def prepared(world: World) -> None:
    """The stack with three customers who are billed, and a provider that fails in every way."""
    world.up()
    since_s = int(time.time()) - 7200
    for customer, kind in ((NAMED, "named"), (ANCHORED, "anchored"), (LOOKED_UP, "looked_up")):
        world.bind(customer, METERS, since_s, kind=kind)
    world.apply()
    world.provider.control("faults", {"seed": world.seed, "rates": FAULTS, "only": "usage_records"})


def fault(world: World, chance: Random) -> str:
    """Does one thing to the running stack; what it was."""
    names = [each.name for each in world.state.processes]
    draw = chance.random()
    if draw < 0.6:
        killed = chance.sample(names, chance.choice((1, 1, 2, 3)))
        world.kill(*killed)
        return f"killed {', '.join(killed)}"
    if draw < 0.95:
        running = [each.name for each in world.state.processes if each.pid is not None]
        name, seconds = chance.choice(running), chance.uniform(1.0, 12.0)
        with frozen(world, name):
            time.sleep(seconds)
        return f"froze {name} for {seconds:.1f} s"
    stack.kill(world.directory, "supervisor")
    while pids_of(world.directory):
        time.sleep(0.1)
    world.up()
    return "killed everything"


def survive(world: World, faults: int) -> None:
    """So many faults while events flow, with a comparison every few of them and at the end."""
    chance = Random(world.seed)
    for number in range(1, faults + 1):
        events = burst(world, f"chaos-{number}", chance.choice((50, 1000, 5000)))
        sender = threading.Thread(target=world.send, args=(events,), kwargs={"librdkafka": chance.random() < 0.4})
        sender.start()
        time.sleep(chance.uniform(0.0, 3.0))
        print(f"{number}/{faults}: {fault(world, chance)}", flush=True)
        sender.join()
        if number % COMPARE_EVERY == 0 or number == faults:
            ledger = assert_all_agree(world)
            print(f"  exact: {len(ledger.seen)} events, {len(ledger.totals)} windows", flush=True)


def main() -> int:
    """Exit code 0 where every comparison was equal."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="how many faults")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    world = World(Path(tempfile.mkdtemp(prefix="tidemark-chaos-")) / "stack", seed=options.seed)
    try:
        prepared(world)
        survive(world, options.kills)
    except AssertionError as error:
        print(f"seed {options.seed}: {error}\nthe stack is left up in {world.directory}", flush=True)
        return 1
    except BaseException:
        take_down(world)
        raise
    take_down(world)
    print(f"seed {options.seed}: {options.kills} faults survived, every total exact")
    return 0


if __name__ == "__main__":
    sys.exit(main())
