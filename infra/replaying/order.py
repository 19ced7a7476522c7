"""One call of `tidemark replay`: all partitions that are asked for, what corrections would do, and their publication."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from infra import topics_admin
from infra.amending.effects import Effect, effects
from infra.amending.publishing import Outcome, publish
from infra.auditing.sources import KafkaSource
from infra.clock import now_ms
from infra.replaying.applying import Correction, corrections
from infra.replaying.archived import ArchivedLog
from infra.replaying.compare import Wanted
from infra.replaying.folding import NotWhole
from infra.replaying.run import PartitionReplay, Replay
from topics.catalog import EVENTS
from topics.definitions import Definitions
from topics.home import home_of

if TYPE_CHECKING:
    from infra.settings import Settings
    from sinks.clickhouse.client import ClickHouse


@dataclass(frozen=True)
class Order:
    """What is asked. `reason` and `who` are kept with corrections; `step` is told how many records were folded."""

    settings: Settings
    store: ClickHouse
    wanted: Wanted
    reason: str
    who: str
    step: Callable[[int], None] = lambda _: None


class Done(NamedTuple):
    """What came of it: for each differing window the correction, and what it means at the provider."""

    found: list[PartitionReplay]
    corrections: list[Correction]
    effects: list[list[Effect]]


async def dry_run(order: Order) -> Done:
    """Replays, and says what corrections would do. Raises Unreachable, CorruptState, or NoBase where the archive is no base for corrections."""
    bootstrap = order.settings.kafka.bootstrap
    count = await topics_admin.partition_count(bootstrap, EVENTS)
    chosen = [home_of(order.wanted.customer.encode(), count)] if order.wanted.customer else list(range(count))
    found: list[PartitionReplay] = []
    in_force: dict[int, Definitions] = {}
    for partition in chosen:
        replay = Replay(KafkaSource(bootstrap, partition), ArchivedLog(order.store, partition), count, order.wanted, order.step)
        try:
            found.append(await replay.run())
        except NotWhole as nothing:
            replay.result.notes.append(str(nothing))
            found.append(replay.result)
        if replay.state is not None:
            in_force[partition] = replay.state.definitions
    made = corrections(found, order.reason, order.who)
    return Done(found, made, [await asyncio.to_thread(_effects, order, one, in_force) for one in made])


def _effects(order: Order, correction: Correction, in_force: dict[int, Definitions]) -> list[Effect]:
    if correction.draft is None:
        return []
    return effects(order.store, correction.draft, in_force[correction.line.partition], now_ms())


async def apply_corrections(order: Order, done: Done) -> list[Outcome]:
    """Publishes what can be corrected and waits for the meter's answers. Raises Unreachable."""
    drafts = [correction.draft for correction in done.corrections if correction.draft is not None]
    if not drafts:
        return []
    bootstrap = order.settings.kafka.bootstrap
    return await publish(bootstrap, await topics_admin.partition_count(bootstrap, EVENTS), drafts)
