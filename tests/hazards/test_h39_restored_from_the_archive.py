"""H39, laws 2, 3, 13: Kafka is lost; what is built from the archive is not what ran, is delivered twice, or counts before it is whole."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from infra.control import release_event
from infra.replaying.archived import Held, clamped
from infra.replaying.folding import NotWhole
from streams.partition import MeterPartition
from streams.rows import revision
from streams.segments import COUNTERS
from tests.core.meterlog import Log, batch_of
from tests.core.restore_world import Killed, LostWorld, NewCluster, restored, rows_of
from tests.core.test_fold import HOME
from tests.hazards.fold import clean
from topics.bindings import Release
from topics.catalog import RECEIPTS, STATE
from topics.windows import Window

NOWHERE = Window("nobody", "calls", 0, 60)


class Watched(NewCluster):
    """Looks at what stands when workers are ended."""

    def __init__(self, lost: LostWorld) -> None:
        super().__init__()
        self.lost = lost
        self.faults: list[str] = []

    @property
    def is_valid(self) -> bool:
        """Whether a meter would take the state."""
        return any(record.key and record.key[:1] == COUNTERS and record.value for record in self.log(STATE).records)

    async def end(self, kinds: frozenset[str]) -> None:
        """See `ports.Workers`."""
        await super().end(kinds)
        if "report" in kinds and self.is_valid:
            self.faults.append("a meter may emit while the report knows nothing of the receipts")


def seeded(seed: int) -> list[str]:
    """A restore that is killed and done again holds every row and receipt, begins a generation above all others, has the report read the receipts
    first, and tells nobody what a receipt holds; a release in the new log is newer than those of the old one."""
    lost = LostWorld(seed, length=60, logs=1 + seed % 2)
    newest = lost.state.generation
    if seed % 3 == 1:  # a log that was adopted and lost before its first mark was archived
        newest += 1
        lost.archive.emitted[NOWHERE] = {revision(newest, 3): Held(revision(newest, 3), 1, 1, "")}
    cluster = Watched(lost)
    cluster.left = lost.rng.randrange(12)
    with suppress(Killed):
        asyncio.run(restored(lost, cluster))
    cluster.left = None
    asyncio.run(restored(lost, cluster))
    faults = cluster.faults + _receipts(cluster)
    if not any("report" in kinds for kinds in cluster.ended):
        faults.append("the report goes on with what it knew")
    meter = cluster.recovered(lost.rng)
    if meter.generation <= newest:
        faults.append(f"generation {meter.generation} is not above {newest}, which was delivered")
    if not rows_of(meter.state).items() >= rows_of(lost.state).items():
        faults.append("rows differ from those that ran")
    return faults + _told_twice(lost, meter) + _released(lost, meter)


def _receipts(cluster: Watched) -> list[str]:
    held = {record.key: record.value for record in cluster.log(RECEIPTS).records}
    kept = {key: one.value for key, one in cluster.lost.archive.kept.items()}
    return [] if held == kept else [f"{len(kept)} receipts were archived, the topic has {len(held)}"]


def _told_twice(lost: LostWorld, meter: MeterPartition) -> list[str]:
    """Revisions that are emitted although a receipt holds them."""
    far_ms = meter.log_now_ms + 10 * 86_400_000
    for _ in range(2):
        meter.tick(far_ms, meter.durable_offset)
    told = lost.archive.told
    emissions = meter.due(far_ms, limit=100_000)
    return [f"{one.row.window} is emitted again" for one in emissions if told.get(clamped(one.row.window), -1) >= one.rev][:3]


def _released(lost: LostWorld, meter: MeterPartition) -> list[str]:
    """Receipts remember the release they saw last by its offset."""
    log, event = Log(), release_event(HOME[0], "cell", "a test")
    log.add(event.key, event.value, meter.log_now_ms)
    meter.apply(batch_of(log.records, meter.next_offset, log.end))
    (release,) = [one for one in meter.state.facts.definitions if isinstance(one, Release)]
    seen = lost.world.events.end
    return [] if release.offset >= seen else [f"a release at {release.offset} counts as older than what the receipts saw at {seen}"]


def seeded_damage(seed: int) -> list[str]:
    """An archive that lacks a record which was counted is refused, whichever it is."""
    lost, cluster = LostWorld(seed, length=60), NewCluster()
    rows, _ = lost.archive.logs[-1]
    judged = sorted(row.through_offset for row in lost.state.rows.all())
    gone = lost.rng.choice(judged)
    rows[:] = [row for row in rows if row[0] != gone]
    try:
        asyncio.run(restored(lost, cluster))
    except NotWhole:
        return []
    return [f"offset {gone} is gone from the archive, and a state without it was restored"]


def test_h39_a_lost_kafka_is_built_again_as_it_was() -> None:
    """Whatever was counted and archived is there again, under a higher generation, and nothing that a receipt holds is delivered again."""
    assert clean(seeded, 24) == {}


def test_h39_an_archive_that_lacks_something_is_no_base() -> None:
    """With a counted record gone from the archive nothing is restored."""
    assert clean(seeded_damage, 24) == {}
