"""After a history has ended exact: one partition's topic is recreated or cut (H10). The meter must halt; once adopted, each event counts once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from infra.control import meters_event
from streams.adopt import adopt
from streams.changelog import Changelog
from streams.recovery import recover
from tests.oracle.reading import Stored
from tests.simulation import verdict
from tests.simulation.broker import Partition
from tests.simulation.plan import PARTITIONS, TIMING
from topics.catalog import EVENTS, STATE

if TYPE_CHECKING:
    from tests.simulation.world import World

HALTS_WITHIN_S: Final = 60.0


async def recreated(world: World) -> list[str]:
    """The whole of it; what is wrong afterwards. Rejected records and the archive are not compared here: two logs share their coordinates."""
    chance = world.kernel.chance
    partition = chance.randrange(PARTITIONS)
    ledger = verdict.ledger_of(world.broker, world.plan)
    counted_to = {each: world.broker.logs[EVENTS, each].end if each != partition else 0 for each in range(PARTITIONS)}
    _end_all(world)
    world.broker.logs[EVENTS, partition] = _other_log(world, partition)
    world.groups["meter"].committed.pop((EVENTS, partition), None)
    await asyncio.sleep(30.0)  # what was on its way when the workers ended has landed
    before = _written(world, partition)
    world.start("meter-0")
    until_s = world.kernel.now_s + HALTS_WITHIN_S
    while not (world.workers.get("meter-0") and world.workers["meter-0"].halted):
        if world.kernel.now_s > until_s:
            return [f"partition {partition} is another log, and nothing halts"]
        await asyncio.sleep(1.0)
    said = world.workers["meter-0"].halted or ""
    if f"tidemark adopt --partition {partition}" not in said:
        return [f"it halts without the command that goes on: {said}"]
    if before != _written(world, partition):
        return ["a halted meter has written"]
    _end_all(world)
    _adopt(world, partition)
    for name in ("meter-0", "report-0", "archive-0"):
        world.start(name)
    await world.settled()
    ledger.verdicts.clear()
    for each in range(PARTITIONS):
        # The other partition gets new copies: what the recreated one holds for customers at home there is re-sent once more.
        for record in world.broker.logs[EVENTS, each].committed(counted_to[each]):
            ledger.take(Stored(each, record.offset, record.timestamp_ms, record.key, record.value, record.headers))
    latest, wrong = verdict.emitted(world.broker)
    counters = {number: counted for number, counted in world.counters().items() if number == partition}
    return [
        *world.faults,
        *wrong,
        *verdict.counting(ledger, counters),
        *verdict.totals(ledger, latest, is_static=True),
        *verdict.provider(world.plan, ledger, latest, world.site.stripe.cells, verdict.listed(world.broker)),
    ]


def _written(world: World, partition: int) -> dict[str, int]:
    return {topic: log.end for (topic, each), log in sorted(world.broker.logs.items()) if each == partition and topic != EVENTS}


def _end_all(world: World) -> None:
    for worker in list(world.workers.values()):
        del world.workers[worker.name]
        world.kernel.kill(worker.process)


def _other_log(world: World, partition: int) -> Partition:
    """A cut one, or one that holds some of the old events again at other offsets, beside new copies of them."""
    chance, old, new = world.kernel.chance, world.broker.logs[EVENTS, partition], Partition()
    records = old.committed(0)
    world.say(f"partition {partition} is recreated")
    if chance.random() < 0.3 and len(records) > 2:
        for record in records[: chance.randrange(1, len(records) - 1)]:
            new.append(record.timestamp_ms, record.key, record.value, record.headers)
        return new
    event = meters_event(TIMING, world.meters, None)
    new.append(world.broker.now_ms(), event.key, event.value)
    for record in records[1:]:
        if chance.random() < 0.5 and not (record.value and b'"tidemark.' in record.value):
            new.append(world.broker.now_ms(), record.key, record.value, record.headers)
    return new


def _adopt(world: World, partition: int) -> None:
    """As `infra/adopting.py` does it."""
    world.say(f"partition {partition} is adopted")
    changelog = Changelog(world.kernel.chance.randbytes(8))
    records = [(record.key, record.value, record.offset) for record in world.broker.logs[STATE, partition].committed(0)]
    state = recover(partition, PARTITIONS, records, changelog=changelog, id_key=bytes(16), base=0)
    send = adopt(state, changelog, begin=world.broker.events(partition).begin, cluster_id=world.broker.cluster_id)
    world.broker.append(send.topic, send.partition, send.key, send.value)
