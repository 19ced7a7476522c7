"""H34, law 19: an outage longer than the verdicts' retention, or a raw row that is visible before its verdict, shows duplicates as counted."""

from __future__ import annotations

import random

from sinks.clickhouse.tables import MARK, PROGRESS, RAW, VERDICT
from tests.agents.archive_world import ModelStore, Process, Topics
from tests.agents.test_archive_worker import expected_raw
from tests.contract.archive_engine import write_raw, write_topic
from tests.core.meterlog import Stored
from tests.core.test_fold import account_of
from tests.hazards.archive import database, live, topics_of
from tests.hazards.fold import clean, differences
from topics.catalog import DEFINITIONS, EVENTS, VERDICTS
from topics.verdict import Mark, Verdict, decode_verdict


def _marks(topics: Topics) -> list[Stored]:
    return [record for record in topics.records(VERDICTS) if isinstance(decode_verdict(record.value, "test"), Mark)]


def seeded_views(seed: int) -> list[str]:
    """All raw rows are there before any verdict; verdicts arrive up to some mark: below it all is judged, past it nothing is seen."""
    rng, topics = random.Random(seed), topics_of(seed, 300, doubled=False)
    naive, clickhouse = account_of(topics.events), database()
    write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    marks = _marks(topics)
    upto = rng.choice([None, *marks])
    if upto is not None:
        write_topic(clickhouse, VERDICTS, [record for record in topics.records(VERDICTS) if record.offset <= upto.offset])
    mark = 0 if upto is None else decode_verdict(upto.value, "test")
    end = mark.next_offset if isinstance(mark, Mark) else 0
    shown = clickhouse.read("SELECT kafka_offset AS o, any(verdict = 'counted') AS counted FROM usage_events GROUP BY kafka_offset")
    hidden = {"rerouted", "control"}
    wanted = {offset: int(verdict == "counted") for offset, verdict in naive.verdicts.items() if offset < end and verdict not in hidden}
    return differences("counted in usage_events:", {row["o"]: int(row["counted"]) for row in shown}, wanted)


def _early(topics: Topics, store: ModelStore) -> list[str]:
    """Marks in the store of which a verdict below is not there, and raw rows at or past every mark."""
    there = {row["kafka_offset"] for row in store.tables[VERDICT.name]}
    mark = max((row["next_offset"] for row in store.tables[MARK.name]), default=0)
    said = [decode_verdict(record.value, "test") for record in topics.records(VERDICTS)]
    lacking = {verdict.offset for verdict in said if isinstance(verdict, Verdict) and verdict.offset < mark} - there
    faults = [f"the mark is at {mark}, and the verdict of {offset} is not there" for offset in sorted(lacking)[:2]]
    past = [row["kafka_offset"] for row in store.tables[RAW.name] if row["kafka_offset"] >= mark]
    past += [row["next_offset"] - 1 for row in store.tables[PROGRESS.name] if row["topic"] == EVENTS and row["next_offset"] > mark]
    return faults + [f"offset {offset} is archived, the mark is at {mark}" for offset in past[:2]]


def seeded(seed: int) -> list[str]:
    """Whenever the worker dies, what it left behind holds every verdict below its mark, and no raw row past it."""
    rng, topics, store = random.Random(seed), topics_of(seed, 200), ModelStore()
    kills = 0

    def kill(_table: str) -> bool:
        nonlocal kills
        kills += (strikes := kills < 5 and rng.random() < 0.3)
        return strikes

    store.kill = kill
    while live(topics, store, rng) is None:
        if faults := _early(topics, store):
            return faults
    return _early(topics, store) + differences("raw row", store.final(RAW), expected_raw(topics))


def seeded_retention(seed: int) -> list[str]:
    """A new archive finds the first verdicts gone: it holds raw events only from the first mark that is left."""
    rng, topics, store = random.Random(seed), topics_of(seed, 300, doubled=False), ModelStore()
    marks = _marks(topics)
    if len(marks) < 3:
        return []
    at = rng.randrange(len(marks) - 2)
    floor = decode_verdict(marks[at + 1].value, "test")
    assert isinstance(floor, Mark)

    def prepare(process: Process) -> None:
        process.flow.begins[VERDICTS] = marks[at].offset + 1

    live(topics, store, rng, prepare)
    wanted = {key: row for key, row in expected_raw(topics).items() if key[2] >= floor.next_offset}
    return differences("raw row", store.final(RAW), wanted)


def test_h34_views_show_nothing_past_the_mark() -> None:
    """Raw rows that are there before their verdicts are in no view, and below the archived mark every event has its own verdict."""
    assert not clean(seeded_views, 3)


def test_h34_a_mark_is_written_after_all_verdicts_below_it() -> None:
    """Killed at any insert, the archive holds every verdict below its mark and no raw event past it."""
    assert not clean(seeded, 25)


def test_h34_events_whose_verdicts_are_gone_are_not_shown() -> None:
    """Where retention took the first verdicts, a new archive shows only events from the first mark that is left on."""
    assert not clean(seeded_retention, 15)
