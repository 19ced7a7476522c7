"""One seed: honest books, drift planted in them, found, repaired by a process that dies on the way, and found again: nothing is left."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.reconciling.drift import Drift
from sinks.clickhouse.client import ClickHouse
from tests.drift.finding import Found, drifts_of, reconcile, repair, rest, settle_adjustments
from tests.drift.plan import plan_of
from tests.drift.planting import Expected, Planter, kinds_of, subject_of
from tests.drift.truth import wrong_in
from tests.drift.world import World

MOST_ROUNDS: Final = 4
"""Repairs that a person runs at most: what one repair opens (an adjustment, an unlocated edit) is dealt with by the next."""


@dataclass
class Trial:
    """What came of a seed; `faults` is empty, or says what is wrong."""

    seed: int
    planted: list[Expected] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    rounds: int = 0
    steps: int = 0
    deaths: int = 0
    settled: int = 0


def honest(seed: int, directory: Path, clickhouse: ClickHouse) -> Trial:
    """A seed without drift: nothing may be found."""
    trial = Trial(seed)
    world = World(plan_of(seed), directory, clickhouse)
    try:
        world.live()
        rest(world)
        trial.faults += [f"found in honest books: {drift.kind} {subject_of(drift)}: {drift.sentence}" for drift in drifts_of(reconcile(world))]
        trial.faults += wrong_in(world)
    finally:
        world.close()
    return trial


def planted(seed: int, directory: Path, clickhouse: ClickHouse) -> Trial:
    """A seed with drift: all of it is found, nothing else is, and after the repair nothing is left."""
    trial = Trial(seed)
    world = World(plan_of(seed), directory, clickhouse)
    try:
        planter = Planter(world, kinds_of(seed))
        planter.before()
        world.live()
        planter.after()
        rest(world)
        trial.planted = planter.expected
        found = reconcile(world)
        _compare(trial, drifts_of(found))
        if not trial.faults:
            _repaired(trial, world, found)
    finally:
        world.close()
    return trial


def _compare(trial: Trial, found: list[Drift]) -> None:
    sentences = {Expected(drift.kind, drift.customer, drift.meter, subject_of(drift)): drift.sentence for drift in found}
    got = Counter(Expected(drift.kind, drift.customer, drift.meter, subject_of(drift)) for drift in found)
    wanted = Counter(trial.planted)
    trial.faults += [f"not found: {tuple(each)}" for each in (wanted - got).elements()]
    trial.faults += [f"found besides: {tuple(each)}: {sentences[each]}" for each in (got - wanted).elements()]


def _repaired(trial: Trial, world: World, found: Found) -> None:
    """`--repair --apply`, which is killed after some of its steps and run again, and what a person settles after it."""
    chance = random.Random(trial.seed * 5 + 4)
    while drifts_of(found) and trial.rounds < MOST_ROUNDS:
        trial.rounds += 1
        if chance.random() < 0.7:
            trial.deaths += 1
            done = repair(world, found, dies_after=chance.randrange(1, 8))
            trial.steps += len(done)
            if chance.random() < 0.5:
                rest(world)
            else:
                world.archiving.follow()
            found = reconcile(world)
        done = repair(world, found)
        trial.steps += len(done)
        trial.faults += [f"not done: {each.sentence}" for each in done if not each.is_done]
        rest(world)
        trial.settled += settle_adjustments(world)
        rest(world)
        found = reconcile(world)
    trial.faults += [f"left after {trial.rounds} repairs: {drift.kind} {subject_of(drift)}: {drift.sentence}" for drift in drifts_of(found)]
    trial.faults += wrong_in(world)
