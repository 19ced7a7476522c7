"""The Faust table of the meter: `usage.state` is its changelog, Faust recovers it, and we decide what a record means (laws 2, 4).

Faust finds the changelog partitions of this worker, reads each to its end and says when it is done. It would apply a record to a dict of
"last written wins"; this store only collects, and the core takes the maximum of what was collected. A changelog of which the state is still in
memory is not read (`streams/bases.py`; delivery asks `StateTable.stands`). Writes never go through the table: Faust sends them
unacknowledged (facts of 0.15.3), ours are awaited by `streams/flushing.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores import memory

from streams.bases import Bases
from streams.ports import Base, ChangelogRecord, Kept
from topics.batch import TopicPartition
from topics.catalog import STATE

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
        self.bases = Bases()

    def persisted_offset(self, tp: Any) -> int:
        """Every assignment reads a changelog whole, or, where delivery finds that it stands, not at all."""
        return READ_FROM_THE_START

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """A new assignment."""
        self.bases.begin({tp.partition for tp in assigned})

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]) -> None:
        """Collect what recovery read."""
        for event in batch:
            message = event.message
            self.bases.collect(message.partition, ChangelogRecord(message.key, message.value, message.offset))

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """The changelog was read to the end that it had after this assignment began."""
        self.bases.complete({tp.partition for tp in active_tps})


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

    @property
    def bases(self) -> Bases:
        """What the partitions' states stand on."""
        store: CollectingStore = self.data
        return store.bases

    def stands(self, tp: TopicPartition, begin: int, end: int) -> bool:
        """Whether recovery need not read the changelog `tp`, which has offsets [begin, end) in this assignment."""
        return tp[0] == STATE and self.bases.stands(tp[1], begin, end)

    def take(self, partition: int) -> Base:
        """See `streams.ports.Changelog.take`."""
        return self.bases.take(partition)

    def keep(self, partition: int, kept: Kept) -> None:
        """See `streams.ports.Changelog.keep`."""
        self.bases.keep(partition, kept)


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
