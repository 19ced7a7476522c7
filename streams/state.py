"""The state of one source partition: a fold of the records [base, next_offset), and nothing else."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from streams.duplicates import U64, Digester
from streams.id_log import Keep, in_memory
from streams.id_table import IdTable
from streams.rows import Row, Rows
from topics.amendments import Chain
from topics.batch import Headers
from topics.definitions import Definition, Definitions
from topics.flushes import Flush
from topics.rejected import Rejected
from topics.verdict import Counters, Verdict


class Clocks(msgspec.Struct, kw_only=True, gc=False):
    """What the fold remembers of time; all are maxima over the log, so they only grow.

    `now_ms` greatest LogAppendTime · `final_until_us` events before it are too late · `ahead_until_us` no counted event can lie at or after it ·
    `dead_before` hour buckets of ids below it are dead · `close_offset` offset of the newest `tidemark.close` (−1: none).
    """

    now_ms: int = 0
    final_until_us: int = -(1 << 62)
    ahead_until_us: int = -(1 << 62)
    dead_before: int = 0
    close_offset: int = -1


class Retired(msgspec.Struct, kw_only=True, gc=False):
    """Rows that were let go: all that end at or before `until_s`. A pure function of `until_s`, so the greatest one recovered is right."""

    until_s: int = -(1 << 62)
    rows: int = 0
    events: int = 0


class Identity(msgspec.Struct, kw_only=True, gc=False):
    """Law 3: which log this state was folded from: the cluster, and a digest of the last record folded."""

    cluster_id: str = ""
    last_offset: int = -1
    last_digest: bytes = b""


class Rerouting(NamedTuple):
    """A record to be sent to its home, as it was, with its origin in the headers."""

    key: bytes
    value: bytes
    headers: Headers
    home: int


class Facts:
    """What a batch brought beside changed rows: each is written before its offset may be acknowledged (law 5)."""

    def __init__(self) -> None:
        self.rejected: list[Rejected] = []
        self.verdicts: list[tuple[bytes | None, Verdict]] = []
        self.rerouted: list[Rerouting] = []
        self.definitions: list[Definition] = []
        self.bytes = 0
        """Of the events that are kept to be written again."""

    def __bool__(self) -> bool:
        return bool(self.rejected or self.verdicts or self.rerouted or self.definitions)


class PartitionState:
    """Everything the fold knows. `generation` and `counters.next_offset` name the prefix it stands for."""

    def __init__(self, partition: int, partitions: int, id_key: bytes, *, generation: int = 0, base: int = 0, keep: Keep = in_memory) -> None:
        self.partition = partition
        self.partitions = partitions
        self.generation = generation
        self.counters = Counters(base=base, next_offset=base)
        self.clocks = Clocks()
        self.retired = Retired()
        self.own_retired: dict[str, Retired] = {}
        """By customer: rows that were let go by its test clock."""
        self.identity = Identity()
        self.closed: list[int] = []
        """Law 3: the `next_offset` at which each generation before this one was given up."""
        self.definitions = Definitions()
        self.amended = Chain()
        """Of each amended event the amendment in force, as long as its windows may change."""
        self.rows = Rows()
        self.ids = IdTable(keep)
        self.digester = Digester(id_key)
        self.new_ids: list[tuple[int, U64]] = []
        self.id_counts: dict[int, int] = {}
        """Counted ids of each hour."""
        self.facts = Facts()
        self.rebound: list[tuple[str, str]] = []
        """(customer, meter) whose item changed: when their windows are to be emitted is looked at anew."""
        self.clocked: list[str] = []
        """Customers whose test clock spoke: closing looks at their windows."""
        self.flushes: list[Flush] = []
        """Flushes that closing has still to carry out; after a recovery the newest of each customer again."""

    def is_retired(self, row: Row) -> bool:
        """True where the row was let go, or would have been."""
        retired = self.own_retired.get(row.window.customer, Retired()) if row.own else self.retired
        return row.window.end_s <= retired.until_s

    def all_retired(self) -> Retired:
        """All rows that were let go, by the log's now and by test clocks."""
        own = self.own_retired.values()
        rows, events = sum(one.rows for one in own), sum(one.events for one in own)
        return Retired(until_s=self.retired.until_s, rows=self.retired.rows + rows, events=self.retired.events + events)

    def live_ids(self) -> int:
        """How many ids are not dead."""
        self.id_counts = {bucket: count for bucket, count in self.id_counts.items() if bucket >= self.clocks.dead_before}
        return sum(self.id_counts.values())
