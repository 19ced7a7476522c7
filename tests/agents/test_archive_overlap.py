"""The next raw rows are made while an insert is under way: what fails, is revoked or dies meanwhile (laws 5, 18, 19)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from sinks.clickhouse import app_patience, app_raw
from sinks.clickhouse.ports import Refused
from sinks.clickhouse.raw_block import Piece
from sinks.clickhouse.tables import PROGRESS, RAW, Columns, Table
from tests.agents.archive_world import Killed, ModelStore, Process, Topics
from tests.agents.test_archive_worker import expect_everything, run_to_the_end
from tests.core.test_fold import build_log
from topics.catalog import DEFINITIONS, EVENTS
from topics.errors import Unreachable


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a millisecond, and small inserts: many of them follow one another."""
    monkeypatch.setattr(app_patience, "FIRST_S", 0.001)
    monkeypatch.setattr(app_patience, "MOST_S", 0.002)
    monkeypatch.setattr(app_raw, "IDLE_S", 0.002)
    monkeypatch.setattr(app_raw, "INSERT_ROWS", 8)
    monkeypatch.setattr(app_raw, "READ_RECORDS", 5)


class Steady(random.Random):
    """Every read brings something."""

    def choice(self, seq: Any) -> Any:
        """The greatest."""
        return max(seq)


class SlowStore(ModelStore):
    """Inserts of raw rows and of their progress take a while, and may fail before, within or after; what overlapped is counted."""

    def __init__(self, rng: random.Random, share: float = 0.0) -> None:
        super().__init__()
        self._rng = rng
        self._share = share
        self.free = asyncio.Event()
        """While it is not set, inserts of raw rows wait."""
        self.free.set()
        self.refuse = 0
        """So many of the next inserts of raw rows are refused with half of the rows written."""
        self.inserting = 0
        self.packs: list[int] = []
        """Of each packing, how many inserts of raw rows were under way."""
        self.sizes: list[int] = []
        """Of each packing, its rows."""
        self.notes: list[int] = []
        """Of each progress row, the same."""
        self.progress_rows: list[int] = []

    async def packed(self, pieces: Sequence[Piece]) -> Callable[[], Awaitable[None]]:
        """See `ports.Store`."""
        self.packs.append(self.inserting)
        self.sizes.append(sum(piece.rows for piece in pieces))
        return await super().packed(pieces)

    async def insert(self, table: Table, columns: Columns) -> None:
        """See `ports.Store`."""
        if table is RAW:
            await self._insert_rows(columns)
        elif table is PROGRESS and columns[0][0] == EVENTS:
            await self._pause()
            self._expect_rows_below(columns)
            await super().insert(table, columns)
            self.notes.append(self.inserting)
        else:
            await super().insert(table, columns)

    async def _insert_rows(self, columns: Columns) -> None:
        self.inserting += 1
        try:
            assert self.inserting == 1, "two inserts of raw rows at once"
            await self._pause()
            await self.free.wait()
            if self.refuse > 0:
                self.refuse -= 1
                await super().insert(RAW, [cells[::2] for cells in columns])
                raise Refused("wrote half of the rows")
            await super().insert(RAW, columns)
            await self._pause()
        finally:
            self.inserting -= 1

    async def _pause(self) -> None:
        for _ in range(self._rng.choice((0, 1, 5, 30))):
            await asyncio.sleep(0)
        if self._rng.random() < self._share:
            raise Unreachable("ClickHouse does not answer")

    def _expect_rows_below(self, columns: Columns) -> None:
        there = {row["kafka_offset"] for row in self.tables[RAW.name]}
        for next_offset in columns[PROGRESS.names.index("next_offset")]:
            assert {offset for offset in self.offsets if offset < next_offset} <= there, "progress without its rows"
            self.progress_rows.append(next_offset)

    offsets: frozenset[int] = frozenset()
    """Offsets of all records of the log."""


def world(seed: int, share: float = 0.0) -> tuple[random.Random, Topics, SlowStore]:
    """A log, and a store that is slow."""
    rng = random.Random(seed)
    topics, store = Topics(seed, build_log(seed, 200)), SlowStore(rng, share)
    store.offsets = frozenset(record.offset for record in topics.events.records)
    return rng, topics, store


async def begun(topics: Topics, store: ModelStore, rng: random.Random) -> Process:
    """A worker that has everything to copy from its first read on: it reads when the definitions come, which are the last."""
    process = Process(topics, store, rng)
    process.raw_log.rng = Steady()
    await process.start()
    await process.flow.deliver(process.worker, topics.logs.keys() - {EVENTS, DEFINITIONS}, rng)
    lanes = process.worker._raw.lanes
    await until(lambda: lanes[0].wanted == topics.events.end)
    await process.flow.deliver(process.worker, [DEFINITIONS], rng)
    return process


