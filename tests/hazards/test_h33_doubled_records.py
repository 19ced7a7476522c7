"""H33, law 18: a replay writes the same verdict or total at a second coordinate, a crash repeats a batch; joins fan out and sums double."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sinks.clickhouse import rows
from sinks.clickhouse.client import Address, ClickHouse
from sinks.clickhouse.ports import Refused
from sinks.clickhouse.tables import PROGRESS, RAW, VERDICT, WINDOW
from tests.agents.archive_world import ModelStore, Process, Topics
from tests.agents.test_archive_worker import expected_raw
from tests.contract.archive_engine import doubled, write_raw, write_topic
from tests.core.test_fold import account_of
from tests.hazards.archive import PATIENCE, database, live, quick, topics_of
from tests.hazards.fold import clean, differences
from tests.hazards.test_h05_edges_learned_late import _story as story
from topics.catalog import DEFINITIONS, REJECTED, VERDICTS, WINDOWS
from topics.verdict import Mark, Verdict, decode_verdict
from topics.window_total import decode_window_total


def _class(verdict: str) -> str:
    return verdict if verdict in {"counted", "duplicate", "too_late", "rerouted", "control"} else "rejected"


def seeded_views(seed: int) -> list[str]:
    """Every output record once, twice or thrice, in any order, raw rows twice: the views say what the naive account says."""
    rng, topics = random.Random(seed), topics_of(seed, 60)
    naive, clickhouse = account_of(topics.events), database()
    for topic in (DEFINITIONS, VERDICTS, REJECTED, WINDOWS):
        written = doubled(topics.records(topic), rng)
        rng.shuffle(written)
        cut = rng.randrange(len(written) + 1)
        for part in (written[:cut], written[cut:]):  # within one insert the engine itself keeps one of a kind
            write_topic(clickhouse, topic, part)
    for _ in range(2):
        write_raw(clickhouse, topics.events.records, topics.records(DEFINITIONS))
    rows = clickhouse.read(
        "SELECT customer, meter, toUnixTimestamp(window_start) AS start, sum(quantity) AS quantity, count() AS events"
        " FROM usage_events WHERE verdict = 'counted' GROUP BY ALL"
    )
    found = {(row["customer"], row["meter"], row["start"]): (Fraction(row["quantity"]), row["events"]) for row in rows}
    faults = differences("usage_events", found, {key: (naive.sums[key], naive.events[key]) for key in naive.events})
    verdicts = clickhouse.read("SELECT verdict, count() AS n FROM judged_events GROUP BY verdict")
    faults += differences("judged_events", {row["verdict"]: row["n"] for row in verdicts}, dict(Counter(map(_class, naive.verdicts.values()))))
    rejected = clickhouse.read("SELECT count() AS n FROM rejected_events")[0]["n"]
    wanted = sum(_class(verdict) in {"rejected", "too_late"} for verdict in naive.verdicts.values())
    faults += [] if rejected == wanted else [f"{rejected} rejected events, truth {wanted}"]
    revisions = clickhouse.read("SELECT count() AS n FROM window_revisions")[0]["n"]
    wanted = len({(*decode_window_total(record.value, "").revision, record.key) for record in topics.records(WINDOWS)})
    return faults + ([] if revisions == wanted else [f"{revisions} revisions, truth {wanted}"])


def _missing(topics: Topics, store: ModelStore) -> list[str]:
    """The archive of a finished life against the log: each record once."""
    faults = differences("raw row", store.final(RAW), expected_raw(topics))
    verdicts = [decode_verdict(record.value, "test") for record in topics.records(VERDICTS)]
    offsets = {verdict.offset for verdict in verdicts if not isinstance(verdict, Mark)}
    faults += differences("verdict", {"offsets": {key[2] for key in store.final(VERDICT)}}, {"offsets": offsets})
    totals = {decode_window_total(record.value, "test") for record in topics.records(WINDOWS)}
    return faults + ([] if len(store.final(WINDOW)) == len(totals) else [f"{len(store.final(WINDOW))} totals, truth {len(totals)}"])


def _unkept(store: ModelStore, process: Process) -> list[str]:
    """Commits that are ahead of what the store's progress rows say."""
    progress: dict[tuple[str, int], int] = {}
    for row in store.tables[PROGRESS.name]:
        tp = (row["topic"], row["kafka_partition"])
        progress[tp] = max(progress.get(tp, 0), row["next_offset"])
    ahead = {tp: offset for tp, offset in process.flow.commits.items() if offset > progress.get(tp, 0)}
    return [f"{tp} is committed at {offset}, archived to {progress.get(tp, 0)}" for tp, offset in ahead.items()]


def seeded(seed: int) -> list[str]:
    """Killed before, within and after inserts of every kind; the last life ends with each record exactly once, and commits follow inserts."""
    rng, topics, store = random.Random(seed), topics_of(seed, 50), ModelStore()
    kills, lives = 0, list[Process]()

    def kill(_table: str) -> bool:
        nonlocal kills
        kills += (strikes := kills < 6 and rng.random() < 0.4)
        return strikes

    store.kill = kill
    while live(topics, store, rng, lives.append) is None:
        if faults := _unkept(store, lives[-1]):
            return faults
    return _missing(topics, store)


