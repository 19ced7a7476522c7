"""Two workers hand one partition to and fro, in the world of chance: what they keep across it is compared with what a recovery would make."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from streams.partition import MeterPartition
from streams.ports import Base
from tests.agents.meter_verdict import disagreements
from tests.agents.meter_world import Worker, World, in_a_loop, settle
from tests.core.meterlog import fresh

PATIENCE = 5000
"""Turns of the loop in which a healthy flush ends."""


def image(core: MeterPartition) -> dict[str, Any]:
    """All that a state is, without how it is laid out, and without what is known to be emitted."""
    state = core.state
    rows = [(row.window, row.scaled, row.events, row.first_offset, row.rev, row.content_hash, row.own) for row in state.rows.all()]
    live = state.live_ids()
    return {
        "rows": sorted(rows, key=repr),
        "counters": repr(state.counters),
        "clocks": repr(state.clocks),
        "retired": repr((state.retired, sorted(state.own_retired.items()))),
        "identity": repr(state.identity),
        "generation": (state.generation, state.closed),
        "ids": (live, {bucket: sorted(map(bytes, state.ids.in_bucket(bucket, 0, 1 << 30))) for bucket in state.id_counts}),
        "key": state.digester.name,
        "definitions": (state.definitions.count, state.definitions.meters_digest),
    }


def emitted(core: MeterPartition) -> dict[Any, int]:
    """The newest revision of each row that is known to be emitted."""
    return {row.window: row.emitted for row in core.state.rows.all()}


def compared_with_recovery(world: World, seen: list[int]) -> Callable[[Worker], None]:
    """Compare each kept state with what a recovery of the changelog makes at that moment."""

    def watch(worker: Worker) -> None:
        take = worker.around.take

        def compared(partition: int) -> Base:
            base = take(partition)
            if base.core is not None:
                seen.append(1)
                again = fresh(world.disk, random.Random(0))
                kept, recovered = image(base.core), image(again)
                world.faults += [f"kept and recovered differ in {name}" for name in kept if kept[name] != recovered[name]]
                # A recovery may know of less than was emitted (`streams/merging.py`), which is emitted again, harmlessly; never of more.
                known, less = emitted(base.core), emitted(again)
                world.faults += [f"{window}: {at} was emitted, the kept state has less" for window, at in less.items() if at > known.get(window, -1)]
            return base

        worker.around.take = compared  # type: ignore[method-assign]

    return watch


class Handed:
    """A seeded life of two workers of one partition, of which `owner` has it."""

    def __init__(self, world: World, mutate: Callable[[Worker], None] | None) -> None:
        self.world = world
        self.rng = world.rng
        self.mutate = mutate
        self.workers = [self.made(), self.made()]
        self.paused: list[Worker] = []
        self.owner = 0

    def made(self) -> Worker:
        """A new process."""
        worker = Worker(self.world)
        if self.mutate is not None:
            self.mutate(worker)
        return worker

    async def revive(self) -> None:
        """What a supervisor does where the owner died."""
        if self.workers[self.owner].crash is not None:
            await self.workers[self.owner].kill()
            self.workers[self.owner] = self.made()

    async def rebalance(self) -> None:
        """It lets go, in time or not; in half of the cases the other one has the partition then."""
        await self.workers[self.owner].revoke(self.rng.choice((1, 3, PATIENCE, PATIENCE)))
        if self.rng.random() < 0.5:
            self.owner = 1 - self.owner
            if self.rng.random() < 0.5:  # else it was away, and hears of no assignment without the partition
                self.workers[1 - self.owner].around.bases.begin(())

    async def deed(self) -> bool:
        """One of what may happen; False where nobody has to be assigned anything then."""
        draw = self.rng.random()
        if self.workers[self.owner].crash is not None or draw < 0.12:
            await self.workers[self.owner].kill()
            self.workers[self.owner] = self.made()
        elif draw < 0.24:
            self.workers[self.owner].freeze()
            self.paused.append(self.workers[self.owner])
            self.workers[self.owner] = self.made()
        elif draw < 0.34 and self.paused:
            await self.paused.pop(self.rng.randrange(len(self.paused))).thaw()
            return False
        elif draw < 0.95:
            await self.rebalance()
        else:
            return False
        return True

    async def live(self, deeds: int) -> list[str]:
        """So many deeds, then the truth."""
        await self.workers[self.owner].assign()
        for _ in range(deeds):
            self.world.produce(self.rng.randrange(20))
            self.world.fail_rate = self.rng.choice((0.0, 0.0, 0.0, 0.02))
            await self.world.pause(self.rng.choice((1, 20, 160)))
            if not await self.deed():
                continue
            await self.revive()
            await self.workers[self.owner].assign()
            if self.rng.random() < 0.3:
                self.world.disk.compact(self.rng)
        return await self.end()

    async def end(self) -> list[str]:
        """Whoever has the partition finishes; and what is durable then is all that the next owner needs."""
        self.world.fail_rate = 0.0
        for one in self.paused:
            await one.thaw()
        if self.workers[self.owner].crash is not None:
            await self.revive()
            await self.workers[self.owner].assign()
        last = self.workers[self.owner]
        settled = await settle(self.world, last, 6000) or last.meter.halted
        faults = disagreements(self.world, last) if settled else [*self.world.faults, "never settled"]
        if not faults:
            await last.revoke(PATIENCE)
            self.workers.append(self.made())
            await self.workers[-1].assign()
            faults = disagreements(self.world, self.workers[-1])
        for worker in self.workers:
            await worker.kill()
        return faults


def life_of(seed: int, *, keeps: bool = True, seen: list[int] | None = None) -> list[str]:
    """What is wrong after one seeded life; nothing when all is exact. `seen`: how often a state was kept, each compared with a recovery."""
    world = World(random.Random(seed))
    world.keeps = keeps

    async def whole() -> list[str]:
        return await Handed(world, None if seen is None else compared_with_recovery(world, seen)).live(14)

    return in_a_loop(whole())


if __name__ == "__main__":
    import sys

    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        if wrong := life_of(number, seen=[]):
            sys.stdout.write(f"{number}: {wrong}\n")
