"""What the archive knows of each partition it holds: how far it has read, what waits, how far everything is in ClickHouse. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from sinks.clickhouse.in_force import InForce
from sinks.clickhouse.ports import ArchivedMark
from sinks.clickhouse.record_rows import BatchRows, Row
from sinks.clickhouse.rows import RawRows
from topics.batch import TopicPartition
from topics.definitions import Definition
from topics.verdict import Mark

NO_GENERATION = -1
"""Before the first mark: which log the offsets belong to is not known, so nothing is read."""


@dataclass(slots=True, eq=False)
class Lane:
    """One partition of one of our topics in one assignment.

    `next_offset`: everything below is read; `archived_offset`: everything below is in ClickHouse, with its progress row. Between the two
    lies `rows`. `skip`: offsets that were archived before a crash. `log`: how many logs of this topic were lost before this one; ClickHouse keeps
    offsets as `topics/positions.py` says, so that what comes later is greater. `is_trimmed`: retention has taken the beginning of usage.verdicts, so
    verdicts are complete only from the first mark that is left on, which becomes `floor`.
    """

    tp: TopicPartition
    epoch: int
    next_offset: int
    archived_offset: int
    skip: frozenset[int] = frozenset()
    log: int = 0
    rows: list[Row] = field(default_factory=list)
    bytes: int = 0
    mark: Mark | None = None
    halted: str | None = None
    is_trimmed: bool = False
    floor: Mark | None = None

    def add(self, found: BatchRows, next_offset: int) -> None:
        """Take what a batch brought."""
        self.rows += found.rows
        self.bytes += found.bytes
        self.mark = found.mark or self.mark
        self.next_offset = next_offset
        if self.is_trimmed and found.first_mark is not None:
            self.floor, self.is_trimmed = found.first_mark, False

    def take(self) -> Taken | None:
        """What waits, to be written; the lane starts collecting anew. None where nothing moved."""
        if self.next_offset == self.archived_offset:
            return None
        taken = Taken(self, self.rows, self.mark, self.next_offset, self.floor)
        self.rows, self.bytes, self.mark, self.floor = [], 0, None, None
        return taken


@dataclass(slots=True, eq=False)
class Taken:
    """What one flush writes of a lane."""

    lane: Lane
    rows: list[Row]
    mark: Mark | None
    next_offset: int
    floor: Mark | None


class RawLane:
    """One partition of `usage.events`: copied from `next_offset` up to the archived mark, with the definitions in force on the way."""

    def __init__(self, partition: int, definitions: list[Definition]) -> None:
        self.partition = partition
        self.generation = 0
        self.next_offset = 0
        self.archived_offset = 0
        self.skip: frozenset[int] = frozenset()
        self.target: ArchivedMark | None = None
        self.halted: str | None = None
        self.is_checked = False
        """Whether the log was seen to be the one that was archived."""
        self.is_fresh = True
        """Nothing of this partition was ever archived: what retention has removed by now was never promised."""
        self.cleared_offset = 0
        """Below it every definition that the meter put in force is known."""
        self.clearing: tuple[int, int] | None = None
        """(offset, end): once `usage.definitions` is read up to `end`, `cleared_offset` rises to `offset`."""
        self._definitions = definitions
        self._begin_generation(NO_GENERATION)

    def _begin_generation(self, generation: int) -> None:
        self.generation = generation
        # The control offsets of an earlier log say nothing about this one's: what is known holds from its first record on.
        self.in_force = InForce(at_once=generation > 0)
        for definition in self._definitions:
            self.in_force.add(definition)
        self.rows = RawRows(self.partition, generation, self.in_force)
        self.cleared_offset = 0
        self.clearing = None

    def resume(self, generation: int, archived_offset: int, skip: frozenset[int]) -> None:
        """Go on after what is archived."""
        self._begin_generation(generation)
        self.next_offset = self.archived_offset = archived_offset
        self.skip, self.is_fresh = skip, False

    def learn(self, definition: Definition) -> None:
        """A definition that was published."""
        self._definitions.append(definition)
        self.in_force.add(definition)

    def marked(self, mark: ArchivedMark) -> None:
        """A mark is in ClickHouse: raw records below it may follow. A higher generation is a recreated log that was adopted."""
        if self.target is not None and (mark.generation, mark.next_offset) <= (self.target.generation, self.target.next_offset):
            return
        self.target = mark
        if mark.generation > self.generation:
            self._begin_generation(mark.generation)
            self.next_offset = self.archived_offset = mark.base
            self.skip, self.halted, self.is_checked = frozenset(), None, False

    @property
    def wanted(self) -> int:
        """Read up to here; nothing to do where it is not above `next_offset`."""
        if self.target is None or self.halted is not None or self.target.generation != self.generation:
            return self.next_offset
        return self.target.next_offset


def not_the_same_log(partition: int, offset: int) -> str:
    """The sentence for a log whose records are not those that were archived (law 3)."""
    return (
        f"usage.events {partition}: the record at offset {offset} is not the one that was archived, so this is another log; "
        f"nothing of it is archived. Run `tidemark adopt --partition {partition}` if the topic was recreated on purpose"
    )
