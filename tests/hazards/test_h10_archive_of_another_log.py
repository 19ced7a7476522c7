"""H10, laws 3 and 19, in the archive: the topic is recreated; offsets that are archived already hold other records."""

from __future__ import annotations

import random

from sinks.clickhouse.tables import RAW
from tests.agents.archive_world import ModelStore
from tests.hazards.archive import live, topics_of
from tests.hazards.fold import clean
from topics.catalog import VERDICTS


def seeded(seed: int) -> list[str]:
    """One log is archived; another takes its place, with a mark further on: the archive halts and writes nothing of it."""
    rng, store = random.Random(seed), ModelStore()
    topics, other = topics_of(seed, 30, doubled=False), topics_of(seed + 1000, 60, doubled=False)
    live(topics, store, rng)
    before = dict(store.final(RAW))
    topics.events.records[:], topics.events.end = other.events.records, other.events.end
    last = [record for record in other.records(VERDICTS) if record.key is None][-1]
    topics.logs[VERDICTS].add(None, last.value, last.timestamp_ms)
    try:
        live(topics, store, rng)
    except AssertionError as error:
        said = str(error)
    else:
        said = ""
    faults = [] if "is not the one that was archived" in said else [f"another log is archived on: {said[:80]!r}"]
    return faults if store.final(RAW) == before else [*faults, f"{len(store.final(RAW)) - len(before)} records of another log are in the archive"]


def test_h10_the_archive_goes_on_only_in_its_own_log() -> None:
    """A recreated topic halts the archive by name, and none of its records joins those of the log before."""
    assert not clean(seeded, 15)
