"""H23, law 13, in the shell: totals lie in memory while a transaction's outcome is unknown, the partition moves, a definition is late."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sinks.stripe import app_driver
from tests.agents.report_bench import batch_of, total_of, tp_of
from tests.agents.test_report_review_driver import NOW_S, Bench
from tests.hazards.fold import clean, differences
from topics.catalog import WINDOWS
from topics.meters import BEGINNING_S
from topics.quantity import ONE
from topics.receipt import CellReceipt
from topics.window_total import WindowTotal
from topics.windows import window_key

CHANGE_S = NOW_S - 600
"""From then on another item bills: a total of a later window must not be reported to the one before."""
PATIENCE = 1500


@contextmanager
def quick() -> Iterator[None]:
    """Pauses of a millisecond; what the driver says of each trouble is not heard."""
    heard = logging.getLogger("sinks.stripe.app_driver")
    level = heard.level
    heard.setLevel(logging.CRITICAL + 1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("FIRST_PAUSE_S", 0.001), ("MOST_PAUSE_S", 0.002), ("LOST_PAUSE_S", 0.002), ("IDLE_S", 0.01), ("FINISH_S", 0.05)):
            patch.setattr(app_driver, name, value)
        try:
            yield
        finally:
            heard.setLevel(level)


class Story:
    """Totals of one partition, who reads them, and what the receipts say of those that are committed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.bench = Bench()
        self.source: list[WindowTotal] = []
        self.at, self.epoch = 0, 1
        self.faults: list[str] = []
        self.bench.broker.faults = self._fault
        self.trouble = 0.3
        self.bench.define("si_old", BEGINNING_S)

    def _fault(self) -> str:
        return self.rng.choice(("lost", "unknown")) if self.rng.random() < self.trouble else ""

    async def start(self) -> None:
        """The partition in a new assignment."""
        self.bench.flow.epochs[tp_of()] = self.epoch
        starts = await self.bench.worker.start_offsets(frozenset({tp_of()}), self.epoch)
        self.at = starts[tp_of()]

    async def move(self) -> None:
        """The partition is taken away and comes back; a batch that was fetched before is handed over late."""
        stale = batch_of(self.source[self.at : self.at + 2], self.at, self.epoch) if self.at < len(self.source) else None
        self.epoch += 1
        self.bench.flow.epochs[tp_of()] = self.epoch
        await self.bench.worker.on_revoked(frozenset({tp_of()}))
        await self.start()
        if stale is not None:
            await self.bench.worker.take(stale)
            if self.bench.worker.status()["partitions"][0]["next_offset"] != self.at:
                self.faults.append("a batch of another assignment was taken")

    def emit(self) -> None:
        """A few more totals on the topic."""
        for _ in range(self.rng.randrange(1, 5)):
            start_s = NOW_S - 60 * self.rng.randrange(1, 20)
            self.source.append(total_of("acme", start_s, self.rng.randrange(1, 90), len(self.source)))
        self.bench.flow.ends[tp_of()] = len(self.source)

    async def deliver(self) -> None:
        """The next batch."""
        upto = min(len(self.source), self.at + self.rng.randrange(1, 5))
        await self.bench.worker.take(batch_of(self.source[self.at : upto], self.at, self.epoch))
        self.at = upto

    def check_commit(self) -> None:
        """Everything below the marked offset is in the receipts."""
        held: dict[str, tuple[int, int]] = {}
        for receipt in self.bench.broker.receipts.values():
            for part in receipt.windows if isinstance(receipt, CellReceipt) else ():
                held[part.window] = max(held.get(part.window, (-1, -1)), part.revision)
        for total in self.source[: self.bench.flow.marked.get((WINDOWS, 0), 0)]:
            if held.get(window_key(total.window), (-1, -1)) < total.revision:
                self.faults.append(f"{total.window} {total.revision} is committed and in no receipt")

    def wanted(self) -> dict[tuple[str, int], int]:
        """The newest total of each window, at the item that bills it."""
        newest = {total.window.start_s: total.scaled // ONE for total in sorted(self.source, key=lambda total: total.revision)}
        return {("si_new" if start_s >= CHANGE_S else "si_old", start_s): units for start_s, units in newest.items()}


async def _life(story: Story) -> list[str]:
    rng, bench = story.rng, story.bench
    if rng.random() < 0.5:
        story.emit()
    await story.start()
    bench.broker.holds_back.clear()
    bench.define("si_new", CHANGE_S)
    asyncio.get_running_loop().call_later(0.01, bench.broker.holds_back.set)
    for _ in range(rng.randrange(3, 9)):
        story.emit()
        while story.at < len(story.source):
            await story.deliver()
            if rng.random() < 0.3:
                await asyncio.sleep(rng.choice((0, 0.001, 0.005)))
            story.check_commit()
            if rng.random() < 0.15:
                await story.move()
    story.trouble = 0.0
    for _ in range(PATIENCE):
        await asyncio.sleep(0.001)
        if bench.worker.halted or (bench.provider.cells == story.wanted() and not bench.counts().get("undelivered")):
            break
    story.check_commit()
    faults = differences("cell", bench.provider.cells, story.wanted()) + ([bench.worker.halted] if bench.worker.halted else [])
    await bench.worker.take(batch_of([total_of("acme", NOW_S - 60, 1, 999)], story.at + 2, story.epoch))
    if bench.worker.halted is None:
        faults.append("totals were left out, and nobody says so")
    await bench.worker.stop()
    return story.faults[:2] + faults


def seeded(seed: int) -> list[str]:
    """Transactions that fail or are not known to have succeeded, moves, late definitions: each total ends at its item, each commit in a receipt."""

    async def life() -> list[str]:
        return await _life(Story(seed))

    with quick():
        return asyncio.run(life())


def test_h23_no_total_is_lost_between_log_and_receipts() -> None:
    """Whatever becomes of transactions, assignments and definitions, what is committed is in the receipts and each total stands at its item."""
    assert not clean(seeded, 25)
