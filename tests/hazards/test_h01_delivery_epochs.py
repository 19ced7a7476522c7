"""H1, law 2, in delivery: a batch that was fetched in one assignment is handed over in the next, or a mark of the old one is committed."""

from __future__ import annotations

import random

from infra.delivery_holdings import Holdings
from tests.core.meterlog import batch_of
from tests.hazards.fold import clean
from topics.batch import NOT_ASSIGNED
from topics.catalog import EVENTS

TP = (EVENTS, 0)


def seeded(seed: int) -> list[str]:
    """Assignments, revokes, batches of any epoch and late marks in any order, against a model that keeps each assignment apart."""
    rng, holdings, faults = random.Random(seed), Holdings(), list[str]()
    epoch, position, marked, phase = NOT_ASSIGNED, 0, -1, "gone"
    fetched = [batch_of([], 0, 5, epoch=1)]
    for _ in range(60):
        deed = rng.random()
        if deed < 0.15 and phase == "gone":
            epoch, phase, marked = holdings.begin([TP]), "opening", -1
        elif deed < 0.3 and phase == "opening":
            position, phase = rng.randrange(3), "open"
            holdings.open({TP: position}, epoch)
        elif deed < 0.4 and phase in ("open", "opening"):
            holdings.leave()
            phase = "leaving"
        elif deed < 0.5 and phase == "leaving":
            holdings.forget([TP])
            phase = "gone"
        elif deed < 0.6:
            fetched.append(batch_of([], position, position + rng.randrange(1, 3), epoch=epoch))
        elif deed < 0.8:
            batch = rng.choice(fetched)
            may = phase == "open" and batch.epoch == epoch and batch.start_offset == position
            if (holdings.admits(batch) and holdings.follows(batch)) is not may:
                done = "refused" if may else "handed over"
                faults.append(f"a batch of epoch {batch.epoch} from {batch.start_offset} is {done} in {epoch}, {phase}")
            elif may:
                holdings.advance(batch)
                position = batch.next_offset
        else:
            mark = rng.randrange(120)
            holdings.mark(TP, mark)
            marked = max(marked, mark) if phase != "gone" else marked
        shown, held = holdings.epoch(TP), epoch if phase in ("opening", "open") else NOT_ASSIGNED
        if shown != held:
            faults.append(f"the epoch is {shown} while {phase}, not {held}")
        if phase != "gone" and holdings.marked(TP) != (None if marked < 0 else marked):
            faults.append(f"{holdings.marked(TP)} is to be committed, marked was {marked}")
        if phase == "gone" and holdings.committable():
            faults.append("a partition that is gone is committed")
    return faults


def test_h01_delivery_hands_nothing_over_an_assignment() -> None:
    """Only batches of the present assignment that begin where the last one ended are handed over, and marks only rise and end with it."""
    assert not clean(seeded, 80)
