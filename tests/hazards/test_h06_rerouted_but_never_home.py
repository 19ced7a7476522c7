"""H6, laws 1 and 5: the verdict `rerouted` is acknowledged, the home copy is not; the offset is committed, and the worker is killed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from streams.sends import Send
from tests.agents.meter_world import Outbox, SendFailed, Worker, World
from tests.core.meterlog import PARTITIONS, usage
from tests.hazards.fold import clean
from tests.hazards.shell import ended, lived, turns
from topics.catalog import EVENTS, REJECTED, STATE, VERDICTS
from topics.home import home_of
from topics.origin import ORIGIN_OFFSET
from topics.rejected import read_rejected


class Rerouting(World):
    """A partition that a CRC32 producer writes to: every third event belongs elsewhere. What reaches which topic is remembered."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.away = [name for name in (f"away{number}" for number in range(60)) if home_of(name.encode(), PARTITIONS) != 0]
        self.topic_fails = 0.0
        self.arrived: dict[str, set[int]] = {EVENTS: set(), VERDICTS: set(), REJECTED: set()}

    def produce(self, count: int) -> None:
        """As always, and events of customers who are at home elsewhere."""
        for _ in range(count):
            super().produce(self.rng.randrange(3))
            if self.rng.random() < 0.2:
                self._add(self.rng.choice(self.names).encode(), b"no json")
            if self.rng.random() < 0.5:
                name = self.rng.choice(self.away)
                self._add(name.encode(), usage(name, f"r{self.log.end}", None))

    def land(self, send: Send) -> None:
        """The broker has it."""
        super().land(send)
        if send.topic == EVENTS:
            self.arrived[EVENTS].add(int(dict(send.headers)[ORIGIN_OFFSET]))
        elif send.topic == REJECTED:
            self.arrived[REJECTED].add(read_rejected(send.key, send.value, send.headers, REJECTED).offset)
        elif send.topic == VERDICTS:
            self.arrived[VERDICTS].add(json.loads(send.value or b"").get("offset", -1))


class Independent(Outbox):
    """A producer of which each topic fails on its own, and late: what was sent to the others has landed by then."""

    def __init__(self, world: Rerouting) -> None:
        super().__init__(world)
        self.topics = world

    async def send_all(self, sends: Sequence[Send]) -> None:
        """See `streams.ports.Outbox`."""
        broken = {topic for topic in (EVENTS, VERDICTS, REJECTED, STATE) if self.world.rng.random() < self.topics.topic_fails}
        await super().send_all([send for send in sends if send.topic not in broken])
        if any(send.topic in broken for send in sends):
            await self.world.pause(8)
            raise SendFailed(str(sorted(broken)))


async def _life(world: Rerouting) -> list[str]:
    async def begin() -> Worker:
        made = Worker(world)
        made.outbox = Independent(world)
        made.meter._outbox = made.outbox
        await made.assign()
        return made

    worker = await begin()
    for _ in range(8):
        world.produce(world.rng.randrange(12))
        world.topic_fails = world.rng.choice((0.0, 0.3))
        await turns(world.rng.randrange(60))
        if worker.crash is not None or world.rng.random() < 0.4:
            await worker.kill()
            worker = await begin()
    world.topic_fails = 0.0
    faults = await ended(world, worker)
    fates = {offset: verdict for offset, verdict in world.naive.verdicts.items() if verdict not in ("counted", "control")}
    wanted = {
        EVENTS: {offset for offset, verdict in fates.items() if verdict == "rerouted"},
        REJECTED: {offset for offset, verdict in fates.items() if verdict not in ("rerouted", "duplicate")},
        VERDICTS: set(fates),
    }
    return faults + [f"never on {topic}: {sorted(lost)[:3]}" for topic, offsets in wanted.items() if (lost := offsets - world.arrived[topic])]


def seeded(seed: int) -> list[str]:
    """Kills and failing topics; at the end every rerouted event has reached its home, every rejected one and every verdict its topic."""
    world = Rerouting(random.Random(seed))
    return lived(lambda _: _life(world), world)


def test_h06_every_rerouted_event_reaches_its_home() -> None:
    """Whichever topic fails and whenever the worker is killed, each event with the verdict `rerouted` arrives on its home partition."""
    assert not clean(seeded, 40)
