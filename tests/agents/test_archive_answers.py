"""The archive when ClickHouse's answers are lost, and when records come one by one (fault rows B2, B3, B6)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from sinks.clickhouse import app_patience, app_raw
from sinks.clickhouse.tables import PROGRESS, RAW, Columns, Table
from tests.agents.archive_world import IDENTITY, ModelStore, Process, Topics
from tests.agents.test_archive_worker import expect_everything
from tests.core.test_fold import build_log
from topics.errors import Unreachable


class OneByOne(random.Random):
    """Cuts every batch to a single record."""

    def choice(self, seq: Any) -> Any:
        """The first."""
        return seq[0]


class LosingStore(ModelStore):
    """Every insert takes effect, and a share of the answers is lost; it counts inserts by table."""

    def __init__(self, rng: random.Random, share: float) -> None:
        super().__init__()
        self._rng = rng
        self._share = share
        self.lost = 0
        self.inserts: Counter[str] = Counter()

    async def insert(self, table: Table, columns: Columns) -> None:
        """See `ports.Store.insert`."""
        await super().insert(table, columns)
        self.inserts[table.name] += 1
        if self._rng.random() < self._share:
            self.lost += 1
            raise Unreachable("the answer is lost")


@pytest.mark.parametrize("seed", range(4))
async def test_an_insert_whose_answer_is_lost_is_sent_again_and_is_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were written although the answer never came are written again, much later and among others, as exactly the same rows."""
    monkeypatch.setattr(app_patience, "FIRST_S", 0.001)
    monkeypatch.setattr(app_patience, "MOST_S", 0.002)
    monkeypatch.setattr(app_raw, "IDLE_S", 0.002)
    rng = random.Random(seed)
    topics, store = Topics(seed, build_log(seed, 200)), LosingStore(rng, 0.8)
    process = Process(topics, store, rng)
    await process.start()
    await process.flow.deliver(process.worker, topics.logs.keys() - {"usage.events"}, rng)
    await process.archived(topics)
    await process.end()
    assert store.lost > 5
    expect_everything(topics, store)
    for name, identity in IDENTITY.items():
        bodies: dict[tuple[object, ...], set[str]] = {}
        for row in store.tables[name]:
            bodies.setdefault(tuple(row[part] for part in identity), set()).add(repr({**row, "archived_at": 0}))
        assert all(len(found) == 1 for found in bodies.values()), name


async def test_records_that_come_one_by_one_are_inserted_many_at_once() -> None:
    """Hundreds of batches of one record make a few inserts a second and table, never one each."""
    rng = random.Random(3)
    topics, store = Topics(3, build_log(3, 300)), LosingStore(rng, 0.0)
    process = Process(topics, store, rng, flush_age_s=0.25)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await process.start()
    await process.flow.deliver(process.worker, sorted(topics.logs.keys() - {"usage.events"}), OneByOne())
    await process.archived(topics)
    flushes = (loop.time() - began_s) / 0.25 + 2
    await process.end()
    expect_everything(topics, store)
    assert len(topics.records("usage.verdicts")) > 50
    # Raw events are copied by a loop of their own, and the progress row of each topic is an insert beside its rows.
    ours = {name: count for name, count in store.inserts.items() if name not in {RAW.name, PROGRESS.name}}
    assert len(ours) > 3
    assert max(ours.values()) <= flushes, ours