def seeded_resume(seed: int) -> list[str]:
    """Killed when all rows of a flush are in and their progress is not: what is there is found and skipped, so no row is there twice."""
    rng, topics, store = random.Random(seed), topics_of(seed, 50, doubled=False), ModelStore()
    left = rng.randrange(1, 4)

    def kill(table: str) -> bool:
        nonlocal left
        strikes = left > 0 and table == PROGRESS.name and rng.random() < 0.5
        left -= strikes
        return strikes

    store.kill = kill
    while live(topics, store, rng) is None:
        continue
    counts = {table.name: (len(store.tables[table.name]), len(store.final(table))) for table in (RAW, VERDICT, WINDOW)}
    return _missing(topics, store) + [f"{name}: {rows} rows of {once} records" for name, (rows, once) in counts.items() if rows != once]


def seeded_postings(seed: int) -> list[str]:
    """A log in which grids, items and edges change: the postings beside the raw bytes add up to the meter's totals, window by window."""
    log, _ = story(seed)
    topics, store = Topics(seed, log), ModelStore()
    with patch.object(rows, "FEW", 0):  # the quick way, however few records a read brings
        live(topics, store, random.Random(seed), late=DEFINITIONS)
    sums: Counter[tuple[str, str, int, int]] = Counter()
    uncounted = {verdict.offset for record in topics.records(VERDICTS) if isinstance(verdict := decode_verdict(record.value, "test"), Verdict)}
    for row in store.final(RAW).values():
        if row["kafka_offset"] not in uncounted:
            for meter, start_s, end_s in zip(row["meters"], row["window_starts"], row["window_ends"], strict=True):
                sums[row["customer"].decode(), meter.decode(), start_s, end_s] += 1
    counted = {(r.window.customer, r.window.meter, r.window.start_s, r.window.end_s): r.events for r in topics.meter.state.rows.all()}
    return differences("raw postings of", dict(sums), counted)


async def _moved(topics: Topics, store: ModelStore, rng: random.Random) -> list[str]:
    process = Process(topics, store, rng)
    others = sorted(topics.logs.keys() - {"usage.events"})
    await process.start()
    for epoch in range(2, 2 + rng.randrange(1, 6)):
        await process.flow.deliver(process.worker, others, rng, most=rng.randrange(5))
        waiting = [topic for topic in others if process.flow.positions[topic, 0] < topics.logs[topic].end]
        stale = process.flow._cut(rng.choice(waiting), rng) if waiting else None
        await process.flow.revoke(process.worker)
        await process.flow.assign(process.worker, epoch)
        if stale is not None:
            await process.worker.take(stale)
    await process.flow.deliver(process.worker, others, rng)
    for _ in range(PATIENCE):
        if process.is_done(topics) or process.worker.halted:
            break
        await asyncio.sleep(0.001)
    halted = process.worker.halted
    await process.end()
    return ([halted] if halted else []) + _missing(topics, store)


def seeded_moves(seed: int) -> list[str]:
    """All partitions are taken away and come back several times; a batch of the time before is handed over late."""
    topics, store = topics_of(seed, 80), ModelStore()
    with quick():
        return asyncio.run(_moved(topics, store, random.Random(seed)))


def seeded_rows(seed: int) -> list[str]:
    """A server that says it wrote fewer rows than it was sent is not believed."""
    rng, clickhouse = random.Random(seed), ClickHouse(Address(url="http://127.0.0.1:1"))
    sent = rng.randrange(1, 50)
    written = rng.choice((sent, 0, sent - 1, max(1, sent - 16)))
    client: Any = SimpleNamespace(insert=lambda *_, **__: SimpleNamespace(written_rows=written))
    clickhouse._client = client
    try:
        clickhouse.insert(PROGRESS, [[0] * sent for _ in PROGRESS.columns])
    except Refused:
        return ["an insert that wrote everything was refused"] if written == sent else []
    return [] if written == sent else [f"{written} of {sent} rows were written, and it counts as done"]


def test_h33_views_of_doubled_records_are_the_model() -> None:
    """However often each output record was written, sums, counts, verdicts, rejected events and revisions of the views are the naive ones."""
    assert not clean(seeded_views, 3)


def test_h33_a_kill_at_any_insert_loses_and_doubles_nothing() -> None:
    """Killed at any inserts, the archive ends with each record once, and never has it committed what it had not written."""
    assert not clean(seeded, 25)


def test_h33_rows_without_progress_are_found_and_skipped() -> None:
    """After a crash between rows and their progress no row is inserted a second time."""
    assert not clean(seeded_resume, 20)


def test_h33_a_partition_that_moves_is_archived_once() -> None:
    """However often partitions move, and whatever is handed over late, the archive has each record once and does not halt."""
    assert not clean(seeded_moves, 20)


def test_h33_raw_postings_are_the_meters() -> None:
    """However grids, items and edges change, the postings that the archive reads in the raw events are those that the meter counted."""
    assert not clean(seeded_postings, 15)


def test_h33_an_insert_is_believed_by_its_rows() -> None:
    """An insert counts only where the server says that it wrote as many rows as were sent."""
    assert not clean(seeded_rows, 20)
