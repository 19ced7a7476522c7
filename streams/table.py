"""The Faust table of the meter: `usage.state` is its changelog, Faust recovers it, and we decide what a record means (laws 2, 4).

Faust finds the changelog partitions of this worker, reads each to its end and says when it is done. It would apply a record to a dict of
"last written wins"; this store only collects, and the core takes the maximum of what was collected. Writes never go through the table:
Faust sends them unacknowledged (facts of 0.15.3), ours are awaited by `streams/flushing.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores import memory

from streams.ports import ChangelogRecord
from topics.catalog import STATE
from topics.errors import CorruptState

TABLE_NAME = "windows"
"""Fixed: Faust derives names from modules otherwise, and a refactoring would lose the state."""

READ_FROM_THE_START = -1
"""What Faust takes for "nothing is here yet". `None`, the memory store's own answer, lets Faust go on from where the previous
assignment had stopped reading, and the partition's state would lack what was read then (law 2: a complete base)."""


CHANGELOG_QUEUE = 131_072
"""How many changelog records Faust may hold before it has handed them to the store: its own default for changelogs."""


class CollectingStore(memory.Store):
    """Holds the raw changelog records of the assignment that is being recovered, until the meter takes them."""

    mundane_level = "debug"  # "Starting…" and "Stopping…" are nobody's news

    def __post_init__(self) -> None:
        super().__post_init__()
        self._collected: dict[int, dict[int, ChangelogRecord]] = {}
        self._complete: set[int] = set()

    def persisted_offset(self, tp: Any) -> int:
        """Every assignment reads the whole changelog again."""
        return READ_FROM_THE_START

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """A new assignment: what was collected for the one before is no longer a complete base."""
        self._collected.clear()
        self._complete.clear()

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]) -> None:
        """Keep each record once. Faust may hand one over twice after an interrupted recovery."""
        for event in batch:
            message = event.message
            record = ChangelogRecord(message.key, message.value, message.offset)
            self._collected.setdefault(message.partition, {})[message.offset] = record

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """The changelog was read to the end that it had after this assignment began."""
        self._complete = {tp.partition for tp in active_tps}
        for partition in set(self._collected) - self._complete:
            del self._collected[partition]

    def take(self, partition: int) -> list[ChangelogRecord]:
        """See `streams.ports.Changelog.take`."""
        if partition not in self._complete:
            raise CorruptState(f"{STATE}-{partition} was not recovered in this assignment; restart the worker")
        self._complete.discard(partition)
        collected = self._collected.pop(partition, {})
        return [collected[offset] for offset in sorted(collected)]


class StateTable(faust.Table):
    """A Faust table over `usage.state` with the store above."""

    mundane_level = "debug"

    def _new_store_by_url(self, url: Any) -> CollectingStore:
        return CollectingStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            loop=self.loop,
        )

    def take(self, partition: int) -> list[ChangelogRecord]:
        """See `streams.ports.Changelog.take`."""
        store: CollectingStore = self.data
        return store.take(partition)


def state_table(app: faust.App, partitions: int) -> StateTable:
    """Add the table to `app`. Its changelog is exactly `usage.state`, which `topics apply` made: Faust declares nothing."""
    changelog = app.topic(
        STATE,
        partitions=partitions,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        acks=False,  # Faust's word for "the group commits no offset of it"; nothing to do with the producer's acks
        internal=True,
        allow_empty=True,  # tombstones
        maxsize=CHANGELOG_QUEUE,
    )
    table = StateTable(app, name=TABLE_NAME, key_type=bytes, value_type=bytes, partitions=partitions, changelog_topic=changelog)
    app.tables.add(table)
    return table