async def until(happened: Callable[[], bool]) -> None:
    """Wait for it; a world in which it never happens fails."""
    async with asyncio.timeout(20):
        while not happened():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("seed", range(15))
async def test_progress_follows_its_rows_in_order(seed: int) -> None:
    """With inserts that fail and repeat, progress names only rows that are there and never goes back, and all is archived once."""
    rng, topics, store = world(seed, share=0.2)
    await run_to_the_end(topics, store, rng)
    expect_everything(topics, store)
    assert store.progress_rows == sorted(store.progress_rows)
    assert max(store.packs) == 1, "nothing was built while an insert was under way"
    assert max(store.notes) == 1, "no progress was written while the next rows were inserted"


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_goes_past_an_insert_that_fails(seed: int) -> None:
    """While an insert is refused again and again, one insert's worth is built behind it, and neither rows nor progress pass it."""
    rng, topics, store = world(seed)
    store.free.clear()
    process = await begun(topics, store, rng)
    await until(lambda: len(store.packs) == 2)
    store.refuse = 10**9
    store.free.set()
    await until(lambda: store.refuse < 10**9 - 3)
    assert (await store.progress(EVENTS, 0), len(store.packs)) == (None, 2)
    assert len(store.final(RAW)) == (store.sizes[0] + 1) // 2, "half of the first insert's rows, and none of the second's"
    store.refuse = 0
    await process.archived(topics)
    await process.end()
    expect_everything(topics, store)


@pytest.mark.parametrize("seed", range(8))
async def test_an_error_that_ends_a_write_ends_the_worker(seed: int) -> None:
    """An error that no patience helps against stops the archive before the rows behind it: the next life has everything."""
    rng, topics, store = world(seed)
    failing = rng.choice((RAW.name, PROGRESS.name))
    count = 0

    def fail(table: str) -> bool:
        nonlocal count
        count += table == failing
        return table == failing and count > 12

    store.kill = fail
    with pytest.raises(Killed):
        await asyncio.wait_for(run_to_the_end(topics, store, rng), 10)
    before = await store.progress(EVENTS, 0)
    ended = len(store.tables[RAW.name])
    await asyncio.sleep(0.01)
    assert (await store.progress(EVENTS, 0), len(store.tables[RAW.name])) == (before, ended)
    store.kill = lambda _: False
    await run_to_the_end(topics, store, rng)
    expect_everything(topics, store)


@pytest.mark.parametrize("seed", range(8))
async def test_a_revoke_while_an_insert_is_under_way(seed: int) -> None:
    """A partition that goes away with one insert under way and another built, and that comes back before either ends, is whole."""
    rng, topics, store = world(seed)
    store.free.clear()
    process = await begun(topics, store, rng)
    await until(lambda: len(store.packs) == 2)
    await process.flow.revoke(process.worker)
    if seed % 2:
        store.free.set()
        await asyncio.sleep(0.005)
    await process.flow.assign(process.worker, 2)
    store.free.set()
    await process.flow.deliver(process.worker, topics.logs.keys() - {EVENTS}, rng)
    await process.archived(topics)
    await process.end()
    expect_everything(topics, store)
    assert await store.progress(EVENTS, 0) == (0, topics.events.end)


@pytest.mark.parametrize("seed", range(8))
async def test_a_kill_between_rows_and_progress_while_the_next_rows_go_in(seed: int) -> None:
    """Rows of two inserts that are there without progress are found by the next life, and not inserted again."""
    rng, topics, store = world(seed)
    after = rng.randrange(1, 12)

    def kill(table: str) -> bool:
        return table == PROGRESS.name and store.inserting == 1 and len(store.notes) >= after

    store.kill = kill
    with pytest.raises(Killed):
        await asyncio.wait_for(run_to_the_end(topics, store, rng), 10)
    store.kill = lambda _: False
    await run_to_the_end(topics, store, rng)
    expect_everything(topics, store)
    assert len(store.tables[RAW.name]) == len(store.final(RAW))


@pytest.mark.parametrize("seed", range(4))
async def test_a_worker_that_ends_leaves_no_write_behind(seed: int) -> None:
    """What is under way when the worker ends is over with it: neither rows nor progress come later, and the next life has everything."""
    rng, topics, store = world(seed)
    process = await begun(topics, store, rng)
    await until(lambda: store.inserting == 1 and len(store.notes) > seed)
    await process.end()
    before = (await store.progress(EVENTS, 0), len(store.tables[RAW.name]))
    await asyncio.sleep(0.01)
    assert (await store.progress(EVENTS, 0), len(store.tables[RAW.name]), store.inserting) == (*before, 0)
    await run_to_the_end(topics, store, rng)
    expect_everything(topics, store)
